"""Batches of images as a model takes them: normalized, and changed at random in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.data.pixels import Pixels

_BLOCK = 1000


@dataclass(frozen=True)
class Scale:
    """The normalization of pixels: mean and standard deviation of each colour over the training images, from 0 to 1."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, pixels: Pixels) -> Scale:
        """The normalization for images, uint8 ``(n, 3, H, W)``."""
        counts = np.zeros((3, 256), dtype=np.int64)
        for start in range(0, len(pixels), _BLOCK):
            block = pixels[start : start + _BLOCK]
            counts += [np.bincount(block[:, colour].ravel(), minlength=256) for colour in range(3)]
        at = np.arange(256) / 255
        means = [float((count * at).sum() / count.sum()) for count in counts]
        squares = [float((count * at**2).sum() / count.sum()) for count in counts]
        spread = [max(1e-3, square - mean**2) ** 0.5 for mean, square in zip(means, squares, strict=True)]
        return cls(tuple(means), tuple(spread))

    def __call__(self, pixels: np.ndarray, device: torch.device) -> Tensor:
        """Normalize uint8 images to float32, both ``(n, 3, H, W)``."""
        mean, deviation = (torch.tensor(t, device=device)[:, None, None] for t in (self.mean, self.deviation))
        return (torch.from_numpy(pixels).to(device).float() / 255 - mean) / deviation


def augment(x: Tensor, *, crop: int, flip: bool, cutout: int) -> Tensor:
    """Change images ``(B, 3, S, S)`` at random, each in another way, with PyTorch's generator.

    Args:
        x: the images.
        crop: shift by at most this many pixels in each direction; the edge is filled with a reflection of the image.
        flip: mirror left and right with probability 0.5.
        cutout: the side of a square that is set to 0, around a random pixel (DeVries and Taylor 2017); 0: none.
    """
    count, _, size, _ = x.shape
    if crop:
        shift = torch.randint(0, 2 * crop + 1, (2, count, 1), device=x.device)
        rows, columns = shift + torch.arange(size, device=x.device)
        wide = F.pad(x, (crop,) * 4, mode="reflect")
        x = wide[torch.arange(count, device=x.device)[:, None, None], :, rows[:, :, None], columns[:, None]]
        x = x.permute(0, 3, 1, 2)
    if flip:
        x = torch.where(torch.rand(count, 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)
    if cutout:
        middle = torch.randint(0, size, (2, count, 1), device=x.device)
        near = (torch.arange(size, device=x.device) - middle).abs() * 2 < cutout
        x = x.masked_fill((near[0][:, :, None] & near[1][:, None])[:, None], 0.0)
    return x.contiguous()
