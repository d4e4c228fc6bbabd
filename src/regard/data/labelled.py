"""Examples of which each has a class: the numbers of the classes, and how many examples each class has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import numpy as np

from regard.errors import UserError

_SHOWN = 3
_SHOWN_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Labelled(ABC):
    """Examples with one class each; a subclass adds their content, such as pixels.

    Attributes:
        labels: int64 ``(n,)``, indices of ``names``.
        names: the names of the classes.
        keys: a digest of each example, by which equal ones are recognized.
        notes: how the data were interpreted, and what was left out and why.
        parts: which of ``"train"``, ``"valid"`` and ``"test"`` the data are divided into; empty: they are not.
    """

    unit: ClassVar[str] = "example"
    """One of them in a word; with an "s", several."""

    labels: np.ndarray
    names: tuple[str, ...]
    keys: tuple[bytes, ...]
    notes: tuple[str, ...] = ()
    parts: frozenset[str] = frozenset()

    def describe(self) -> str:
        """The number of examples, in all and of each class, in one line."""
        counts = np.bincount(self.labels, minlength=len(self.names))
        each = [f"{name} ({count:,})" for name, count in zip(self.names, counts, strict=True)]
        if len(each) > _SHOWN_CLASSES:
            low, high = int(counts.argmin()), int(counts.argmax())
            each = [*each[:_SHOWN], f"…; the smallest {each[low]}, the largest {each[high]}"]
        total, classes = len(self.labels), len(self.names)
        return (
            f"{total:,} {self.unit}{'s' if total > 1 else ''} in {classes:,} class{'es' if classes > 1 else ''}: "
            f"{', '.join(each)}"
        )

    @abstractmethod
    def content(self, mask: np.ndarray) -> Mapping[str, Any]:
        """The fields that a subclass adds, of the examples where ``mask``, bool ``(n,)``, is True."""


Examples = TypeVar("Examples", bound=Labelled)


def select(examples: Examples, mask: np.ndarray) -> Examples:
    """The examples where ``mask``, bool ``(n,)``, is True."""
    keys = tuple(key for key, included in zip(examples.keys, mask, strict=True) if included)
    return replace(
        examples, labels=examples.labels[mask], keys=keys, notes=(), parts=frozenset(), **examples.content(mask)
    )


def number_classes(
    labels: Sequence[str], names: tuple[str, ...] | None, origin: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The number of each label, int64 ``(n,)``, and the names of the classes in the order of their numbers.

    Args:
        labels: the class of each example.
        names: the known classes; None: those of ``labels``, sorted, with numbers in the order of their values.
        origin: where the labels are from, for the error.

    Raises:
        UserError: a label is not one of the known classes.

    >>> number_classes(["b", "10", "9"], None, "data.tsv")
    (array([2, 1, 0]), ('9', '10', 'b'))
    """
    known = tuple(sorted(set(labels), key=_natural)) if names is None else names
    strange = sorted(set(labels).difference(known), key=_natural)
    if strange:
        raise UserError(
            f"{origin}: has the class{'es' if len(strange) > 1 else ''} {', '.join(map(repr, strange[:_SHOWN]))}, "
            f"which is not in the training data; its classes are {_listed(known)}"
        )
    numbers = {name: number for number, name in enumerate(known)}
    return np.array([numbers[label] for label in labels], dtype=np.int64), known


def _natural(name: str) -> tuple[bool, int, str]:
    """A sort key for names, in which numbers are sorted by value."""
    return (False, int(name), name) if name.isascii() and name.isdigit() else (True, 0, name)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_CLASSES:,} more" if len(names) > _SHOWN_CLASSES else ""
    return ", ".join(names[:_SHOWN_CLASSES]) + more
