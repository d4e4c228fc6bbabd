"""The labels of a text in a cell of a table, or before the text in a line of fastText's format."""

from __future__ import annotations

import itertools
import re

MARK = "__label__"
"""The beginning of a label in fastText's format."""

_SEPARATORS = re.compile("[|,;]")
_SEVERAL = "labels, which need --data.labels multi"

Cell = str | tuple[str, ...] | None
"""Text, a list of labels, or None for an empty cell."""


class BadLabels(Exception):
    """The labels of a text cannot be used; its text says why."""


def labels_of(cell: Cell) -> tuple[str, ...]:
    """The labels in a cell, each once: separated by ``|``, ``,`` or ``;``, or as a list. Raises BadLabels.

    >>> labels_of("sci fi| drama"), labels_of(("a, b",)), labels_of(None)
    (('sci fi', 'drama'), ('a, b',), ())
    """
    if isinstance(cell, str) and cell.startswith("[") and cell.endswith("]"):
        raise BadLabels("a list as text; separate labels by |, a comma or a semicolon")
    labels = (cell or ()) if not isinstance(cell, str) else map(str.strip, _SEPARATORS.split(cell))
    return tuple(dict.fromkeys(filter(None, labels)))


def one_label(cell: Cell) -> str:
    """The only label in a cell, which text is as it is. Raises BadLabels: there are several, or none."""
    if isinstance(cell, str):
        return cell
    if not cell:
        raise BadLabels("no label")
    if len(cell) > 1:
        raise BadLabels(f"{len(cell)} {_SEVERAL}")
    return cell[0]


def divided(line: str) -> list[str]:
    """The labels, separated by spaces, and the text of a line of fastText's format; one field if it has no label.

    >>> divided("__label__new __label__good It works."), divided("It works.")
    (['new good', 'It works.'], ['It works.'])
    """
    words = line.split(" ")
    labels = list(itertools.takewhile(lambda word: word.startswith(MARK), words))
    if not labels:
        return [line]
    return [" ".join(label.removeprefix(MARK) for label in labels), " ".join(words[len(labels) :])]


def divided_or_unlabelled(line: str) -> list[str]:
    """As `divided`, for texts that may have no label.

    >>> divided_or_unlabelled("It works.")
    ['', 'It works.']
    """
    return ["", *divided(line)][-2:]


def marked_labels(cell: Cell) -> tuple[str, ...]:
    """The labels of the first field of `divided`, each once. Raises BadLabels: one is empty."""
    labels = cell.split(" ") if isinstance(cell, str) else ()
    if not all(labels):
        raise BadLabels(f"{MARK} without a label")
    return tuple(dict.fromkeys(labels))


def one_marked_label(cell: Cell) -> str:
    """The only label of the first field of `divided`. Raises BadLabels: there are several."""
    labels = marked_labels(cell)
    if len(labels) != 1:
        raise BadLabels(f"{len(labels)} {_SEVERAL}")
    return labels[0]
