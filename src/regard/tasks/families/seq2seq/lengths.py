"""Outputs of a wanted length: the token with which a target begins says which third of the lengths it is from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from regard.data.tokenizer import BOS
from regard.data.words import LONG, MEDIUM, SHORT
from regard.errors import UserError
from regard.tasks.families.seq2seq.rows import Rows

_LENGTHS = {None: BOS, "short": SHORT, "medium": MEDIUM, "long": LONG}


def first_token(length: str | None) -> int:
    """The token with which the decoder starts for a wanted length; None: the model chooses the length."""
    return _LENGTHS[length]


def with_lengths(rows: Rows) -> Rows:
    """``rows`` in which every second target begins with its length, a third of all.

    So a model learns to write for a wanted length and without one (Fan et al. 2018, arXiv:1711.05217).
    """
    first = np.array([SHORT, MEDIUM, LONG])[thirds(rows.target.lengths)]
    first[::2] = BOS
    return replace(rows, first=first)


def thirds(lengths: np.ndarray) -> np.ndarray:
    """The third of each length, from 0; equal lengths are in the same third, that of the middle one of them.

    >>> thirds(np.array([4, 4, 9, 9, 9, 20])).tolist(), thirds(np.array([7, 7])).tolist()
    ([0, 0, 1, 1, 1, 2], [1, 1])
    """
    _, places, counts = np.unique(lengths, return_inverse=True, return_counts=True)
    middle = (counts.cumsum() - counts / 2) / max(1, len(lengths))
    return (3 * middle).astype(int)[places]


def drop_long_targets(rows: Rows, longest: int, name: str, setting: str, notify: Callable[[str], None]) -> Rows:
    """``rows`` without pairs whose target is longer than ``longest`` words. Raises UserError: none is left.

    Args:
        rows: the training pairs.
        longest: the largest number of words, without EOS.
        name: what the targets are, in the plural, such as ``"summaries"``.
        setting: the setting that limits them, such as ``"data.max_summary"``.
        notify: is called with a line about the pairs that are left out.
    """
    kept = np.flatnonzero(rows.target.lengths <= longest + 1)
    if not len(kept):
        raise UserError(f"{setting}: all {len(rows):,} training {name} are longer than {longest} words")
    if len(kept) < len(rows):
        flag = f"--{setting.replace('_', '-')}"
        count = f"{len(rows) - len(kept):,} of {len(rows):,} training {name}"
        notify(f"left out {count}, which are longer than {longest} words ({flag})")
    return rows.select(kept)
