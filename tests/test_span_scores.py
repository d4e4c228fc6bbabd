"""Scores of answers, against values that are known: computed by hand by the rules of SQuAD's evaluation script."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.tasks.families.span.scores import (
    MEASURES,
    Judged,
    best_threshold,
    character_f1,
    exact,
    f1,
    mean,
    normalized,
    scores,
)


@pytest.mark.parametrize(
    ("answer", "golds", "equal", "words"),
    [
        ("Denver Broncos", ["Denver Broncos"], 1.0, 1.0),
        ("the Denver Broncos.", ["denver broncos"], 1.0, 1.0),
        ("Denver", ["Denver Broncos"], 0.0, 2 / 3),  # precision 1, recall 1/2
        ("in Santa Clara, California", ["Santa Clara", "Levi's Stadium in Santa Clara, California"], 0.0, 0.8),
        ("Levis", ["Levi's"], 1.0, 1.0),  # an apostrophe is removed, not replaced by a space
        ("a cat a cat", ["cat"], 0.0, 2 / 3),  # articles are removed; words count as often as they occur
        ("", [], 1.0, 1.0),
        ("Paris", [], 0.0, 0.0),
        ("", ["Paris"], 0.0, 0.0),
        ("the", ["a"], 1.0, 1.0),  # nothing is left of both
        ("gold", ["Golden", "gold and black"], 0.0, 0.5),
        ("東京都", ["東京"], 0.0, 0.0),
    ],
)
def test_exact_and_f1_are_those_of_squad(answer: str, golds: list[str], equal: float, words: float) -> None:
    assert exact(answer, golds) == equal
    assert f1(answer, golds) == pytest.approx(words)


def test_articles_are_removed_as_words_only() -> None:
    assert normalized("The theatre, an anthem; A-ha") == "theatre anthem aha"


def test_f1_over_characters_needs_no_spaces() -> None:
    assert character_f1("東京都", ["大阪", "東京"]) == pytest.approx(2 * 2 / 5)
    assert character_f1("「東京」", ["東 京"]) == 1.0
    assert character_f1("", []) == 1.0
    assert character_f1("。", ["東京"]) == 0.0


def _judged(share: float, answered: float, declined: float) -> Judged:
    return Judged(share, (answered,) * 3, (declined,) * 3)


def _sigmoid(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))


@pytest.mark.parametrize("shift", [-1.5, 0.0, 2.0])
def test_the_threshold_is_where_answers_score_as_much_as_no_answer(shift: float) -> None:
    # Logistic regression of a constant: the shares are too high or too low by the shift, in log-odds.
    right = {-2.0: 0.25, 2.0: 0.75}  # log-odds without the shift → share of answers that are correct
    judged = [
        _judged(_sigmoid(odds + shift), at < 4 * share, at >= 4 * share)
        for odds, share in right.items()
        for at in range(4)
    ]  # fmt: skip
    assert best_threshold(judged) == pytest.approx(_sigmoid(shift))


def test_without_questions_that_have_no_answer_every_question_is_answered() -> None:
    assert best_threshold([_judged(0.0, 1, 0), _judged(0.5, 0.0, 0)]) == 0.0
    assert best_threshold([]) == 0.0


def test_where_no_answer_is_correct_none_is_given() -> None:
    judged = [_judged(0.3, 0, 1), _judged(1.0, 0, 1)]
    assert mean(judged, best_threshold(judged))["f1"] == 100


_SHARES = st.one_of(st.sampled_from([0.0, 0.3, 0.3 + 1e-12, 1 - 1e-12, 1.0]), st.floats(0, 1))
_PARTS = st.floats(0, 1)


@settings(deadline=None)
@given(st.lists(st.tuples(_SHARES, *[_PARTS] * 6), max_size=8), st.sampled_from(list(MEASURES)))
def test_always_or_never_to_answer_is_not_better_on_the_validation_questions(
    rows: list[tuple[float, ...]], measure: str
) -> None:
    judged = [Judged(row[0], row[1:4], row[4:]) for row in rows]
    threshold = best_threshold(judged, measure)
    assert threshold == np.float32(threshold)
    best = mean(judged, threshold)[measure]
    for other in (0.0, 2.0):  # 0: always an answer; 2: never
        assert best >= mean(judged, other)[measure] - 1e-6


def test_questions_with_the_same_probability_are_answered_together() -> None:
    judged = [_judged(1.0, 0, 1), _judged(1.0, 0.4, 0), _judged(1.0, 0, 1)]
    assert mean(judged, best_threshold(judged))["f1"] == pytest.approx(100 * 2 / 3)


def test_the_threshold_is_chosen_for_a_measure() -> None:
    judged = [Judged(0.4, (0.0, 0.8, 0.8), (0.0, 0.0, 0.0)), Judged(0.1, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))]
    assert mean(judged, best_threshold(judged, "exact"))["exact"] == 50
    assert 0.1 < best_threshold(judged, "f1") < 0.4


def test_scores_are_reported_for_both_kinds_of_questions() -> None:
    result = scores(["Paris", "", "Rome", ""], [["Paris", "paris"], ["Rome"], [], []])
    values = {name: score.value for name, score in result.items()}
    assert values == {
        "exact": 50.0, "f1": 50.0, "character_f1": 50.0, "has_answer_exact": 50.0, "has_answer_f1": 50.0,
        "no_answer": 50.0,
    }  # fmt: skip
    assert "2 of 4" in result["no_answer"].how
    assert set(scores(["Paris"], [["Paris"]])) == {"exact", "f1", "character_f1"}
