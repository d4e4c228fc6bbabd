"""Scores of a trained recommender: among all items or 100, beside those of neighbours and the best possible."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from regard.data import shop
from regard.tasks.families.rank.histories import Cases
from regard.tasks.families.rank.predictor import Recommender
from regard.tasks.families.rank.scores import CUTOFF, hit_rate, ndcg, ranking_scores, ranks, sampled_ranks
from regard.tasks.results import Score, Scores

_TOGETHER = 128
"""The number of choices that are ranked together."""

ScoreItems = Callable[[Sequence[np.ndarray]], np.ndarray]
"""The scores of all items after each history, ``(n, items)``; −∞ for those that do not compete."""


def scores_of(recommender: Recommender, cases: Cases, *, sampled: bool = False) -> Scores:
    """HR, NDCG, MRR and coverage; those of the neighbours; for the built-in shop also the best possible.

    Args:
        recommender: what is scored.
        cases: the choices to predict.
        sampled: rank each item among itself and 99 random ones, instead of all.
    """
    began = time.perf_counter()
    tables, listed = recommender.tables(), np.zeros(len(recommender.catalogue), dtype=bool)

    def own(before: Sequence[np.ndarray]) -> np.ndarray:
        scores = recommender.competing(recommender.scores(before, tables), before)
        listed[np.argsort(-scores)[:, :CUTOFF]] = True
        return scores

    among = "the item among all others" if recommender.repeats else "the item among all that are not in the history"
    if sampled:
        random = "the item among itself and 99 random ones"
        result = ranking_scores(places_of(cases, own, sampled=True), random, "_of_100")
    else:
        result = ranking_scores(places_of(cases, own), f"{among}, ties count against it")
    speed = f"{len(cases) / (time.perf_counter() - began):,.0f} histories per second"
    result["coverage"] = Score(100 * float(listed.mean()), f"per cent of the items that are in any first {CUTOFF}")
    if not sampled:
        floor = places_of(cases, lambda before: recommender.competing(recommender.neighbours.scores(before), before))
        how = "of the neighbours, without a neural network"
        result["neighbours_hr10"] = Score(hit_rate(floor, CUTOFF), f"hit rate at {CUTOFF} {how}", 4)
        result["neighbours_ndcg10"] = Score(ndcg(floor, CUTOFF), f"NDCG at {CUTOFF} {how}", 4)
    if cases.deciding is not None:
        result |= _known_scores(recommender, cases)
    return result | {"histories": Score(float(len(cases)), speed, 0)}


def places_of(cases: Cases, score: ScoreItems, *, sampled: bool = False) -> np.ndarray:
    """The places of the items that were chosen, by the scores of all items."""
    places = []
    for start in range(0, len(cases), _TOGETHER):
        rows = range(start, min(len(cases), start + _TOGETHER))
        scores, targets = score(cases.before(rows)), cases.targets[start : start + _TOGETHER]
        places.append(sampled_ranks(scores, targets, count=99, seed=rows) if sampled else ranks(scores, targets))
    return np.concatenate(places)


def _known_scores(recommender: Recommender, cases: Cases) -> Scores:
    """The best possible hit rate, and the attention on the item that decides, for the built-in shop."""
    best = shop.best_scores(cases.histories, cases.places)
    possible = hit_rate(ranks(np.where(best > 0, best, -np.inf), cases.targets), CUTOFF)
    result = {"best_hr10": Score(possible, "the best possible hit rate at 10, by the true probabilities", 4)}
    assert cases.deciding is not None
    rows = np.flatnonzero(cases.deciding >= 0).tolist()
    if recommender.attends and rows:
        before = cases.before(rows)
        shares = []
        for weights, history, place in zip(recommender.weights(before), before, cases.deciding[rows], strict=True):
            at = place - max(0, len(history) - len(weights))
            shares.append((weights[at] if at >= 0 else 0.0, 1 / len(history)))
        on, chance = 100 * np.array(shares).mean(0)
        how = f"per cent of the attention on the past item that decides; {chance:.1f} is its share of the history"
        result["on_deciding"] = Score(float(on), how, 1)
    return result
