"""The results of a matching model: the best images for a text, the best texts for an image, and where the words are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from regard.explain.save import save
from regard.explain.words_on_image import WordsOnImage
from regard.tasks.families.rank.results import Ranked
from regard.viewer.document import Document


@dataclass(frozen=True)
class Matches(Ranked):
    """The best images for a text, or the best texts for an image.

    Attributes:
        given: what the input is: ``"text"`` or ``"image"``.
        kind: what the candidates are, likewise.
    """

    given: str = "text"
    kind: str = "image"

    def to_dict(self) -> dict[str, Any]:
        """The input and the candidates with their scores."""
        candidates = [{self.kind: one.name, "score": one.score} for one in self.candidates]
        return {self.given: self.input, f"{self.kind}s": candidates}


@dataclass(frozen=True)
class Located:
    """Where each word of a text is on an image.

    Attributes:
        input: the text, as it was given.
        image: the name of the image.
        words: the words with their weights.
        score: of the image and the text.
    """

    input: str
    image: str
    words: WordsOnImage
    score: float

    def line(self) -> str:
        """The name of the image and the score."""
        return f"{self.image} {self.score:.4f}"

    def show(self, console: Console) -> None:
        """Print the image and the place of each word."""
        console.print(self.line(), highlight=False, markup=False, soft_wrap=True)
        self.words.show(console)

    def save(self, path: str | Path) -> None:
        """Draw the weights of each word on the image. Raises UserError: the file cannot be written."""
        save(path, self.document, partial(self.words.save, title=self.words.text))

    def document(self) -> Document:
        """What the viewer shows: the words, and the patches of the image that they attend to."""
        return self.words.document(self.words.text)

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """The text, the image and their score; with ``attention``, also the weights of each word."""
        result: dict[str, Any] = {"text": self.input, "image": self.image, "score": self.score}
        if attention:
            result["attention"] = {"words": self.words.words, "weights": self.words.weights.tolist()}
        return result
