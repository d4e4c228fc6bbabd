"""The classes of an input of which parts, such as words or moments, have weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from rich.console import Console

from regard.errors import UserError
from regard.explain.documents import Keys, by_query
from regard.explain.save import save
from regard.tasks.families.classify.labeller import Classified
from regard.viewer.document import Axis, Document


class Weighted(Protocol):
    """An input with the weight of each part."""

    @property
    def weights(self) -> np.ndarray:
        """``(parts,)``."""

    def keys(self) -> dict[str, Keys]:
        """Its parts as keys of the viewer, by the names of layers."""

    def show(self, console: Console) -> None:
        """Print it."""

    def save(self, path: Path, *, title: str) -> None:
        """Draw it."""


Input = TypeVar("Input", bound=Weighted)


@dataclass(frozen=True)
class Attended(Classified, Generic[Input]):
    """The classes of an input, and the weights of its parts.

    Attributes:
        attended: the input with the weight of each part, for the most probable class, or, with several labels, for each
            that applies, or the most probable one if none does; empty: the model has no attention.
    """

    parts: ClassVar[str]
    """The parts in a word, such as ``"words"``."""
    key: ClassVar[str]
    """The key of the parts in `weights`."""

    attended: tuple[tuple[str, Input], ...]

    @abstractmethod
    def names(self, first: Input) -> Sequence[Any]:
        """What identifies each part, as JSON can represent it."""

    def show(self, console: Console) -> None:
        """Print the most probable classes, and the input with its weights."""
        super().show(console)
        for name, one in self.attended:
            if self.labels is not None:
                console.print(f"{self.parts} for {name}:", highlight=False, markup=False)
            one.show(console)

    def save(self, path: str | Path) -> None:
        """Draw the attention, for the most probable class. Raises UserError: the model has none."""
        title, one = self._first()
        save(path, self.document, partial(one.save, title=title))

    def document(self) -> Document:
        """What the viewer shows: a query for each class of ``attended``. Raises UserError: there is no attention."""
        title, _ = self._first()
        queries = Axis(tuple(name for name, _ in self.attended), unit="class")
        return by_query(title, queries, [one.keys() for _, one in self.attended], [self.printed])

    def _first(self) -> tuple[str, Input]:
        if not self.attended:
            raise UserError("look: this model has no attention (train with --model.attention additive)")
        name, one = self.attended[0]
        return f"{name}, {dict(self.classes)[name]:.0%}", one

    def weights(self) -> Mapping[str, Any]:
        """Each part and its weight; with several labels, its weights for each of ``attended``."""
        if not self.attended:
            return {}
        first = self.attended[0][1]
        by_label = {name: one.weights.tolist() for name, one in self.attended}
        return {self.key: self.names(first), "weights": first.weights.tolist() if self.labels is None else by_label}
