"""ROUGE and new bigrams, against values that were computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from regard.tasks.families.seq2seq.rouge import TYPES, Words, new_bigrams, rouge, splitter


def _scores(text: str, *references: str) -> dict[str, float]:
    return rouge([text], [references])[0]


def test_known_answers() -> None:
    # 3 of 5 and of 4 words, 1 of 4 and of 3 bigrams; the longest common subsequence is "police killed gunman" or 2.
    scores = _scores("the gunman police killed now", "police killed the gunman")
    assert scores["rouge1"] == pytest.approx(100 * 2 * 4 / (5 + 4))
    assert scores["rouge2"] == pytest.approx(100 * 2 * 1 / (4 + 3) + 100 * 2 * 1 / (4 + 3))
    assert scores["rougeL"] == pytest.approx(100 * 2 * 2 / (5 + 4))
    assert _scores("a b", "a b") == dict.fromkeys(TYPES, pytest.approx(100.0))
    assert _scores("", "a b") == dict.fromkeys(TYPES, 0.0)


def test_words_are_compared_by_their_stems() -> None:
    assert _scores("Runs tests", "running TEST")["rouge2"] == pytest.approx(100.0)


def test_the_best_reference_counts_for_each_score() -> None:
    scores = _scores("one two three", "three", "one two")
    assert scores["rouge1"] == pytest.approx(80.0)
    assert scores["rouge2"] == pytest.approx(100 * 2 / 3)


def test_the_score_is_the_mean_over_the_texts() -> None:
    assert rouge(["a", "b"], [["a"], ["c"]])[0]["rouge1"] == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [("Привет мир", "привет, Мир!", 100.0), ("東京都", "京都", 80.0), ("été", "ete", 0.0), ("हिन्दी", "हिन्दी", 100.0)],
)
def test_other_scripts_are_scored(text: str, reference: str, expected: float) -> None:
    assert rouge([text], [[reference]])[0]["rouge1"] == pytest.approx(expected)


def test_both_tokenizers_are_the_same_for_plain_text() -> None:
    plain: Any = splitter(["plain text"])[0]
    text = "The U.S. economy's 3.5% growth, re-measured (see a_b) flies; tests!"
    assert Words().tokenize(text) == plain.tokenize(text)
    assert isinstance(splitter(["plain text " * 20 + "é"])[0], type(plain))
    assert isinstance(splitter(["déjà vu"])[0], Words)


def test_new_bigrams() -> None:
    assert new_bigrams(["a b c", "x y"], ["a b d c", "x y"]) == pytest.approx(100 / 3)
    assert new_bigrams(["", "a"], ["a", "b"]) == 0.0
