"""Scores of a classifier that was fitted at once, calibrated to logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Targets:
    """The labels of examples, and how much each counts.

    Attributes:
        labels: those that apply, bool ``(n, classes)``.
        weights: of each, float32 ``(n, classes)``.
        several: whether an example may have several labels, or none.
    """

    labels: Tensor
    weights: Tensor
    several: bool

    @classmethod
    def of(cls, labels: np.ndarray, classes: int, balance: np.ndarray | None = None) -> Targets:
        """From the class of each example, int64 ``(n,)``, or the labels, bool ``(n, classes)``.

        ``balance``: weights of the classes: see `regard.data.labelled.balance`.

        >>> Targets.of(np.array([1, 0]), 3).labels.int().tolist()
        [[0, 1, 0], [1, 0, 0]]
        """
        several = labels.ndim == 2
        applying = labels if several else labels[:, None] == np.arange(classes)
        weights = np.ones(applying.shape)
        if balance is not None:
            weights = np.where(labels, balance[1], balance[0]) if several else weights * balance[labels][:, None]
        return cls(torch.from_numpy(applying), torch.from_numpy(weights).float(), several)

    def chosen(self, rows: Tensor) -> Targets:
        """Those of some of the examples: their numbers, or which they are, bool ``(n,)``."""
        return Targets(self.labels[rows], self.weights[rows], self.several)


def calibration(scores: Tensor, targets: Targets) -> tuple[float, Tensor]:
    """The factor of scores, and what is added to those of each class, so that the results are logits.

    Both have the smallest cross-entropy, with a standard normal prior on what is added and on the logarithm of the
    factor (Platt 1999, "Probabilistic outputs for support vector machines"; of more than two classes: Guo et al. 2017,
    arXiv:1706.04599).

    Args:
        scores: of examples that were not in the fit, ``(n, classes)``; the more a class applies, the larger.
        targets: their labels.

    Returns:
        The factor, above 0, and float32 ``(classes,)``.

    >>> scale, offsets = calibration(torch.tensor([[1.0], [0.2], [0.1]]), Targets.of(np.array([[1], [1], [0]]) > 0, 1))
    >>> f"{scale:.2f} {float(offsets):.2f}"
    '1.35 0.06'
    """
    exponent = torch.zeros((), dtype=torch.float64, requires_grad=True)
    offsets = torch.zeros(scores.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([exponent, offsets], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            logits = exponent.exp() * scores.double() + offsets
            loss = _loss(logits, targets) + 0.5 * (exponent.square() + offsets.square().sum())
            loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return float(exponent.detach().exp()), offsets.detach().float()


def _loss(logits: Tensor, targets: Targets) -> Tensor:
    """The cross-entropy, the sum over the examples."""
    labels = targets.labels.to(logits.dtype)
    if targets.several:
        return F.binary_cross_entropy_with_logits(logits, labels, weight=targets.weights, reduction="sum")
    return -(targets.weights * labels * logits.log_softmax(-1)).sum()
