"""A kernel classifier of whole clips, fitted at once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from regard.data.arrays import read_arrays, write_arrays

_RIDGE = 0.02
"""The weight of the squared norm of the function, relative to the squared errors."""
_MOST = 4000
"""The largest number of training clips that are used, since the fit needs the square of it in memory."""
_SCALES = tuple(2.0**exponent for exponent in np.arange(0, 6.25, 0.25))


@dataclass(frozen=True)
class KernelClassifier:
    """Kernel ridge regression on the classes, with a Gaussian kernel, whose scores are scaled to logits.

    A clip and its mirror image are the same to it: the kernel is the mean over both. The scale of the logits is the one
    with the smallest cross-entropy of the scores that each clip would have if it were not in the fit, which have a
    closed form (Rifkin and Lippert 2007).

    Attributes:
        mean: of each feature, ``(F,)``.
        deviation: its standard deviation, likewise.
        clips: features of the training clips, normalized, and of their mirror images, ``(1 or 2, n, F)``.
        weight: of each clip for each class, ``(n, classes)``.
        prior: the share of each class, ``(classes,)``.
        scale: of the logits, ``(1,)``.

    >>> features = np.random.default_rng(0).normal(size=(1, 40, 3)).astype(np.float32)
    >>> model = KernelClassifier.fit(features, (features[0, :, 0] > 0).astype(np.int64), classes=2)
    >>> model.logits(np.array([[2.0, 0, 0], [-2, 0, 0]])).argmax(1).tolist()
    [1, 0]
    """

    file: ClassVar[str] = "kernel"

    mean: np.ndarray
    deviation: np.ndarray
    clips: np.ndarray
    weight: np.ndarray
    prior: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, labels: np.ndarray, classes: int) -> KernelClassifier:
        """The classifier of these clips; of more than 4,000, evenly spaced ones are used.

        Args:
            features: of each clip, and of its mirror image if it has the same class, ``(1 or 2, n, F)``.
            labels: the class of each, int64 ``(n,)``, or the labels, bool ``(n, classes)``.
            classes: their number.
        """
        chosen = np.linspace(0, len(labels) - 1, min(len(labels), _MOST)).astype(np.int64)
        features, labels = features[:, chosen], labels[chosen]
        mean, deviation = features.mean((0, 1)), features.std((0, 1)) + 1e-6
        clips = _normalized(features, mean, deviation)
        targets = np.eye(classes)[labels] if labels.ndim == 1 else labels.astype(np.float64)
        prior, several = targets.mean(0), labels.ndim == 2
        weight, errors = _ridge(_kernel(clips[0], clips), targets - prior)
        centred = _centred(targets - errors, several)
        scale = min(_SCALES, key=lambda scale: _loss(scale * centred, targets, several))
        parts = (mean, deviation, clips, weight, prior, np.array(scale))
        return cls(*(np.ascontiguousarray(part, dtype=np.float32) for part in parts))

    @classmethod
    def load(cls, path: Path) -> KernelClassifier:
        """Read what `save` wrote. Raises UserError: the file is missing or damaged."""
        return cls(*read_arrays(path, (part.name for part in fields(cls)), "a kernel classifier"))

    def save(self, path: Path) -> None:
        """Write to a safetensors file."""
        write_arrays(path, vars(self))

    def describe(self) -> str:
        """See `Fitted`."""
        return f"kernel classifier: {self.clips.shape[2]:,} features of {self.clips.shape[1]:,} clips"

    def logits(self, features: np.ndarray, *, several: bool = False) -> Tensor:
        """``(B, classes)`` for the features of clips ``(B, F)``; ``several``: each is for a label of its own."""
        kernel = _kernel(_normalized(features, self.mean, self.deviation), self.clips)
        return torch.from_numpy(self.scale * _centred(kernel @ self.weight + self.prior, several)).float()


def _normalized(features: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Between -1 and 1, so that a few unusual features do not make a clip different from all others."""
    normalized: np.ndarray = np.tanh((features - mean) / deviation)
    return normalized


def _kernel(x: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """The mean over the copies of each clip of the Gaussian kernel, ``(B, n)``; its width is that of the features."""
    copies = []
    for copy in clips:
        squares = np.square(x).sum(1)[:, None] + np.square(copy).sum(1) - 2 * x @ copy.T
        copies.append(np.exp(-0.5 / x.shape[1] * squares.clip(min=0)))
    mean: np.ndarray = np.stack(copies).mean(0, dtype=np.float64)
    return mean


def _ridge(kernel: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weights of the clips, and the error for each if it were not in the fit; all ``(n, classes)``."""
    inverse = np.linalg.inv(kernel + _RIDGE * np.eye(len(kernel)))
    weight = inverse @ targets
    return weight, weight / inverse.diagonal()[:, None]


def _centred(scores: np.ndarray, several: bool) -> np.ndarray:
    """Scores of labels of their own are probabilities, and 0.5 has the logit 0."""
    return scores - 0.5 if several else scores


def _loss(logits: np.ndarray, targets: np.ndarray, several: bool) -> float:
    """The mean cross-entropy of the targets ``(n, classes)``."""
    if several:
        return float((np.logaddexp(0, logits) - targets * logits).mean())
    largest = logits.max(1, keepdims=True)
    return float((np.log(np.exp(logits - largest).sum(1)) + largest[:, 0] - (targets * logits).sum(1)).mean())
