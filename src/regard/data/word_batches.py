"""Texts as numbers for a classifier: their words in windows, and the features of each distinct word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from regard.data.word_features import Features


class WordBatch(NamedTuple):
    """``words`` int64 ``(B, W, L)``, rows of ``features``, 0 for padding; ``features`` int64 ``(U, G)``, 0 likewise."""

    words: np.ndarray
    features: np.ndarray


def word_batch(texts: Sequence[Sequence[str]], features: Features, window: int) -> WordBatch:
    """The words of texts in windows of at most ``window`` words, all of the same length.

    >>> batch = word_batch([["a", "b", "a"], ["b"]], Features(("a",), 0), window=2)
    >>> batch.words.tolist(), batch.features.tolist()
    ([[[1, 2], [1, 0]], [[2, 0], [0, 0]]], [[0], [2], [1]])
    """
    rows: dict[str, int] = {}
    numbers = [[rows.setdefault(word, len(rows) + 1) for word in words] for words in texts]
    longest = max(map(len, numbers))
    length = max(1, min(window, longest))
    windows = max(1, -(-longest // length))
    words = np.zeros((len(texts), windows * length), dtype=np.int64)
    for row, one in zip(words, numbers, strict=True):
        row[: len(one)] = one
    distinct = [features.of(word) for word in rows]
    table = np.zeros((len(distinct) + 1, max(map(len, distinct), default=1)), dtype=np.int64)
    for row, own in zip(table[1:], distinct, strict=True):
        row[: len(own)] = own
    return WordBatch(words.reshape(len(texts), windows, length), table)
