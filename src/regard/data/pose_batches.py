"""Random changes of poses in training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from regard.data.stretch import real


def augment(
    x: Tensor, lengths: Tensor, *, mirrored: Sequence[int] | None, rotate: float, stretch: float, noise: float
) -> Tensor:
    """Change clips at random, each in another way, with PyTorch's generator; all frames of a clip in the same way.

    Args:
        x: joints ``(B, T, joints, dims)``, x, y and perhaps z; padded at the end.
        lengths: of each, ``(B,)``.
        mirrored: mirror half of the clips: x changes its sign, and each joint takes the place of the one with this
            number, which is that of the other side. None: no mirroring.
        rotate: turn by at most this many degrees around the middle; in three dimensions also around the vertical axis.
        stretch: change the width, height and depth by at most this share, each by another one.
        noise: add normal noise with at most this share of the size of the body to each joint, the same in all frames,
            and a quarter of it in each frame.

    Returns:
        The joints, around the mean of those of each clip.
    """
    count, dims, mask = len(x), x.shape[3], real(x, lengths)
    x = (x - _mean(x, mask)) * mask
    size = _mean(x.square().sum(3, keepdim=True), mask).sqrt()
    if mirrored is not None:
        turned = x[:, :, list(mirrored)] * x.new_tensor([-1.0] + [1.0] * (dims - 1))
        x = torch.where(_uniform(count, x) < 0.5, turned, x)
    if rotate:
        for a, b in ((0, 1), (0, 2))[: dims - 1]:
            angle = math.radians(rotate) * (2 * _uniform(count, x)[..., 0] - 1)
            one, other = x[..., a], x[..., b]
            columns = list(x.unbind(3))
            columns[a] = angle.cos() * one - angle.sin() * other
            columns[b] = angle.sin() * one + angle.cos() * other
            x = torch.stack(columns, 3)
    if stretch:
        x = x * (1 + stretch * (2 * torch.rand(count, 1, 1, dims, device=x.device) - 1))
    if noise:
        level = noise * size * _uniform(count, x)
        x = x + level * (torch.randn_like(x[:, :1]) + 0.25 * torch.randn_like(x)) * mask
    return x


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean over the real frames and the joints of each clip, ``(B, 1, 1, …)``."""
    return (x * mask).sum((1, 2), keepdim=True) / (mask.sum((1, 2), keepdim=True) * x.shape[2])


def _uniform(count: int, x: Tensor) -> Tensor:
    return torch.rand(count, 1, 1, 1, device=x.device)
