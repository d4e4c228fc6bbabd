"""Examples of which each has a class, or any number of labels: their numbers, and how many examples each has."""

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
    """Examples with one class each, or with any number of labels; a subclass adds their content, such as pixels.

    Attributes:
        labels: the class of each example, int64 ``(n,)``, indices of ``names``; or, with several labels, which of
            ``names`` each example has, bool ``(n, classes)``.
        names: the names of the classes or labels.
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

    @property
    def several(self) -> bool:
        """Whether an example can have any number of labels."""
        return self.labels.ndim == 2

    @property
    def numbers(self) -> list[list[int]]:
        """The numbers of the labels of each example."""
        return [np.flatnonzero(row).tolist() for row in self.labels] if self.several else self.labels[:, None].tolist()

    @property
    def counts(self) -> np.ndarray:
        """The number of examples of each class or label, int64 ``(classes,)``."""
        return _counts(self.labels, len(self.names))

    @property
    def balance(self) -> np.ndarray:
        """See `balance`."""
        return balance(self.labels, len(self.names))

    def describe(self) -> str:
        """The number of examples, in all and of each class or label, in one line."""
        counts = self.counts
        each = [f"{name} ({count:,})" for name, count in zip(self.names, counts, strict=True)]
        if len(each) > _SHOWN_CLASSES:
            low, high = int(counts.argmin()), int(counts.argmax())
            each = [*each[:_SHOWN], f"…; the smallest {each[low]}, the largest {each[high]}"]
        total, classes = len(self.labels), len(self.names)
        kinds = f"label{'s' if classes > 1 else ''}" if self.several else f"class{'es' if classes > 1 else ''}"
        line = (
            f"{total:,} {self.unit}{'s' if total > 1 else ''} {'with' if self.several else 'in'} {classes:,} {kinds}: "
            f"{', '.join(each)}"
        )
        return f"{line}; {int((~self.labels.any(1)).sum()):,} without a label" if self.several else line

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


def balance(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights with which all classes weigh the same in all: the inverse of the number of examples of each.

    With several labels, those of the examples without each label, and of those with it.

    Args:
        labels: see `Labelled`.
        classes: their number.

    Returns:
        float ``(classes,)``, or ``(2, classes)``.
    """
    total, counts = len(labels), _counts(labels, classes)
    if labels.ndim == 2:
        return total / (2 * np.stack([total - counts, counts]).clip(min=1))
    return total / (classes * counts.clip(min=1))


def _counts(labels: np.ndarray, classes: int) -> np.ndarray:
    return labels.sum(0) if labels.ndim == 2 else np.bincount(labels, minlength=classes)


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
    known = _known(labels, names, origin)
    numbers = {name: number for number, name in enumerate(known)}
    return np.array([numbers[label] for label in labels], dtype=np.int64), known


def number_labels(
    labels: Sequence[Sequence[str]], names: tuple[str, ...] | None, origin: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which labels each example has, bool ``(n, labels)``, and the names of all labels; arguments as `number_classes`.

    Raises:
        UserError: a label is not one of the known ones.

    >>> number_labels([["b", "a"], [], ["b"]], None, "data.tsv")
    (array([[ True,  True],
           [False, False],
           [False,  True]]), ('a', 'b'))
    """
    known = _known([label for own in labels for label in own], names, origin)
    numbers = {name: number for number, name in enumerate(known)}
    marked = np.zeros((len(labels), len(known)), dtype=bool)
    for row, own in zip(marked, labels, strict=True):
        row[[numbers[label] for label in own]] = True
    return marked, known


def _known(labels: Sequence[str], names: tuple[str, ...] | None, origin: str) -> tuple[str, ...]:
    """``names``, or by default the names in ``labels``. Raises UserError: a label is not one of ``names``."""
    known = tuple(sorted(set(labels), key=_natural)) if names is None else names
    strange = sorted(set(labels).difference(known), key=_natural)
    if strange:
        raise UserError(
            f"{origin}: has the class{'es' if len(strange) > 1 else ''} {', '.join(map(repr, strange[:_SHOWN]))}, "
            f"which is not in the training data; its classes are {listed(known)}"
        )
    return known


def _natural(name: str) -> tuple[bool, int, str]:
    """A sort key for names, in which numbers are sorted by value."""
    return (False, int(name), name) if name.isascii() and name.isdigit() else (True, 0, name)


def listed(names: Sequence[str]) -> str:
    """The first of some names in one line, and the number of the others."""
    more = f" and {len(names) - _SHOWN_CLASSES:,} more" if len(names) > _SHOWN_CLASSES else ""
    return ", ".join(names[:_SHOWN_CLASSES]) + more
