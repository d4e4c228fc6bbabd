"""Links between words: format, symmetrization, and the alignment error rate."""

from __future__ import annotations

import itertools
import random

import pytest

from regard.errors import UserError
from regard.explain.links import Gold, Links, error_rate, from_pharaoh, symmetrized, to_pharaoh


def links(text: str) -> Links:
    return from_pharaoh(text).sure


def test_lines_come_back() -> None:
    generator = random.Random(0)
    for count in range(5):
        pairs = {(generator.randrange(30), generator.randrange(30)) for _ in range(count)}
        assert from_pharaoh(to_pharaoh(pairs)) == Gold(frozenset(pairs), frozenset(pairs))


def test_possible_links_include_the_sure_ones() -> None:
    gold = from_pharaoh("1-2 3p4 5?6", first=1)
    assert gold.sure == {(0, 1)}
    assert gold.possible == {(0, 1), (2, 3), (4, 5)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1-1 2", "gold, line 3: expected links such as 0-2, or 0p2 for a possible one, got '2'"),
        ("1-1 1--2", "got '1--2'"),
        ("1-1,1-2", "got '1-1,1-2'"),
        ("1-0", "gold, line 3: words are numbered from 1, got '1-0'"),
    ],
)
def test_a_damaged_line_is_named(line: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        from_pharaoh(line, first=1, where="gold, line 3")
    assert message in str(error.value)


def test_error_rate_counts_links_of_all_sentences_together() -> None:
    golds = [from_pharaoh("0-0 1p1"), from_pharaoh("0-0 1-1 2-2 3-3")]
    drawn = [links("0-0 1-1 2-0"), links("0-0")]
    # |A| = 4, |S| = 5, |A ∩ S| = 2, |A ∩ P| = 3.
    error, precision, recall = error_rate(drawn, golds)
    assert error == pytest.approx(1 - 5 / 9)
    assert (precision, recall) == (3 / 4, 2 / 5)


def test_perfect_and_empty_alignments() -> None:
    golds = [from_pharaoh("0-0 1p1")]
    assert error_rate([golds[0].sure], golds).error == 0
    assert error_rate([golds[0].possible], golds).error == 0
    assert error_rate([frozenset()], golds).error == 1
    with pytest.raises(ValueError, match="neither they nor the golds"):
        error_rate([frozenset()], [from_pharaoh("")])


def test_growing_reaches_diagonal_neighbours_and_stops_where_both_words_are_linked() -> None:
    one, other = links("0-0 1-1 3-3"), links("0-0 0-1 1-1 5-5")
    assert symmetrized(one, other, "intersection") == links("0-0 1-1")
    assert symmetrized(one, other, "union") == one | other
    # 0-1 has two linked words; 3-3 and 5-5 are no neighbours.
    assert symmetrized(one, other) == links("0-0 1-1")
    assert symmetrized(one, other, "grow-diag-final-and") == links("0-0 1-1 3-3 5-5")
    assert symmetrized(links("0-0 1-1 2-1"), links("0-0")) == links("0-0 1-1 2-1")


def test_symmetrizations_lie_between_intersection_and_union() -> None:
    generator = random.Random(1)
    every = list(itertools.product(range(6), range(7)))
    for _ in range(50):
        one, other = (frozenset(generator.sample(every, 8)) for _ in range(2))
        grown = symmetrized(one, other)
        assert one & other <= grown <= symmetrized(one, other, "grow-diag-final-and") <= one | other
        assert symmetrized(other, one) == grown


def test_an_unknown_symmetrization_is_named() -> None:
    with pytest.raises(ValueError, match="'grow'"):
        symmetrized(links(""), links(""), "grow")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("drawn", "sure", "right_sure", "right", "published"),
    [
        (9931, 9613, 6903, 7079, (28.5, 71.3, 71.8)),
        (7312, 4038, 3639, 5849, (16.4, 80.0, 90.1)),
    ],
    ids=["deen", "enfr"],
)
def test_published_links_have_their_published_error_rate(
    drawn: int, sure: int, right_sure: int, right: int, published: tuple[float, float, float]
) -> None:
    """Counts of links by fast_align, and what their authors report (lilt/alignment-scripts, results/fastalign)."""
    words = iter(range(drawn + sure))
    right_links = [(next(words), 0) for _ in range(right)]
    wrong_links = [(next(words), 0) for _ in range(drawn - right)]
    missed = [(next(words), 0) for _ in range(sure - right_sure)]
    gold = Gold(frozenset(right_links[:right_sure] + missed), frozenset(right_links + missed))
    error, precision, recall = error_rate([frozenset(right_links + wrong_links)], [gold])
    assert tuple(round(100 * value, 1) for value in (error, precision, recall)) == published
