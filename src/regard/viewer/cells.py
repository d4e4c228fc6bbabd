"""Windows of a stored map, in more or fewer cells than it has; ``static/cells.js`` does the same in the page."""

from __future__ import annotations

import torch
from torch import Tensor

Range = tuple[int, int]
"""The first position and one past the last."""


def stored_cells(
    stored: Tensor, lengths: tuple[int, int], window: tuple[Range, Range], size: tuple[int, int], pooling: str
) -> tuple[Tensor, bool]:
    """A window of a map.

    Args:
        stored: ``(R, C)``; position n of N is in cell ``⌊n · R / N⌋``, for queries and rows, and for keys and columns.
        lengths: numbers of queries and keys of the whole map.
        window: queries and keys.
        size: numbers of rows and columns of the result; their positions are assigned to cells likewise.
        pooling: ``"mean"`` or ``"max"``.

    Returns:
        The cells, and whether each has exactly the mean or maximum of its weights: the window's cells then consist of
        whole cells of the map. Otherwise the weights within a cell of the map count as equal.

    Example:
        >>> stored = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> stored_cells(stored, (8, 8), ((0, 8), (4, 8)), (2, 1), "mean")
        (tensor([[2.],
                [4.]]), True)
        >>> stored_cells(stored, (8, 8), ((2, 6), (0, 4)), (1, 1), "mean")
        (tensor([[2.]]), False)
    """
    aligned, result = True, stored
    for dim in (0, 1):
        outer = _edges(0, lengths[dim], stored.shape[dim])
        inner = _edges(*window[dim], size[dim])
        aligned = aligned and bool(torch.isin(inner, outer).all())
        low = torch.maximum(inner[:-1, None], outer[:-1])
        shared = (torch.minimum(inner[1:, None], outer[1:]) - low).clamp(min=0)
        result = result.movedim(dim, 0)
        if pooling == "mean":
            result = (shared / shared.sum(1, keepdim=True)).to(result) @ result
        else:
            result = torch.stack([result[row > 0].amax(0) for row in shared])
        result = result.movedim(0, dim)
    return result, aligned


def _edges(first: int, end: int, cells: int) -> Tensor:
    """The first position of each cell, and one past the last: ``first + ⌈r · N / R⌉``."""
    return first - (-torch.arange(cells + 1) * (end - first)).div(cells, rounding_mode="floor")
