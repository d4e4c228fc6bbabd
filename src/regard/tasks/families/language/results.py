"""What a language model returns: the text that continues a prompt, and the attention over a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from rich.console import Console

from regard.data.lines import one_line
from regard.explain import terminal
from regard.explain.alignment import WORD, Alignment
from regard.explain.draw import save_picture
from regard.explain.save import save
from regard.viewer.document import Document

_TITLE = 80
"""Letters of a text that are above its attention."""


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
        tokens: the tokens with the weights of the chosen head, or the mean of all, ``(tokens, tokens)``.
        heads: the weights of all heads by the number of their layer, ``(heads, tokens, tokens)``.
    """

    tokens: Alignment
    heads: Mapping[int, np.ndarray]

    @property
    def alignment(self) -> Alignment:
        """The same with complete characters."""
        return self.tokens.characters()

    def show(self, console: Console) -> None:
        """Print the attention."""
        console.print(terminal.render(self.alignment, console.width))

    def save(self, path: str | Path) -> None:
        """Draw the attention: a page if the path ends in .html, otherwise an image."""
        save(path, self.document, partial(save_picture, self.alignment))

    def document(self) -> Document:
        """What the viewer shows: the tokens, each of which attends to those up to it, in all heads."""
        layers = {f"layer {number}": heads for number, heads in self.heads.items()}
        text = "".join(self.alignment.source).replace(WORD, " ").strip()
        return self.tokens.document(shorten(text, _TITLE, placeholder="…"), layers, group="layers")

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """The tokens; with ``attention``, also the weights."""
        shown = self.alignment
        weights = {"weights": shown.weights.tolist()} if attention else {}
        return {"tokens": list(shown.source), **weights}
