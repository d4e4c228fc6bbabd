"""Settings of histories of users; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regard.training.ranges import at_most, positive


@dataclass(frozen=True)
class HistoriesConfig:
    """Which histories to train on, and what is held out."""

    train: str | None = None
    """Histories to train on: lines with a user and the items in the order of time, or pairs of user and item, with a
    rating and a time if known (.txt, .tsv, .dat with tabs, spaces or ::, .csv, .jsonl, .parquet, RecBole's .inter; all
    but Parquet also .gz/.xz), or a Hugging Face dataset as "hf:NAME". By default, those of a built-in shop."""
    valid: str | None = None
    """Histories of other users, in the same formats, of which the last item is predicted in validation; all of
    data.train is then trained on. By default, see data.split."""
    titles: str | None = None
    """Table with the title of each item, in columns of item and title: TSV, CSV, JSONL, Parquet, lines with ::, or
    RecBole's .item. The words of a title are a part of what the model knows of an item."""
    form: Literal["auto", "lines", "pairs"] = "auto"
    """Whether a line is a user's history or one pair; auto: detected."""
    user: str | int | None = None
    """Column with the users: its name, or its number counted from 1; by default the one with a usual name, or the
    first."""
    item: str | int | None = None
    """Column with the items, likewise; the second."""
    rating: str | int | None = None
    """Column with the ratings, likewise; the third, if there is one."""
    time: str | int | None = None
    """Column with the times, in seconds or as dates, likewise; the fourth. Without times, the order of the lines
    counts."""
    min_rating: float | None = None
    """Leave out pairs with a lower rating."""
    core: int = 1
    """Leave out users with fewer choices and items that were chosen less often, until each has this many (k-core)."""
    repeats: Literal["merge", "keep"] = "merge"
    """merge: an item that a user chose before is left out, and no item of the history is ranked in validation and
    tests; keep: items can be chosen again."""
    split: Literal["last", "time", "none"] = "last"
    """last: the last item of each user is for testing, the one before it for validation; time: the latest choices of
    all users are for testing, those before them for validation; none: train on everything, to recommend then; the last
    items are validated although they are trained on."""
    share: float = 0.1
    """For data.split time: the share of the choices for testing, and for validation."""
    on_bad_line: Literal["error", "skip"] = "error"
    """What to do with lines that cannot be used. error: name them and stop; skip: name them and leave them out."""
    builtin_users: int = 3000
    """Number of customers of the built-in shop, if no histories are given."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        if not 0.001 <= self.share <= 0.4:
            return f"data.share: must be at least 0.001 and at most 0.4, got {self.share}"
        return positive("data", self, "core", "builtin_users") or at_most("data", self, 1_000_000, "builtin_users")
