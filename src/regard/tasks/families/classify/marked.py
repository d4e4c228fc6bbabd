"""The classes of a text, with its words marked by their attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from regard.errors import UserError
from regard.explain.marked import MarkedText
from regard.tasks.families.classify.labeller import Classified


@dataclass(frozen=True)
class ClassifiedText(Classified):
    """The classes of a text.

    Attributes:
        marked: the text and the weight of each word, for the most probable class, or, with several labels, for each
            that applies, or the most probable one if none does; empty: the model has no attention.
    """

    unit = "text"

    marked: tuple[tuple[str, MarkedText], ...]

    def show(self, console: Console) -> None:
        """Print the most probable classes, and the text with its words coloured by their weights."""
        super().show(console)
        for name, marked in self.marked:
            if self.labels is not None:
                console.print(f"words for {name}:", highlight=False, markup=False)
            marked.show(console)

    def save(self, path: str | Path) -> None:
        """Draw the attention over the text, for the most probable class. Raises UserError: the model has none."""
        if not self.marked:
            raise UserError("look: this model has no attention (train with --model.attention additive)")
        name, marked = self.marked[0]
        marked.save(Path(path), title=f"{name}, {dict(self.classes)[name]:.0%}")

    def weights(self) -> Mapping[str, Any]:
        """Each word and its weight; with several labels, its weights for each of ``marked``."""
        if not self.marked:
            return {}
        first = self.marked[0][1]
        words = [first.text[start:end] for start, end in first.spans]
        by_label = {name: marked.weights.tolist() for name, marked in self.marked}
        return {"words": words, "weights": by_label if self.labels is not None else first.weights.tolist()}
