"""Scores of rankings: hit rate, NDCG, mean reciprocal rank and coverage, over all candidates or 100 of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from regard.tasks.results import Score, Scores

CUTOFF = 10
"""The number of first places that the main scores look at."""

TOGETHER = 1 << 20
"""The number of scores of images and texts that are ranked together; to sort them takes some 25 bytes for each."""

ScoresOf = Callable[[slice], np.ndarray]
"""The scores of all candidates for some inputs, ``(inputs, candidates)``."""

Places = tuple[np.ndarray, np.ndarray]
"""The places of the right texts of images, and of the right images of texts; see `matching_places`."""


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


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Blocks of the rows of a matrix with at most `TOGETHER` numbers each, or with one row.

    >>> list(row_blocks(5, TOGETHER // 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, TOGETHER // max(1, columns))
    return (slice(at, min(rows, at + step)) for at in range(0, rows, step))


def matching_places(by_image: ScoresOf, by_text: ScoresOf, owners: np.ndarray, images: int) -> Places:
    """The places of the right captions and of the right images, from 1; ties count against them.

    The scores are computed for some rows at a time (`row_blocks`), so that the memory does not grow with their number.

    Args:
        by_image: the scores of all captions for some images, ``(rows, captions)``.
        by_text: the scores of all images for some captions, ``(rows, images)``.
        owners: the image of each caption, ``(captions,)``.
        images: their number.

    Returns:
        For each image the place of the best of its captions among all captions, its other captions left out,
        ``(images,)``; and for each caption the place of its image among all images, ``(captions,)``.

    >>> scores = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    >>> both = matching_places(scores.__getitem__, scores.T.__getitem__, np.array([0, 0, 1]), 2)
    >>> [places.tolist() for places in both]
    [[1, 2], [1, 2, 1]]
    """
    of_images = np.empty(images, dtype=np.int64)
    for rows in row_blocks(images, len(owners)):
        for image, row in enumerate(by_image(rows), rows.start):
            own = owners == image
            of_images[image] = 1 + int((~own & ~(row < row[own].max(initial=-np.inf))).sum())
    of_texts = [ranks(by_text(rows), owners[rows]) for rows in row_blocks(len(owners), images)]
    return of_images, np.concatenate(of_texts)


def mean_recall(places: Places) -> float:
    """The mean of R@1, R@5 and R@10 in both directions, in per cent; see `matching_places`."""
    return 100 * float(np.mean([hit_rate(one, cutoff) for one in places for cutoff in (1, 5, 10)]))


def matching_scores(places: Places, how: str) -> Scores:
    """R@1, R@5, R@10 and the median rank in both directions; see `matching_places`. ``how``: they are ranked."""
    result, (of_images, of_texts) = {}, places
    for name, own, what in (
        ("image_to_text", of_images, "images with one of their captions"),
        ("text_to_image", of_texts, "captions with their image"),
    ):
        for cutoff in (1, 5, 10):
            share = 100 * hit_rate(own, cutoff)
            result[f"{name}_r{cutoff}"] = Score(share, f"per cent of the {what} in the first {cutoff}, {how}", 1)
        result[f"{name}_rank"] = Score(float(np.median(own)), "the median place of the right one; 1 is best", 1)
    return result
