"""Matrix products that give the same bits in float64 for any number of rows and columns.

BLAS uses different kernels, with different orders of summation, for one row and for many. In float64, which is for
checking, the products here are therefore computed in tiles of one size at fixed positions: a query gives the same bits
alone, as in a decoding step, and together with others. In other dtypes and in graphs they are plain products.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor
from torch.nn.functional import pad

from regard.kernels.memory import is_plain

ROWS, KEYS = 128, 128
"""The size of a tile. A sliding cache drops its keys in whole tiles, so that the others keep their positions."""


def scores(query: Tensor, key: Tensor) -> Tensor:
    """``query @ keyᵀ``: ``(…, Lq, E)``, ``(…, Lk, E)`` → ``(…, Lq, Lk)``."""
    if not _tiled(query):
        return query @ key.mT
    columns = [part.mT for part in _tiles(key, -2, KEYS)]
    rows = [_joined([part @ column for column in columns], -1) for part in _tiles(query, -2, ROWS)]
    return _joined(rows, -2)[..., : query.shape[-2], : key.shape[-2]]


def mixed(weights: Tensor, value: Tensor) -> Tensor:
    """``weights @ value``: ``(…, Lq, Lk)``, ``(…, Lk, Ev)`` → ``(…, Lq, Ev)``; a weight of 0 never changes a bit."""
    if not _tiled(weights):
        return weights @ value
    values = _tiles(value, -2, KEYS)
    rows = []
    for part in _tiles(weights, -2, ROWS):
        parts = [w @ v for w, v in zip(_tiles(part, -1, KEYS), values, strict=True)]
        rows.append(reduce(torch.add, parts))
    return _joined(rows, -2)[..., : weights.shape[-2], :]


def along(hidden: Tensor, vector: Tensor) -> Tensor:
    """``Σ_e hidden[…, e] · vector[…, e]``: ``(B, H, Lq, Lk, E)``, ``(H, E)`` → ``(B, H, Lq, Lk)``."""
    if _tiled(hidden):
        return (hidden * vector[:, None, None]).sum(-1)
    # One matrix-vector product per head: its backward is an outer product; that of an einsum permutes the tensor first.
    # A graph cannot join one query and a number of keys that was computed from another size.
    one = isinstance(hidden.shape[2], int) and hidden.shape[2] == 1
    rows = hidden.squeeze(2) if one else hidden.flatten(2, 3)
    return (rows @ vector[..., None])[..., 0].view(hidden.shape[:4])


def _tiled(tensor: Tensor) -> bool:
    return tensor.dtype is torch.float64 and is_plain(tensor) and tensor.numel() > 0


def _tiles(tensor: Tensor, dim: int, size: int) -> tuple[Tensor, ...]:
    """``tensor`` split along ``dim`` into parts of ``size``, the last one padded with zeros."""
    missing = -tensor.shape[dim] % size
    padded = pad(tensor, (0, 0) * (-dim - 1) + (0, missing)) if missing else tensor
    return torch.split(padded, size, dim)


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return torch.cat(parts, dim) if len(parts) > 1 else parts[0]
