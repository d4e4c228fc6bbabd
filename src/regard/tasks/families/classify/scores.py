"""Scores of a classifier: accuracy, F1, Matthews' correlation, calibration, and the classes that are confused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.tasks.results import Score, Scores

_BINS = 15
_LISTED = 10
_PAIRS = 5


@dataclass(frozen=True)
class Outcome:
    """The predictions for examples whose classes are known.

    Attributes:
        names: the names of the classes.
        labels: the true classes, int64 ``(n,)``, indices of ``names``.
        predicted: the most probable classes, int64 ``(n,)``.
        confidence: the probabilities of the predicted classes, float ``(n,)``.
        loss: the cross-entropy in nats, summed over the examples.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    loss: float

    @classmethod
    def of(cls, names: tuple[str, ...], labels: np.ndarray, logits: Tensor) -> Outcome:
        """The outcome of a batch, from its logits ``(B, classes)``."""
        loss = float(F.cross_entropy(logits, torch.from_numpy(labels).to(logits.device), reduction="sum"))
        best = logits.argmax(-1, keepdim=True)
        confidence = logits.softmax(-1).gather(-1, best)[:, 0]
        return cls(names, labels, best[:, 0].cpu().numpy(), confidence.cpu().numpy(), loss)

    @classmethod
    def joined(cls, batches: Sequence[Outcome]) -> Outcome:
        """The outcome of several batches."""
        labels, predicted, confidence = (
            np.concatenate([getattr(one, name) for one in batches]) for name in ("labels", "predicted", "confidence")
        )
        return cls(batches[0].names, labels, predicted, confidence, sum(one.loss for one in batches))

    @property
    def correct(self) -> int:
        """The number of examples whose predicted class is the true one."""
        return int((self.labels == self.predicted).sum())

    @cached_property
    def counts(self) -> np.ndarray:
        """The number of examples by true and by predicted class, int64 ``(classes, classes)``."""
        return confusion(self.labels, self.predicted, len(self.names))

    def scores(self, unit: str) -> Scores:
        """All scores. ``unit``: the plural of what the examples are, such as ``"images"``."""
        one, count = unit.removesuffix("s"), len(self.labels)
        recall = {name: 100 * row[at] / row.sum() for at, (name, row) in enumerate(self._rows) if row.any()}
        worst = min(recall, key=lambda name: recall[name])
        lowest = f"per cent of the {unit} of {worst!r}, the class with the lowest accuracy"
        calibration = calibration_error(self.confidence, self.labels == self.predicted)
        return {
            "accuracy": Score(100 * self.correct / count, f"per cent of {count:,} {unit}"),
            "macro_f1": Score(100 * macro_f1(self.counts), "F1 in per cent, the mean over the classes"),
            "mcc": Score(matthews(self.counts), "Matthews' correlation coefficient: 0 for chance, at most 1", 4),
            "loss": Score(self.loss / count, f"cross-entropy in nats per {one}", 4),
            "calibration": Score(
                100 * calibration,
                f"expected calibration error in per cent, {_BINS} bins; 0 is best",
            ),
            "worst": Score(float(recall[worst]), lowest),
        }

    def report(self, unit: str) -> list[str]:
        """Lines of Markdown: the accuracy, the classes with the lowest F1, and those that are confused most often."""
        accuracy = f"Accuracy {100 * self.correct / len(self.labels):.2f} % of {len(self.labels):,}."
        return [accuracy, "", *self._classes(unit), "", *self._confused()]

    @property
    def _rows(self) -> list[tuple[str, np.ndarray]]:
        return list(zip(self.names, self.counts, strict=True))

    def _classes(self, unit: str) -> list[str]:
        """The classes with the lowest F1, as a table."""
        table, number = by_class(self.counts), self.counts.sum(1)
        occur = np.flatnonzero(number)
        order = occur[np.argsort(table.f1[occur], kind="stable")][:_LISTED]
        rows = [
            f"| {self.names[at]} | {100 * table.precision[at]:.1f} | {100 * table.recall[at]:.1f} | "
            f"{100 * table.f1[at]:.1f} | {number[at]:,} |"
            for at in order
        ]
        return [f"| class | precision, % | recall, % | F1, % | {unit} |", "| --- | ---: | ---: | ---: | ---: |", *rows]

    def _confused(self) -> list[str]:
        """The pairs of classes that are confused most often, as a table."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(wrong, axis=None)[::-1][:_PAIRS]
        pairs = [(int(at) // len(self.names), int(at) % len(self.names)) for at in order if wrong.flat[at]]
        rows = [
            f"| {self.names[true]} | {self.names[predicted]} | {wrong[true, predicted]} |" for true, predicted in pairs
        ]
        return ["| class | classified as | times |", "| --- | --- | ---: |", *rows] if rows else []


@dataclass(frozen=True)
class ByClass:
    """Precision, recall and F1 of each class, from 0 to 1, each ``(classes,)``; 0 where nothing is to be divided."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """The number of examples by true and by predicted class, int64 ``(classes, classes)``.

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def by_class(counts: np.ndarray) -> ByClass:
    """Precision, recall and F1 of each class, from `confusion`."""
    return precision_recall_f1(np.diag(counts), counts.sum(1), counts.sum(0))


def precision_recall_f1(correct: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> ByClass:
    """Precision, recall and F1 of each class, from numbers of examples, each ``(classes,)``."""
    return ByClass(_ratio(correct, predicted), _ratio(correct, true), _ratio(2 * correct, true + predicted))


def macro_f1(counts: np.ndarray) -> float:
    """The mean F1, from 0 to 1, of the classes that occur among the examples or the predictions."""
    occur = counts.sum(0) + counts.sum(1) > 0
    return float(by_class(counts).f1[occur].mean())


def matthews(counts: np.ndarray) -> float:
    """Matthews' correlation coefficient for any number of classes (Gorodkin 2004), from −1 to 1.

    It is 0 if there is one true class, or one predicted class, only.
    """
    true, predicted, total = counts.sum(1).astype(float), counts.sum(0).astype(float), float(counts.sum())
    covariance = np.trace(counts) * total - true @ predicted
    spread = (total**2 - true @ true) * (total**2 - predicted @ predicted)
    return float(covariance / spread**0.5) if spread > 0 else 0.0


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = _BINS) -> float:
    """The expected calibration error, from 0 to 1 (Guo et al. 2017, arXiv:1706.04599).

    The predictions are divided into bins of equal width by their probability; it is the mean over all predictions of
    the difference of a bin's mean probability and its accuracy.

    Args:
        confidence: the probability of each prediction, ``(n,)``.
        correct: which predictions are correct, bool ``(n,)``.
        bins: their number.
    """
    numbers = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    sums = np.bincount(numbers, weights=confidence - correct, minlength=bins)
    return float(np.abs(sums).sum() / len(confidence))


def _ratio(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """``part / total``; 0 where ``total`` is 0."""
    ratio: np.ndarray = np.divide(part, total, out=np.zeros(len(total)), where=total > 0)
    return ratio
