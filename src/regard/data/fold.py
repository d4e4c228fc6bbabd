"""Which fold of a cross-validation is the validation set; imports no NumPy."""

from __future__ import annotations

from typing import NamedTuple


class Fold(NamedTuple):
    """The fold of a cross-validation that is the validation set: its number, from 1, and the number of folds."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    @classmethod
    def parse(cls, text: str) -> Fold:
        """The fold that ``"2/5"`` means. Raises ValueError: the text is none.

        >>> Fold.parse("2/5")
        Fold(number=2, total=5)
        """
        number, _, total = text.partition("/")
        fold = cls(int(number), int(total))
        if not (1 <= fold.number <= fold.total and fold.total >= 2):
            raise ValueError(text)
        return fold


def fold_problem(fold: str | None, valid: str | None) -> str | None:
    """The error message for the settings ``data.fold`` and ``data.valid``; None if there is none."""
    if fold is None:
        return None
    if valid is not None:
        return "data.fold: cannot be used with --data.valid, since the fold is the validation set; remove one of them"
    try:
        Fold.parse(fold)
    except ValueError:
        return f"data.fold: expected K/N, such as 1/5 for the first of five folds, got {fold!r}"
    return None
