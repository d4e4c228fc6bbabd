"""The scores of several labels per example, against scikit-learn, and their thresholds, against a search."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch

from regard.tasks.families.classify.label_scores import LabelsOutcome, best_thresholds

CASES = {"usual": (60, 0.3), "rare labels": (60, 0.03), "no true label": (10, 0.0), "all": (10, 1.0), "one": (1, 0.5)}


def _case(name: str) -> LabelsOutcome:
    count, share = CASES[name]
    random = np.random.default_rng(0)
    labels = random.random((count, 5)) < share
    probabilities = np.clip(random.random((count, 5)) * 0.7 + labels * 0.3, 0, 1)
    return LabelsOutcome(tuple("abcde"), labels, probabilities, np.array([0.5, 0.3, 0.6, 0.9, 1.1]), 2.0)


@pytest.mark.parametrize("case", CASES)
def test_scores_equal_those_of_scikit_learn(case: str) -> None:
    outcome = _case(case)
    labels, predicted, scores = outcome.labels, outcome.predicted, outcome.scores("texts")
    occur = (labels | predicted).any(0)
    micro = sklearn.metrics.precision_recall_fscore_support(labels, predicted, average="micro", zero_division=0)
    expected = {
        "precision": micro[0], "recall": micro[1], "micro_f1": micro[2],
        "macro_f1": sklearn.metrics.f1_score(labels[:, occur], predicted[:, occur], average="macro", zero_division=0),
        "exact": sklearn.metrics.accuracy_score(labels, predicted),
        "accuracy": sklearn.metrics.jaccard_score(labels, predicted, average="samples", zero_division=1),
    }  # fmt: skip
    for name, value in expected.items():
        assert scores[name].value == pytest.approx(100 * value, rel=1e-12), name
    assert ("worst" in scores) is bool(labels.any())
    each = sklearn.metrics.precision_recall_fscore_support(labels, predicted, zero_division=0)
    for mine, theirs in zip((outcome.by_label.precision, outcome.by_label.recall, outcome.by_label.f1), each[:3],
                            strict=True):  # fmt: skip
        np.testing.assert_allclose(mine, theirs, rtol=1e-14)


def test_the_loss_is_summed_over_labels_and_batches_are_joined() -> None:
    logits, labels = torch.tensor([[0.0, 2.0], [-1.0, 0.5]]), np.array([[True, True], [False, True]])
    thresholds = np.array([0.5, 0.9])
    whole = LabelsOutcome.of(("a", "b"), labels, logits, thresholds)
    halves = [LabelsOutcome.of(("a", "b"), labels[at : at + 1], logits[at : at + 1], thresholds) for at in range(2)]
    joined = LabelsOutcome.joined(halves)
    assert joined.loss == pytest.approx(whole.loss) == pytest.approx(0.69315 + 0.12693 + 0.31326 + 0.47408, abs=1e-4)
    assert np.array_equal(joined.probabilities, whole.probabilities)
    assert whole.predicted.tolist() == [[True, False], [False, False]]
    assert whole.report("texts")[2:] == [
        "| label | threshold | precision, % | recall, % | F1, % | texts |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| b | 0.90 | 0.0 | 0.0 | 0.0 | 2 |",
        "| a | 0.50 | 100.0 | 100.0 | 100.0 | 1 |",
    ]


@pytest.mark.parametrize("seed", range(9))
def test_no_threshold_has_a_higher_f1_than_the_chosen_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.random((30, 1)) < 0.3
    probabilities = np.round(np.clip(random.random((30, 1)) * 0.8 + labels * 0.2, 0, 1), 1 + seed % 3)

    def f1(threshold: float) -> float:
        predicted = probabilities >= threshold
        return 2 * float((labels & predicted).sum()) / float(labels.sum() + predicted.sum())

    (chosen,) = best_thresholds(labels, probabilities)
    assert f1(chosen) == max(f1(threshold) for threshold in np.linspace(0, 1, 1001))


@pytest.mark.parametrize(("labels", "probabilities", "threshold"), [
    ([0, 0, 0], [0.1, 0.2, 0.9], 0.5),  # the label does not occur
    ([1, 1, 1], [0.1, 0.2, 0.9], 0.05),
    ([1, 0, 0], [0.8, 0.2, 0.1], 0.5),
    ([1, 0, 1, 0], [0.9, 0.4, 0.4, 0.1], 0.25),  # equal probabilities are on the same side
    ([1], [0.0], 0.0),
])  # fmt: skip
def test_thresholds_of_known_cases(labels: list[int], probabilities: list[float], threshold: float) -> None:
    chosen = best_thresholds(np.array(labels, dtype=bool)[:, None], np.array(probabilities)[:, None])
    assert chosen == pytest.approx([threshold])
