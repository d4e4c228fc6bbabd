"""Scores of rankings against answers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from regard.tasks.families.rank.scores import hit_rate, ndcg, ranking_scores, ranks, reciprocal, sampled_ranks

INF, NAN = -math.inf, math.nan


@pytest.mark.parametrize(
    ("scores", "target", "rank"),
    [
        ([4, 3, 2, 1], 0, 1),
        ([4, 3, 2, 1], 3, 4),
        ([2, 2, 2, 1], 1, 3),  # a tie of three: the last of their places
        ([1, 1, 1, 1], 2, 4),  # a model that scores all alike hits nothing
        ([9, INF, 2, 1], 2, 2),  # a seen item does not compete
        ([INF, INF, 2, INF], 2, 1),
        ([1, NAN, 2, 0], 2, 2),  # a score that is not a number counts as better
        ([1, NAN, 2, 0], 1, 5),
        ([NAN] * 4, 0, 5),
        ([9, INF, 2, 1], 1, 5),  # a target that was seen cannot be ranked
        ([9, 5, 2, 1], -1, 5),  # nor can one that the model does not know
    ],
)
def test_the_rank_of_a_target(scores: list[float], target: int, rank: int) -> None:
    assert ranks(np.array([scores], dtype=float), np.array([target])).tolist() == [rank]


def test_known_answers() -> None:
    places = np.array([1, 2, 7, 10, 11])
    assert hit_rate(places, 5) == pytest.approx(2 / 5)
    assert hit_rate(places, 10) == pytest.approx(4 / 5)
    assert ndcg(places, 10) == pytest.approx((1 + 1 / math.log2(3) + 1 / 3 + 1 / math.log2(11)) / 5)
    assert reciprocal(places) == pytest.approx((1 + 1 / 2 + 1 / 7 + 1 / 10 + 1 / 11) / 5)
    scores = ranking_scores(places, "among all items")
    assert list(scores) == ["hr5", "ndcg5", "hr10", "ndcg10", "mrr"]
    assert scores["hr10"].value == pytest.approx(0.8)


def test_equals_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    scores, targets = random.normal(size=(40, 25)), random.integers(0, 25, 40)
    relevant = np.eye(25)[targets]
    places = ranks(scores, targets)
    assert ndcg(places, 10) == pytest.approx(metrics.ndcg_score(relevant, scores, k=10))
    assert hit_rate(places, 10) == pytest.approx(metrics.top_k_accuracy_score(targets, scores, k=10, labels=range(25)))
    assert reciprocal(places) == pytest.approx(metrics.label_ranking_average_precision_score(relevant, scores))


def test_with_sampled_candidates_the_task_is_easier_and_reproducible() -> None:
    random = np.random.default_rng(0)
    scores, targets = random.normal(size=(400, 1000)), random.integers(0, 1000, 400)
    scores[:, 0] = INF
    targets = np.maximum(targets, 1)
    places = sampled_ranks(scores, targets, count=99, seed=range(400))
    assert places.min() >= 1
    assert places.max() <= 100
    assert hit_rate(places, 10) == pytest.approx(0.1, abs=0.04)  # one hundred at random
    assert hit_rate(ranks(scores, targets), 10) < 0.03
    halves = [
        sampled_ranks(scores[p], targets[p], count=99, seed=range(400)[p]) for p in (slice(200), slice(200, None))
    ]
    assert np.concatenate(halves).tolist() == places.tolist()
    assert sampled_ranks(scores[:2, :5], np.array([3, -1]), count=99, seed=[0, 1])[1] == 100
