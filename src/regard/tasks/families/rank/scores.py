"""Scores of rankings: hit rate, NDCG, mean reciprocal rank and coverage, over all candidates or 100 of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regard.tasks.results import Score, Scores

CUTOFF = 10
"""The number of first places that the main scores look at."""


def ranks(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The place of each row's target among all candidates, from 1, int64 ``(n,)``; ties count against it.

    Args:
        scores: ``(n, candidates)``; −∞ for a candidate that does not compete. NaN counts as better than the target.
        targets: the right candidate of each row, ``(n,)``; a negative one is not among the candidates, and comes last.

    >>> ranks(np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]), np.array([2, 0, -1])).tolist()
    [2, 2, 4]
    """
    own = np.take_along_axis(scores, np.maximum(targets, 0)[:, None], 1)
    competing = ~np.isneginf(scores)
    better = (competing & ~(scores < own)).sum(1) - competing[np.arange(len(targets)), np.maximum(targets, 0)] + 1
    possible = (targets >= 0) & ~np.isnan(own[:, 0]) & ~np.isneginf(own[:, 0])
    places: np.ndarray = np.where(possible, better, scores.shape[1] + 1)
    return places


def sampled_ranks(scores: np.ndarray, targets: np.ndarray, *, count: int, seed: Sequence[int]) -> np.ndarray:
    """The place of each target among itself and ``count`` candidates that are drawn at random; ties count against it.

    Krichene and Rendle 2020 (KDD) show that such scores can order models differently from those over all candidates.

    Args:
        scores: as of `ranks`.
        targets: likewise.
        count: the number of other candidates; all, if there are fewer.
        seed: of the random choice, a number for each row, so that it does not depend on how rows are batched.
    """
    results = np.full(len(targets), count + 1)
    for row, (line, target, own_seed) in enumerate(zip(scores, targets, seed, strict=True)):
        others = np.flatnonzero(~np.isneginf(line))
        others = others[others != target]
        drawn = np.random.default_rng([count, own_seed]).permutation(others)[:count]
        if target >= 0:
            results[row] = ranks(line[np.append(drawn, target)][None], np.array([len(drawn)]))[0]
    return results


def hit_rate(places: np.ndarray, cutoff: int) -> float:
    """The share of targets among the first ``cutoff`` places.

    >>> hit_rate(np.array([1, 3, 11]), 10)
    0.6666666666666666
    """
    return float((places <= cutoff).mean())


def ndcg(places: np.ndarray, cutoff: int) -> float:
    """The mean of ``1 / log₂(1 + rank)``, 0 beyond the cutoff: NDCG with one right candidate (Järvelin 2002).

    >>> ndcg(np.array([1, 3, 11]), 10)
    0.5
    """
    return float(np.where(places <= cutoff, 1 / np.log2(1 + places), 0.0).mean())


def reciprocal(places: np.ndarray) -> float:
    """The mean of ``1 / rank``.

    >>> reciprocal(np.array([1, 2, 4, 4]))
    0.5
    """
    return float((1 / places).mean())


def ranking_scores(places: np.ndarray, how: str, suffix: str = "") -> Scores:
    """HR, NDCG and MRR.

    Args:
        places: of the targets, from 1.
        how: among what they are ranked, for the explanation.
        suffix: of the names of the scores.
    """
    result = {}
    for cutoff in (5, CUTOFF):
        result[f"hr{cutoff}{suffix}"] = Score(
            hit_rate(places, cutoff), f"hit rate: share in the first {cutoff}, {how}", 4
        )
        result[f"ndcg{cutoff}{suffix}"] = Score(ndcg(places, cutoff), f"NDCG at {cutoff}, {how}", 4)
    result[f"mrr{suffix}"] = Score(reciprocal(places), f"mean reciprocal rank, {how}", 4)
    return result


def matching_places(by_image: np.ndarray, by_text: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of the right captions and of the right images, from 1; ties count against them.

    Args:
        by_image: the scores of all captions for each image, ``(images, captions)``.
        by_text: the scores of all images for each caption, ``(captions, images)``.
        owners: the image of each caption, ``(captions,)``.

    Returns:
        For each image the place of the best of its captions among all captions, its other captions left out,
        ``(images,)``; and for each caption the place of its image among all images, ``(captions,)``.

    >>> scores = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    >>> [places.tolist() for places in matching_places(scores, scores.T, np.array([0, 0, 1]))]
    [[1, 2], [1, 2, 1]]
    """
    of_images = np.empty(len(by_image), dtype=np.int64)
    for image, row in enumerate(by_image):
        own = owners == image
        of_images[image] = 1 + int((~own & ~(row < row[own].max(initial=-np.inf))).sum())
    return of_images, ranks(by_text, owners)


def mean_recall(similarity: np.ndarray, owners: np.ndarray) -> float:
    """The mean of R@1, R@5 and R@10 in both directions, in per cent, by ``similarity`` ``(images, captions)``."""
    places = matching_places(similarity, similarity.T, owners)
    return 100 * float(np.mean([hit_rate(one, cutoff) for one in places for cutoff in (1, 5, 10)]))


def matching_scores(by_image: np.ndarray, by_text: np.ndarray, owners: np.ndarray, how: str) -> Scores:
    """R@1, R@5, R@10 and the median rank in both directions; see `matching_places`. ``how``: they are ranked."""
    result, (of_images, of_texts) = {}, matching_places(by_image, by_text, owners)
    for name, own, what in (
        ("image_to_text", of_images, "images with one of their captions"),
        ("text_to_image", of_texts, "captions with their image"),
    ):
        for cutoff in (1, 5, 10):
            share = 100 * hit_rate(own, cutoff)
            result[f"{name}_r{cutoff}"] = Score(share, f"per cent of the {what} in the first {cutoff}, {how}", 1)
        result[f"{name}_rank"] = Score(float(np.median(own)), "the median place of the right one; 1 is best", 1)
    return result
