"""Batches of images with boxes for training: changed at random, and known boxes with noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_LEFT = 0.5
"""The share of an object that must be left for it to count."""
_MOVED, _RESIZED, _CHANGED = 0.4, 0.4, 0.25
"""The largest noise of a box, as parts of its size, and how often its class is changed (Li et al. 2022)."""


class Change(NamedTuple):
    """How an image is changed: mirrored or not, enlarged by ``zoom``, and shifted by parts of its side."""

    flip: bool
    zoom: float
    right: float
    down: float

    @classmethod
    def draw(cls, random: np.random.Generator, *, flip: bool, zoom: float) -> Change:
        """A random change: see `regard.tasks.families.boxes.settings.BoxAugmentConfig`."""
        factor = float(np.exp(random.uniform(np.log1p(-zoom), np.log1p(zoom))))
        room = abs(1 - factor) / 2
        return cls(flip and bool(random.random() < 0.5), factor, *map(float, random.uniform(-room, room, 2)))

    def objects(self, objects: np.ndarray) -> np.ndarray:
        """The objects that are left, ``(n, 6)``: see `regard.data.boxed.BoxedImages.objects`.

        >>> Change(True, 1.0, 0.0, 0.0).objects(np.array([[3, 0.0, 0.2, 0.25, 0.5, 0]]))[0].tolist()
        [3.0, 0.75, 0.2, 1.0, 0.5, 0.0]
        """
        result = objects.copy()
        if self.flip:
            result[:, [1, 3]] = 1 - objects[:, [3, 1]]
        moved = (result[:, 1:5] - 0.5) * self.zoom + 0.5 + np.array([self.right, self.down] * 2)
        cut = moved.clip(0, 1)
        share = _area(cut) / np.maximum(_area(moved), 1e-12)
        result[:, 1:5] = cut
        left: np.ndarray = result[(share >= _LEFT) & (_area(cut) > 0)]
        return left


def changed(x: Tensor, changes: list[Change]) -> Tensor:
    """Change images ``(B, 3, S, S)``; what is outside of an image is grey (0)."""
    if all(change == Change(False, 1.0, 0.0, 0.0) for change in changes):
        return x
    # For each place of the result, the place of the image, both from -1 to 1.
    rows = [
        [[(-1 if flip else 1) / zoom, 0, (1 if flip else -1) * 2 * right / zoom], [0, 1 / zoom, -2 * down / zoom]]
        for flip, zoom, right, down in changes
    ]
    grid = F.affine_grid(torch.tensor(rows, device=x.device), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def noise(objects: np.ndarray, groups: int, classes: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Known objects with noise: Li et al. 2022 (arXiv:2203.01305).

    Args:
        objects: ``(n, 6)``.
        groups: how often each.
        classes: the number of classes.
        random: draws the noise.

    Returns:
        Classes int64 ``(groups, n)``, and anchors ``(groups, n, 4)``: centre, width and height.
    """
    count = len(objects)
    labels = np.tile(objects[:, 0].astype(np.int64), (groups, 1))
    other = random.integers(0, classes, labels.shape)
    labels = np.where(random.random(labels.shape) < _CHANGED, other, labels)
    low, high = objects[:, 1:3], objects[:, 3:5]
    size = high - low
    centre = (low + high) / 2 + random.uniform(-_MOVED, _MOVED, (groups, count, 2)) * size
    sides = size * (1 + random.uniform(-_RESIZED, _RESIZED, (groups, count, 2)))
    return labels, np.concatenate([centre.clip(0, 1), sides.clip(1e-3, 1)], -1)


def _area(boxes: np.ndarray) -> np.ndarray:
    area: np.ndarray = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area
