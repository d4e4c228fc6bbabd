"""Average precision of boxes, as COCO defines it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""The overlaps from which on a box counts as correct (Lin et al. 2014, arXiv:1405.0312)."""
_SAME = 0.6
"""Boxes that overlap by more are of one object."""
_RECALLS = np.linspace(0, 1, 101)


class Truth(NamedTuple):
    """The objects of an image: labels int64 ``(n,)``, boxes ``(n, 4)`` as edges, and whether each is a crowd."""

    labels: np.ndarray
    boxes: np.ndarray
    crowd: np.ndarray


class Guess(NamedTuple):
    """The boxes that a model gives for an image: labels int64 ``(n,)``, scores ``(n,)`` and boxes ``(n, 4)``."""

    labels: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray


def average_precisions(
    truths: Sequence[Truth], guesses: Sequence[Guess], classes: int, *, most: int = 100
) -> np.ndarray:
    """The average precision of each class at each of `THRESHOLDS`, ``(classes, 10)``; NaN: a class without objects.

    In the order of its score, each box of a class gets the object of that class with the largest overlap that no box
    before it has. It is correct if the overlap reaches the threshold. The precision at a recall is the largest at this
    or a higher recall, and the average is over 101 recalls. A box over a crowd counts neither as correct nor as wrong.

    Args:
        truths: of each image.
        guesses: of the same images.
        classes: the number of classes.
        most: only so many boxes of an image count, those with the highest scores.

    >>> truth = Truth(np.array([0, 0]), np.array([[0, 0, 2, 2], [4, 4, 6, 6.0]]), np.array([False, False]))
    >>> guess = Guess(np.array([0]), np.array([0.9]), np.array([[0, 0, 2, 2.0]]))
    >>> round(float(average_precisions([truth], [guess], 1)[0, 0]), 3)  # precision 1 up to a recall of a half
    0.505
    """
    kept = [_first(guess, most) for guess in guesses]
    result = np.full((classes, len(THRESHOLDS)), np.nan)
    for label in range(classes):
        count = sum(int(((truth.labels == label) & ~truth.crowd).sum()) for truth in truths)
        if not count:
            continue
        parts = [_judged(truth, guess, label) for truth, guess in zip(truths, kept, strict=True)]
        scores = np.concatenate([part[0] for part in parts])
        correct, ignored = (np.concatenate([part[at] for part in parts], 1) for at in (1, 2))
        order = np.argsort(-scores, kind="stable")
        for row, (right, left_out) in enumerate(zip(correct[:, order], ignored[:, order], strict=True)):
            result[label, row] = _area(right[~left_out], count)
    return result


def distinct(guess: Guess, *, among_classes: bool = False) -> np.ndarray:
    """The boxes that do not overlap by more than 0.6 with a box of a higher score, which is of the same object.

    Args:
        guess: the boxes of an image.
        among_classes: compare boxes of different classes too.

    Returns:
        Their numbers, that of the highest score first.

    >>> near = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10.0]])
    >>> distinct(Guess(np.array([1, 1, 1]), np.array([0.5, 0.9, 0.2]), near)).tolist()
    [1, 2]
    """
    order = np.argsort(-guess.scores, kind="stable")
    labels, boxes = guess.labels[order], guess.boxes[order]
    same = overlaps(boxes, boxes, np.zeros(len(boxes), dtype=bool)) > _SAME
    if not among_classes:
        same &= labels[:, None] == labels
    kept = np.ones(len(order), dtype=bool)
    for at in range(len(order)):
        if kept[at]:
            kept[at + 1 :] &= ~same[at, at + 1 :]
    chosen: np.ndarray = order[kept]
    return chosen


def _first(guess: Guess, most: int) -> Guess:
    order = np.argsort(-guess.scores, kind="stable")[:most]
    return Guess(guess.labels[order], guess.scores[order], guess.boxes[order])


def _judged(truth: Truth, guess: Guess, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The scores of an image's boxes of a class, and which are correct and which ignored, ``(thresholds, n)``."""
    own, there = guess.labels == label, truth.labels == label
    scores, boxes = guess.scores[own], guess.boxes[own]
    crowd, objects = truth.crowd[there], truth.boxes[there]
    shared = overlaps(boxes, objects, crowd)
    correct, ignored = np.zeros((2, len(THRESHOLDS), len(scores)), dtype=bool)
    for row, threshold in enumerate(THRESHOLDS):
        free = ~crowd
        for at in np.flatnonzero((shared >= threshold).any(1)):
            among = np.where(free, shared[at], -1.0)
            best = int(among.argmax())
            if among[best] >= threshold:
                correct[row, at], free[best] = True, False
            else:
                ignored[row, at] = (shared[at][crowd] >= threshold).any()
    return scores, correct, ignored


def overlaps(boxes: np.ndarray, objects: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Intersection over union ``(boxes, objects)``; for a crowd, over the area of the box."""
    low = np.maximum(boxes[:, None, :2], objects[:, :2])
    high = np.minimum(boxes[:, None, 2:], objects[:, 2:])
    inner = (high - low).clip(min=0).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)[:, None]
    union = area + np.where(crowd, 0.0, (objects[:, 2:] - objects[:, :2]).prod(-1) - inner)
    shared: np.ndarray = inner / np.maximum(union, 1e-12)
    return shared


def _area(correct: np.ndarray, count: int) -> float:
    """The mean precision over 101 recalls; ``correct``: of the boxes in the order of their scores."""
    hits = correct.cumsum()
    recall = hits / count
    precision = hits / np.arange(1, len(correct) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.append(precision, 0.0)[np.minimum(at, len(precision))].mean())


def means(precisions: np.ndarray) -> tuple[float, float]:
    """Mean average precision in per cent, at an overlap of 0.5 and over all of `THRESHOLDS`; 0: there is no object.

    Args:
        precisions: see `average_precisions`.
    """
    there = precisions[~np.isnan(precisions[:, 0])]
    return (100 * float(there[:, 0].mean()), 100 * float(there.mean())) if len(there) else (0.0, 0.0)
