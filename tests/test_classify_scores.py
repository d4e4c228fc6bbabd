"""The scores of classifiers, against scikit-learn, and predictions in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import sklearn.metrics
import torch
from sklearn.calibration import calibration_curve
from torch import Tensor, nn

from regard.data.labelled import Labelled, number_classes
from regard.errors import UserError
from regard.models.text import Seen
from regard.tasks.exporting import Exportable
from regard.tasks.families.classify.labeller import Classified, Labeller, load_classes, save_classes
from regard.tasks.families.classify.scores import (
    Outcome,
    by_class,
    calibration_error,
    confusion,
    macro_f1,
    matthews,
)
from regard.tasks.results import Failure
from regard.viewer.document import Document

CASES = {
    "many classes": (7, 400, 0.6),
    "two classes": (2, 50, 0.7),
    "a class that does not occur": (9, 20, 0.5),
    "one example": (3, 1, 1.0),
    "all wrong": (3, 30, 0.0),
    "all right": (4, 40, 1.0),
}


def _case(name: str) -> tuple[int, np.ndarray, np.ndarray]:
    """The number of classes, the true classes and the predicted ones."""
    classes, count, right = CASES[name]
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, count)
    shift = np.where(random.random(count) < right, 0, random.integers(1, classes, count))
    return classes, labels, (labels + shift) % classes


@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.parametrize("case", CASES)
def test_scores_equal_those_of_scikit_learn(case: str) -> None:
    classes, labels, predicted = _case(case)
    every = list(range(classes))
    counts = confusion(labels, predicted, classes)
    assert np.array_equal(counts, sklearn.metrics.confusion_matrix(labels, predicted, labels=every))
    precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=0
    )
    scores = by_class(counts)
    np.testing.assert_allclose(scores.precision, precision, rtol=1e-14)
    np.testing.assert_allclose(scores.recall, recall, rtol=1e-14)
    np.testing.assert_allclose(scores.f1, f1, rtol=1e-14)
    expected = sklearn.metrics.f1_score(labels, predicted, average="macro", zero_division=0)
    assert macro_f1(counts) == pytest.approx(expected, rel=1e-14)
    assert matthews(counts) == pytest.approx(sklearn.metrics.matthews_corrcoef(labels, predicted), rel=1e-12)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_the_calibration_error_is_that_of_the_bins_of_scikit_learn(bins: int) -> None:
    random = np.random.default_rng(1)
    confidence = np.append(random.random(500), [0.0, 1.0, 0.1, 0.5, 0.7])
    correct = random.random(505) < confidence**2
    accuracy, probability = calibration_curve(correct, confidence, n_bins=bins)
    numbers = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    share = np.bincount(numbers, minlength=bins) / len(confidence)
    expected = (share[share > 0] * np.abs(accuracy - probability)).sum()
    assert calibration_error(confidence, correct, bins) == pytest.approx(expected, rel=1e-12)


def test_a_calibrated_and_an_overconfident_classifier() -> None:
    assert calibration_error(np.full(10, 0.8), np.arange(10) < 8) == pytest.approx(0)
    assert calibration_error(np.full(10, 1.0), np.arange(10) < 8) == pytest.approx(0.2)


def test_an_outcome_has_scores_and_a_report() -> None:
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    outcome = Outcome(("cat", "dog", "owl"), labels, predicted, np.array([0.9, 0.8, 0.6, 0.7]), 2.0)
    scores = outcome.scores("images")
    assert list(scores) == ["accuracy", "macro_f1", "mcc", "loss", "calibration", "worst"]
    assert {name: round(score.value, 3) for name, score in scores.items()} == {
        "accuracy": 75.0, "macro_f1": 73.333, "mcc": 0.577, "loss": 0.5, "calibration": 30.0, "worst": 66.667,
    }  # fmt: skip
    assert scores["loss"].how == "cross-entropy in nats per image"
    assert "'cat'" in scores["worst"].how
    assert outcome.report("images") == [
        "Accuracy 75.00 % of 4.",
        "",
        "| class | precision, % | recall, % | F1, % | images |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| dog | 50.0 | 100.0 | 66.7 | 1 |",
        "| cat | 100.0 | 66.7 | 80.0 | 3 |",
        "",
        "| class | classified as | times |",
        "| --- | --- | ---: |",
        "| cat | dog | 1 |",
    ]


def test_classes_are_numbered_in_the_order_of_their_names() -> None:
    numbers, names = number_classes(["10", "b", "9", "10"], None, "data")
    assert (numbers.tolist(), names) == ([1, 2, 0, 1], ("9", "10", "b"))
    with pytest.raises(
        UserError, match="data: has the classes 'x', 'y', which is not in the training data; its classe"
    ):
        number_classes(["a", "y", "x"], ("a", "b"), "data")


def test_the_names_of_classes_are_kept_with_other_facts(tmp_path: Path) -> None:
    save_classes(tmp_path, ("a", "b"), rate=8000)
    assert load_classes(tmp_path, "rate") == (("a", "b"), {"rate": 8000})
    with pytest.raises(UserError, match=r"classes\.json: not a file of classes \('mean'\); restore it as training"):
        load_classes(tmp_path, "mean")


@dataclass(frozen=True)
class Word(Classified):
    unit = "text"

    def save(self, path: str | Path) -> None:
        raise UserError("look: nothing to draw")

    def document(self) -> Document:
        raise UserError("look: this model has no attention")


@dataclass(frozen=True, kw_only=True)
class Words(Labelled):
    unit = "word"
    words: tuple[str, ...]

    def content(self, mask: np.ndarray) -> dict[str, tuple[str, ...]]:
        return {"words": tuple(word for word, included in zip(self.words, mask, strict=True) if included)}


@dataclass(frozen=True)
class WordLabeller(Labeller[Words, str]):
    """Classifies words by their length; groups are recorded."""

    together: ClassVar[int] = 4
    groups: list[int]

    def open(self, item: str) -> str:
        if not item:
            raise UserError("word: is empty")
        return item

    def seen(self, inputs: Sequence[str]) -> Seen:
        self.groups.append(len(inputs))
        return Seen(self.model(self._lengths(inputs)), None)

    def result(self, item: str, seen: Seen, at: int) -> Word:
        return Word(item, self.ranked(seen.logits[at]))

    def inputs(self, examples: Words, rows: Sequence[int]) -> tuple[Tensor, ...]:
        return (self._lengths([examples.words[row] for row in rows]),)

    def own_exportable(self) -> Exportable:
        raise UserError("export: not supported")

    @staticmethod
    def _lengths(words: Sequence[str]) -> Tensor:
        return torch.tensor([[float(len(word))] for word in words])


def _labeller() -> WordLabeller:
    model = nn.Linear(1, 2)
    nn.init.constant_(model.weight[0], -1.0)
    nn.init.constant_(model.weight[1], 1.0)
    nn.init.zeros_(model.bias)
    return WordLabeller(model, ("short", "long"), [])


def test_inputs_are_labelled_in_groups_that_grow_and_failures_keep_their_place() -> None:
    labeller = _labeller()
    words = ["a", "", "bcd", "e", "fg", "", "h", "i", "j", "k"]
    results = list(labeller.predict(iter(words), top=1))
    assert [result.to_dict().get("input" if isinstance(result, Failure) else "text") for result in results] == words
    assert [isinstance(result, Failure) for result in results] == [not word for word in words]
    assert labeller.groups == [1, 1, 3, 3]
    assert results[0].line() == "a\tlong 0.8808"
    assert len(labeller.look("abc").classes) == 2


def test_examples_are_scored_with_the_same_model() -> None:
    words = Words(labels=np.array([1, 1, 0]), names=("short", "long"), keys=(b"", b"", b""), words=("a", "bc", "d"))
    outcome = _labeller().score(words)
    assert outcome.predicted.tolist() == [1, 1, 1]
    assert outcome.correct == 2
    assert outcome.loss == pytest.approx(0.12693 + 0.01815 + 2.12693, abs=1e-4)
    assert outcome.confidence == pytest.approx([0.8808, 0.9820, 0.8808], abs=1e-4)
