"""Batches: each example once, within the size limit, in an order that depends only on seed and epoch."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.batching import batches
from regard.data.padding import pad

LENGTHS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), max_size=60)


@given(LENGTHS, st.integers(1, 300), st.integers(0, 5))
def test_batches_have_each_example_once_and_keep_to_the_size(
    lengths: list[tuple[int, int]], tokens: int, epoch: int
) -> None:
    epoch_batches = batches(lengths, tokens=tokens, seed=1, epoch=epoch)
    assert sorted(i for batch in epoch_batches for i in batch) == list(range(len(lengths)))
    for batch in epoch_batches:
        padded = len(batch) * (max(lengths[i][0] for i in batch) + max(lengths[i][1] for i in batch))
        assert padded <= tokens or len(batch) == 1


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    lengths = [(random.Random(i).randint(1, 30), 5) for i in range(500)]
    first = batches(lengths, tokens=100, seed=1, epoch=0)
    assert batches(lengths, tokens=100, seed=1, epoch=0) == first
    assert batches(lengths, tokens=100, seed=1, epoch=1) != first
    assert batches(lengths, tokens=100, seed=2, epoch=0) != first


def test_batches_have_little_padding() -> None:
    lengths = [(random.Random(i).randint(1, 30), random.Random(-i).randint(1, 30)) for i in range(5000)]
    padded = sum(
        len(batch) * (max(lengths[i][0] for i in batch) + max(lengths[i][1] for i in batch))
        for batch in batches(lengths, tokens=2000, seed=1, epoch=0)
    )
    assert sum(map(sum, lengths)) / padded > 0.7


@pytest.mark.parametrize("rows", [[[1, 2, 3], [4]], [[]], []])
def test_pad_fills_rows_and_returns_their_lengths(rows: list[list[int]]) -> None:
    padded, lengths = pad(rows, 9)
    assert lengths.tolist() == [len(row) for row in rows]
    longest = max(map(len, rows), default=0)
    assert padded.tolist() == [row + [9] * (longest - len(row)) for row in rows]
