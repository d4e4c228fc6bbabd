"""Which choices of histories are for training, validation and testing: the last of each user, or the latest ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from regard.data.histories import Histories
from regard.errors import UserError

Division = Literal["last", "time", "none"]

_FEWEST = 3
"""The number of choices from which on a user's last two are set aside."""


@dataclass(frozen=True, eq=False)
class Divided:
    """Histories with the choices to train on, to validate on and to test on.

    A choice is predicted from all earlier ones of its user.

    Attributes:
        histories: all of them.
        ends: user u's choices for training are those from ``histories.bounds[u]`` to ``ends[u]``.
        valid: the choices to validate on, indices of ``histories.items``.
        test: those to test on.
    """

    histories: Histories
    ends: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def divide(histories: Histories, division: Division, share: float = 0.1) -> Divided:
    """Set choices aside.

    Args:
        histories: of all users.
        division: ``"last"``: the last choice of each user is for testing, the one before it for validation; users with
            fewer than three are for training only. ``"time"``: the latest choices of all users are for testing, those
            before them for validation. ``"none"``: all are for training, and the last of each user is validated too.
        share: of the choices for testing, and for validation, in a division by time.

    Raises:
        UserError: a division by time without times, or nothing is left for a part.

    >>> from regard.data.histories import histories_of
    >>> divided = divide(histories_of([("ann", "abcd"), ("bob", "ab")]), "last")
    >>> divided.ends.tolist(), divided.valid.tolist(), divided.test.tolist()
    ([2, 6], [2], [3])
    """
    starts, ends = histories.bounds[:-1], histories.bounds[1:]
    if division == "time":
        return _by_time(histories, share)
    if division == "none":
        valid = ends[histories.lengths > 1] - 1
        divided = Divided(histories, ends, valid, valid[:0])
    else:
        enough = histories.lengths >= _FEWEST
        divided = Divided(histories, np.where(enough, ends - 2, ends), ends[enough] - 2, ends[enough] - 1)
    if not len(divided.valid):
        least = _FEWEST if division == "last" else 2
        raise UserError(f"data.train: needs users with at least {least} items; the longest of its {len(starts):,} "
                        f"histories has {histories.lengths.max(initial=0):,}")  # fmt: skip
    return divided


def last_choices(histories: Histories) -> np.ndarray:
    """The last choice of each user who has an earlier one, indices of ``histories.items``."""
    return histories.bounds[1:][histories.lengths > 1] - 1


def _by_time(histories: Histories, share: float) -> Divided:
    if histories.times is None:
        raise UserError("data.split: time needs the times of the choices; name their column with --data.time")
    before_valid, before_test = np.quantile(histories.times, [1 - 2 * share, 1 - share])
    owners = histories.owners
    trained = histories.times <= before_valid
    ends = histories.bounds[:-1] + np.bincount(owners[trained], minlength=len(histories))
    later = np.arange(len(owners)) > histories.bounds[:-1][owners]  # the first choice has nothing before it
    valid = np.flatnonzero(~trained & later & (histories.times <= before_test))
    test = np.flatnonzero(later & (histories.times > before_test))
    if not len(valid) or not len(test):
        raise UserError("data.split: time leaves no choice for validation or testing; set a larger --data.share")
    return Divided(histories, ends, valid, test)
