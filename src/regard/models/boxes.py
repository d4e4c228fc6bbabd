"""Boxes as tensors: their overlap, and the forms in which a model writes them.

A box is its left, top, right and bottom edge as parts of the image's width and height, from 0 to 1; an anchor is its
centre, width and height.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 1e-6


def boxes_of(anchors: Tensor) -> Tensor:
    """The boxes of anchors, both ``(…, 4)``.

    >>> boxes_of(torch.tensor([0.5, 0.5, 0.25, 0.5])).tolist()
    [0.375, 0.25, 0.625, 0.75]
    """
    centre, half = anchors[..., :2], anchors[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def anchors_of(boxes: Tensor) -> Tensor:
    """The anchors of boxes, both ``(…, 4)``: the inverse of `boxes_of`."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The intersection over union of boxes, and its generalized form, which tells how far apart boxes are.

    Rezatofighi et al. 2019 (arXiv:1902.09630).

    Args:
        a: ``(…, 4)``.
        b: ``(…, 4)``, which broadcasts with ``a``: ``overlaps(a[:, None], b)`` compares all of them.

    >>> a, b = torch.tensor([0.0, 0.0, 0.5, 0.5]), torch.tensor([0.25, 0.0, 0.75, 0.5])
    >>> [round(one.item(), 3) for one in overlaps(a, b)]
    [0.333, 0.333]
    """
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    outer = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inner
    shared = inner / union.clamp(min=_LEAST)
    return shared, shared - (outer - union) / outer.clamp(min=_LEAST)


def centres(height: int, width: int, device: torch.device) -> Tensor:
    """The centres of the cells of a map, row by row, ``(height · width, 2)``: to the right, and down.

    >>> centres(1, 2, torch.device("cpu")).tolist()
    [[0.25, 0.5], [0.75, 0.5]]
    """
    rows, columns = centres_along(height, device), centres_along(width, device)
    return torch.stack([columns.repeat(height), rows.repeat_interleave(width)], -1)


def centres_along(count: int, device: torch.device) -> Tensor:
    """The centres of ``count`` cells in one direction, from 0 to 1."""
    return (torch.arange(count, device=device) + 0.5) / count


def covered(boxes: Tensor, side: int) -> Tensor:
    """The share of each cell of a map that is inside of a box, ``(boxes, side · side)``; ``boxes`` ``(boxes, 4)``.

    >>> covered(torch.tensor([[0.0, 0.0, 0.75, 0.5]]), 2).tolist()
    [[1.0, 0.5, 0.0, 0.0]]
    """
    middle, half = centres(side, side, boxes.device), 0.5 / side
    low = torch.maximum(middle - half, boxes[:, None, :2])
    high = torch.minimum(middle + half, boxes[:, None, 2:])
    return (high - low).clamp(min=0).prod(-1) * side**2


def waves(coordinates: Tensor, width: int) -> Tensor:
    """Sines and cosines of coordinates from 0 to 1, of wavelengths from 1/20 of the image to twice the image.

    Args:
        coordinates: ``(…, n)``.
        width: of the result, a multiple of ``2 n``.

    Returns:
        ``(…, width)``.
    """
    count = width // (2 * coordinates.shape[-1])
    frequencies = torch.pi * 40.0 ** torch.linspace(0, 1, count, device=coordinates.device)
    angles = coordinates[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)
