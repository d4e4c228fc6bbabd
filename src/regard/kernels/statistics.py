"""What a `Look` can ask, from the reference's weights, streamed over tiles of queries: linear memory, any length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.kernels.plan import Plan
from regard.kernels.reference import Whole, log_sum_exp, weights

_TILE_ELEMENTS = 1 << 22
"""Weights held at once while looking: 16 MiB in float32, whatever the length."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What is wanted of a plan's weights.

    Attributes:
        names: of ``lse``, ``entropy``, ``received``, ``reach``.
        top: how many of the largest weights of each query; 0: none.
        rows: int64, one dimension: the queries whose weights are wanted whole; None: none.
        map: into how many rows and columns the weights are pooled; None: not.
        norms: ``(B, H, Lk)``, the norm of each value as the query heads see it; None: not wanted.
    """

    names: frozenset[str] = frozenset()
    top: int = 0
    rows: Tensor | None = None
    map: tuple[int, int] | None = None
    norms: Tensor | None = None


def statistics(plan: Plan, asked: Asked, lse: Tensor | None = None) -> dict[str, Tensor]:
    """The answers by name, shapes as in `regard.attend.look.View`; ``lse``, the forward's, is of no use here.

    They are those of ``asked.names`` and ``top_weights``, ``top_keys``, ``rows``, ``map_mean``, ``map_max``, ``norms``.
    """
    queries, keys, device = plan.query.shape[2], plan.key.shape[2], plan.query.device
    step = queries_per_tile(plan)
    found: dict[str, Tensor] = {}
    if asked.names or asked.top or asked.map or asked.norms is not None:
        parts = torch.arange(queries, device=device).split(step)
        tiles = [_tile(plan.at_queries(part), part, queries, asked) for part in parts]
        found = {name: _JOIN.get(name, _beside)([tile[name] for tile in tiles]) for name in tiles[0]}
    if asked.map is not None:
        found["map_mean"] = found["map_mean"] / cells(queries, keys, asked.map, device)
    if asked.rows is not None:
        found["rows"] = _beside([weights(plan.at_queries(part)).weights for part in asked.rows.split(step)])
    return found


def cells(queries: int, keys: int, size: tuple[int, int], device: torch.device) -> Tensor:
    """How many weights each cell of a map of ``size`` pools."""
    rows = torch.bincount(_bins(queries, size[0], device), minlength=size[0])[:, None]
    return rows * torch.bincount(_bins(keys, size[1], device), minlength=size[1])


def tile(plan: Plan, queries: Tensor, keys: Tensor, lse: Tensor | None = None) -> Tensor:
    """The weights of ``queries`` for ``keys``, ``(B, H, len(queries), len(keys))``."""
    parts = queries.split(queries_per_tile(plan))
    return _beside([weights(plan.at_queries(part)).weights.index_select(3, keys) for part in parts])


def queries_per_tile(plan: Plan) -> int:
    """How many queries' weights are computed at once."""
    batch, heads, _, _ = plan.query.shape
    width = plan.key.shape[3] if plan.vector is not None else 1
    return max(1, _TILE_ELEMENTS // max(1, batch * heads * plan.key.shape[2] * width))


def _tile(plan: Plan, at: Tensor, queries: int, asked: Asked) -> dict[str, Tensor]:
    """The statistics of the queries ``at``, of all ``queries``, which ``plan`` consists of."""
    whole = weights(plan)
    w, keys = whole.weights, plan.key.shape[2]
    found = {}
    if "lse" in asked.names:
        found["lse"] = log_sum_exp(whole)
    if "entropy" in asked.names:
        found["entropy"] = torch.special.entr(w).sum(-1)
    if "received" in asked.names:
        found["received"] = w.sum(2)
    if "reach" in asked.names:
        far = (at[:, None] + (keys - queries) - torch.arange(keys, device=at.device)).abs()
        found["reach"] = (w * far).sum(-1)
    if asked.norms is not None:
        found["norms"] = w.sum(2) * asked.norms
    if asked.top:
        found |= _top(whole, asked.top)
    if asked.map is not None:
        found |= _pooled(w, _bins(queries, asked.map[0], at.device)[at], asked.map)
    return found


def _top(whole: Whole, count: int) -> dict[str, Tensor]:
    # A masked key must lose to a visible one whose weight underflowed to zero.
    ranked = whole.weights if whole.visible is None else torch.where(whole.visible, whole.weights, -1.0)
    found, keys = ranked.topk(count, -1)
    hidden = found < 0
    return {"top_weights": found.masked_fill(hidden, 0.0), "top_keys": keys.masked_fill(hidden, -1)}


def _pooled(w: Tensor, bins: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """Sums and maxima of ``w`` over rows in the same of ``bins`` and columns in the same part of the keys."""
    columns = _bins(w.shape[3], size[1], w.device)
    shape = (*w.shape[:2], *size)
    at = (bins[:, None] * size[1] + columns).flatten().expand(*w.shape[:2], -1)
    flat = w.flatten(2)
    total = flat.new_zeros(shape).flatten(2).scatter_add(2, at, flat)
    most = flat.new_zeros(shape).flatten(2).scatter_reduce(2, at, flat, "amax")
    return {"map_mean": total.unflatten(2, size), "map_max": most.unflatten(2, size)}


def _bins(length: int, parts: int, device: torch.device) -> Tensor:
    """Which of ``parts`` each of ``length`` places falls into: ``⌊place · parts / length⌋``."""
    return torch.arange(length, device=device) * parts // max(1, length)


def _beside(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts, 2)


def _sum(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).sum(0)


def _most(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).amax(0)


_JOIN = {"received": _sum, "norms": _sum, "map_mean": _sum, "map_max": _most}
"""How the tiles' answers become one, where they do not stand beside each other."""
