"""The text of a sound file, with the times of its words and where its characters are heard."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from regard.data.lines import one_line
from regard.explain.captions import Word, srt, vtt
from regard.explain.save import save
from regard.explain.transcript import Transcript
from regard.viewer.document import Document


@dataclass(frozen=True)
class Transcription:
    """The text of a sound file.

    Attributes:
        file: its name.
        words: of the text, with their times.
        score: the score of the search.
        form: how `line` writes it.
        heard: where its characters are heard; None: that was not asked for.
    """

    file: str
    words: tuple[Word, ...]
    score: float
    form: Literal["text", "srt", "vtt"] = "text"
    heard: Transcript | None = None

    @property
    def text(self) -> str:
        """The text."""
        return " ".join(word.text for word in self.words)

    def line(self) -> str:
        """The text, or captions."""
        if self.form == "text":
            return one_line(self.text)
        return srt(self.words) if self.form == "srt" else vtt(self.words)

    def show(self, console: Console) -> None:
        """Print the text and the times of its characters."""
        console.print(self.text, style="bold", highlight=False, markup=False)
        if self.heard is not None:
            self.heard.show(console)

    def save(self, path: str | Path) -> None:
        """Draw the sound and where its characters are heard."""
        assert self.heard is not None
        save(path, self.document, partial(self.heard.save, title=self.text))

    def document(self) -> Document:
        """What the viewer shows: the characters, and when they are heard."""
        assert self.heard is not None
        return self.heard.document(self.text)

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """File, text, score and words; with ``attention``, also the weights and times of characters."""
        words = [{"word": one.text, "start": round(one.start, 3), "end": round(one.end, 3)} for one in self.words]
        result = {"file": self.file, "text": self.text, "score": self.score, "words": words}
        if attention and self.heard is not None:
            weights, one = self.heard.weights, self.heard
            heard = {"characters": list(one.pieces), "spans": one.spans.round(3).tolist(), "step": one.step}
            return {**result, **heard, "weights": None if weights is None else weights.tolist()}
        return result
