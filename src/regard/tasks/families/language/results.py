"""What a language model returns: the text that continues a prompt, and the attention over a text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from regard.data.lines import one_line
from regard.explain import terminal
from regard.explain.alignment import Alignment
from regard.explain.save import save_alignment


@dataclass(frozen=True)
class Continuation:
    """A prompt with the generated text that continues it.

    Attributes:
        prompt: the prompt.
        continuation: the generated text.
    """

    prompt: str
    continuation: str

    @property
    def text(self) -> str:
        """The prompt and its continuation."""
        return self.prompt + self.continuation

    def line(self) -> str:
        """The text; line breaks within it become spaces."""
        return one_line(self.text)

    def to_dict(self) -> dict[str, Any]:
        """The prompt and its continuation."""
        return {"prompt": self.prompt, "continuation": self.continuation}


@dataclass(frozen=True)
class Attended:
    """The attention of each token of a text over the tokens up to it.

    Attributes:
        alignment: the tokens and the weights, ``(tokens, tokens)``.
    """

    alignment: Alignment

    def show(self, console: Console) -> None:
        """Print the attention."""
        console.print(terminal.render(self.alignment, console.width))

    def save(self, path: str | Path) -> None:
        """Draw the attention: a page if the path ends in .html, otherwise an image."""
        save_alignment(self.alignment, Path(path), title="regard", by_words=False)

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """The tokens; with ``attention``, also the weights."""
        weights = {"weights": self.alignment.weights.tolist()} if attention else {}
        return {"tokens": list(self.alignment.source), **weights}
