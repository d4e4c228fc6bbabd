"""How many inputs a predictor computes at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice


class Together(tuple[str, ...]):
    """Inputs whose results are all wanted at once, such as the requests of a batch: `Predictor.predict` computes
    them as one group."""


def groups(inputs: Iterable[str], sizes: Iterable[int]) -> Iterator[list[str]]:
    """The inputs in groups of these sizes, of which the first are small, so that the first results come soon.

    ``inputs`` may be endless; `Together` is a single group.

    >>> list(groups("abcdef", doubling(4)))
    [['a'], ['b', 'c'], ['d', 'e', 'f']]
    >>> list(groups(Together("abc"), doubling(4)))
    [['a', 'b', 'c']]
    """
    stream = iter(inputs)
    for size in (len(inputs),) if isinstance(inputs, Together) else sizes:
        group = list(islice(stream, size))
        if not group:
            return
        yield group


def doubling(most: int) -> Iterator[int]:
    """The sizes 1, 2, 4 and so on, up to ``most``."""
    size = 1
    while True:
        yield size
        size = min(2 * size, most)
