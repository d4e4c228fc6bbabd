"""Settings of labelled texts; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regard.data.fold import fold_problem
from regard.training.ranges import at_least, at_most


@dataclass(frozen=True)
class LabelledTextsConfig:
    """Which texts to train on."""

    train: str | None = None
    """Texts to train on: a table with a column for the text and one for the class (.tsv, .csv, .jsonl, .parquet); lines
    with a class, a tab or a space, and the text; fastText's lines; a folder with a folder of text files per class, or a
    tar or zip archive of it; or a Hugging Face dataset as "hf:NAME". By default, built-in requests about five
    topics."""
    valid: str | None = None
    """Texts to validate on, in the same formats; by default, a tenth of each class, which is set aside. Equal texts are
    set aside together."""
    fold: str | None = None
    """K/N: validate on the K-th of N folds of the training texts, which have the same share of each class. The same
    train.seed gives the same folds."""
    text_column: str | None = None
    """Column of the text: its name, or in files without a header its number from 1; by default detected."""
    label_column: str | None = None
    """Column of the class, likewise."""
    on_bad_line: Literal["error", "skip"] = "error"
    """What to do with lines or files without a class or a text, or that are not UTF-8. error: name the first ones and
    stop; skip: leave them out and print their number."""
    builtin_texts: int = 3000
    """Number of built-in texts, if no training texts are given."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        few = at_least("data.builtin_texts", self.builtin_texts, 50)
        return few or at_most("data", self, 200_000, "builtin_texts") or fold_problem(self.fold, self.valid)


@dataclass(frozen=True)
class LabelledTextsOptions:
    """Options of ``regard eval`` for labelled texts."""

    on_bad_line: Literal["error", "skip"] | None = None
    """Stop at a line that cannot be used, or skip it; by default as in training."""
    text_column: str | None = None
    """Column of the text; by default as in training."""
    label_column: str | None = None
    """Column of the class; by default as in training."""
