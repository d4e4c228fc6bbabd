"""Scores of a classifier with several labels per example: F1, exact match, and the threshold of each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.tasks.families.classify.scores import ByClass, precision_recall_f1
from regard.tasks.results import Score, Scores

_LISTED = 50


@dataclass(frozen=True)
class LabelsOutcome:
    """The predictions for examples whose labels are known.

    Attributes:
        names: the names of the labels.
        labels: the true labels, bool ``(n, labels)``.
        probabilities: of each label, ``(n, labels)``.
        thresholds: the probability from which each label applies, ``(labels,)``.
        loss: the binary cross-entropy in nats, summed over labels and examples.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    thresholds: np.ndarray
    loss: float

    @classmethod
    def of(cls, names: tuple[str, ...], labels: np.ndarray, logits: Tensor, thresholds: np.ndarray) -> LabelsOutcome:
        """The outcome of a batch, from its logits ``(B, labels)``."""
        target = torch.from_numpy(labels).to(logits)
        loss = float(F.binary_cross_entropy_with_logits(logits, target, reduction="sum"))
        return cls(names, labels, logits.sigmoid().cpu().numpy(), thresholds, loss)

    @classmethod
    def joined(cls, batches: Sequence[LabelsOutcome]) -> LabelsOutcome:
        """The outcome of several batches."""
        first = batches[0]
        labels, probabilities = (
            np.concatenate([getattr(one, name) for one in batches]) for name in ("labels", "probabilities")
        )
        return cls(first.names, labels, probabilities, first.thresholds, sum(one.loss for one in batches))

    @property
    def predicted(self) -> np.ndarray:
        """The labels that apply, bool ``(n, labels)``."""
        return np.asarray(self.probabilities >= self.thresholds)

    @property
    def by_label(self) -> ByClass:
        """Precision, recall and F1 of each label."""
        predicted = self.predicted
        return precision_recall_f1((self.labels & predicted).sum(0), self.labels.sum(0), predicted.sum(0))

    @property
    def micro(self) -> ByClass:
        """Precision, recall and F1 of all labels together, each ``(1,)``."""
        counts = (self.labels & self.predicted, self.labels, self.predicted)
        return precision_recall_f1(*(np.array([every.sum()]) for every in counts))

    @property
    def macro_f1(self) -> float:
        """The mean F1, from 0 to 1, of the labels that occur among the examples or the predictions; 0: none does."""
        occur = (self.labels | self.predicted).any(0)
        return float(self.by_label.f1[occur].mean()) if occur.any() else 0.0

    @property
    def accuracy(self) -> float:
        """The mean over the examples of the share of labels, true or predicted, that are both; 1 if there are none."""
        predicted = self.predicted
        either, both = (self.labels | predicted).sum(1), (self.labels & predicted).sum(1)
        return float(np.where(either > 0, both / either.clip(min=1), 1.0).mean())

    @property
    def exact(self) -> float:
        """The share of the examples with exactly their labels."""
        return float((self.labels == self.predicted).all(1).mean())

    def scores(self, unit: str) -> Scores:
        """All scores. ``unit``: the plural of what the examples are, such as ``"texts"``."""
        one, count, f1, occur = unit.removesuffix("s"), len(self.labels), self.by_label.f1, self.labels.any(0)
        scores = {
            "micro_f1": Score(100 * float(self.micro.f1[0]), f"F1 in per cent, of all labels of {count:,} {unit}"),
            "macro_f1": Score(100 * self.macro_f1, "F1 in per cent, the mean over the labels"),
            "precision": Score(100 * float(self.micro.precision[0]), "per cent of the predicted labels are true"),
            "recall": Score(100 * float(self.micro.recall[0]), "per cent of the true labels are predicted"),
            "exact": Score(100 * self.exact, f"per cent of the {unit} have exactly their labels"),
            "accuracy": Score(100 * self.accuracy, f"per cent of the true or predicted labels of a {one} are both"),
            "loss": Score(self.loss / count, f"binary cross-entropy in nats per {one}, summed over the labels", 4),
        }
        if occur.any():
            worst = int(np.flatnonzero(occur)[f1[occur].argmin()])
            scores["worst"] = Score(100 * float(f1[worst]), f"F1 in per cent of {self.names[worst]!r}, the lowest")
        return scores

    def report(self, unit: str) -> list[str]:
        """Lines of Markdown: F1, exact match, and a table of the labels, the lowest F1 first."""
        table, number = self.by_label, self.labels.sum(0)
        order = np.argsort(table.f1, kind="stable")[:_LISTED]
        rows = [
            f"| {self.names[at]} | {self.thresholds[at]:.2f} | {100 * table.precision[at]:.1f} | "
            f"{100 * table.recall[at]:.1f} | {100 * table.f1[at]:.1f} | {number[at]:,} |"
            for at in order
        ]
        return [
            f"Micro-F1 {100 * float(self.micro.f1[0]):.2f} %, macro-F1 {100 * self.macro_f1:.2f} %, exactly right "
            f"{100 * self.exact:.2f} % of {len(self.labels):,}.",
            "",
            f"| label | threshold | precision, % | recall, % | F1, % | {unit} |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *rows,
        ]


def best_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The threshold of each label with the highest F1, the one closest to 0.5 of equal ones, ``(labels,)``.

    A threshold is in the middle between two probabilities that occur, or between one and 0 or 1. A label that no
    example has keeps the threshold 0.5.

    Args:
        labels: the true labels, bool ``(n, labels)``.
        probabilities: of each label, ``(n, labels)``.

    >>> best_thresholds(np.array([[True], [False], [False]]), np.array([[0.4], [0.2], [0.1]]))
    array([0.3])
    """
    return np.array([_best(*column) for column in zip(labels.T, probabilities.T, strict=True)])


def _best(labels: np.ndarray, probabilities: np.ndarray) -> float:
    if not labels.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    sorted_probabilities = probabilities[order].astype(np.float64)
    correct = labels[order].cumsum()
    f1 = 2 * correct / (np.arange(1, len(order) + 1) + labels.sum())
    lower = np.append(sorted_probabilities[1:], 0.0)
    middle = (sorted_probabilities + lower) / 2
    f1[sorted_probabilities == lower] = -1  # equal probabilities are on the same side
    near = middle[f1 == f1.max()]
    return float(near[np.abs(near - 0.5).argmin()])
