"""Error rates: edit distances by a recursion, known rates of a corpus, and the interval."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from regard.tasks.families.seq2seq.error_rates import edits, error_rate


@cache
def _distance(one: str, other: str) -> int:
    if not one or not other:
        return len(one) + len(other)
    replaced = _distance(one[1:], other[1:]) + (one[0] != other[0])
    return min(replaced, _distance(one[1:], other) + 1, _distance(one, other[1:]) + 1)


def test_edits_are_those_of_the_recursion() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        one, other = ("".join(random.choice(list("abc"), random.integers(0, 7))) for _ in range(2))
        assert edits(one, other) == _distance(one, other)


def test_rates_are_counted_over_the_corpus() -> None:
    words = error_rate(["the cat sat", "go"], ["the cat sat on", "yes no go"], "word")
    assert (words.errors, words.total, words.texts) == (3, 7, 2)
    assert words.rate == pytest.approx(100 * 3 / 7)  # not the mean of 1/4 and 2/3
    characters = error_rate(["a  b\n", ""], ["a b", "xy"], "character")
    assert (characters.errors, characters.total) == (2, 5)
    assert error_rate(["a b c d"], ["e"], "word").rate == 400


def test_the_interval_is_that_of_texts_drawn_with_replacement() -> None:
    assert error_rate(["a b"] * 9, ["a c"] * 9, "word").interval == (50.0, 50.0)
    # 100 texts of one word, a fifth of which are wrong: the rate has a standard deviation of 4 points.
    outputs = ["x" if number % 5 == 0 else "a" for number in range(100)]
    low, high = error_rate(outputs, ["a"] * 100, "word").interval
    assert 20 - low == pytest.approx(1.96 * 4, abs=1.2)
    assert high - 20 == pytest.approx(1.96 * 4, abs=1.2)
    assert "20 errors in 100 words" in error_rate(outputs, ["a"] * 100, "word").score().how
