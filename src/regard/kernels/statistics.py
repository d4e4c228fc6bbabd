"""The statistics of a `Look`, computed with the reference in tiles of queries, in memory linear in the lengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.kernels.plan import Plan
from regard.kernels.reference import Weights, log_sum_exp, weights

_TILE_ELEMENTS = 1 << 22
"""Weights stored at once: 16 MiB in float32 for any length."""


@dataclass(frozen=True, eq=False)
class Request:
    """Which statistics of a plan's weights to compute.

    Attributes:
        names: of ``lse``, ``entropy``, ``received``, ``reach``, ``sinks``.
        top: how many of the largest weights of each query; 0: none.
        rows: int64, one dimension: the queries whose weights are returned; None: none.
        map: the number of rows and columns of the pooled map; None: no map.
        norms: ``(B, H, Lk)``, the norm of each value, expanded to the query heads; None: no norms.
    """

    names: frozenset[str] = frozenset()
    top: int = 0
    rows: Tensor | None = None
    map: tuple[int, int] | None = None
    norms: Tensor | None = None


def statistics(plan: Plan, request: Request, lse: Tensor | None = None) -> dict[str, Tensor]:
    """The results by name, with shapes as in `regard.attend.view.View`; the forward pass's ``lse`` is not used.

    The names are ``request.names`` and ``top_weights``, ``top_keys``, ``rows``, ``map_mean``, ``map_max``, ``norms``.
    """
    queries, keys, device = plan.query.shape[2], plan.key.shape[2], plan.query.device
    step = queries_per_tile(plan)
    results: dict[str, Tensor] = {}
    if request.names or request.top or request.map or request.norms is not None:
        parts = torch.arange(queries, device=device).split(step)
        tiles = [_tile(plan.at_queries(part), part, queries, request) for part in parts]
        results = {name: _JOIN.get(name, _joined)([tile[name] for tile in tiles]) for name in tiles[0]}
    if request.map is not None:
        results["map_mean"] = results["map_mean"] / cells(queries, keys, request.map, device)
    if request.rows is not None:
        results["rows"] = _joined([weights(plan.at_queries(part)).weights for part in request.rows.split(step)])
    return results


def cells(queries: int, keys: int, size: tuple[int, int], device: torch.device) -> Tensor:
    """The number of weights in each cell of a map of ``size``."""
    rows = torch.bincount(_bins(queries, size[0], device), minlength=size[0])[:, None]
    return rows * torch.bincount(_bins(keys, size[1], device), minlength=size[1])


def tile(plan: Plan, queries: Tensor, keys: Tensor, lse: Tensor | None = None) -> Tensor:
    """The weights of ``queries`` for ``keys``, ``(B, H, len(queries), len(keys))``."""
    parts = queries.split(queries_per_tile(plan))
    return _joined([weights(plan.at_queries(part)).weights.index_select(3, keys) for part in parts])


def pool(
    tile: Callable[[Plan, Tensor, Tensor, Tensor | None], Tensor],
    plan: Plan,
    queries: Tensor,
    keys: Tensor,
    size: tuple[int, int],
    lse: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Mean and maximum of the weights of ``queries`` for ``keys``, pooled to ``size``, each ``(B, H, R, C)``.

    ``tile`` is that of the backend, called for as many queries as can be stored at once.
    """
    count = plan.query.shape[0] * plan.query.shape[1]
    return pooled(lambda some: tile(plan, some, keys, lse), count, queries, len(keys), size)


def pooled(
    rows: Callable[[Tensor], Tensor], count: int, queries: Tensor, keys: int, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Mean and maximum of weights, pooled to ``size``, each ``(B, H, R, C)``.

    Args:
        rows: the weights of some of ``queries`` for ``keys`` keys, ``(B, H, len(some), keys)``; called for as many as
            can be stored at once.
        count: the number of weights that are computed for each query and key.
        queries: one dimension.
        keys: their number.
        size: (R, C).
    """
    step = max(1, _TILE_ELEMENTS // max(1, count * keys))
    bins = _bins(len(queries), size[0], queries.device)
    parts = [_pooled(rows(some), at, size) for some, at in zip(queries.split(step), bins.split(step), strict=True)]
    mean = _sum([part["map_mean"] for part in parts]) / cells(len(queries), keys, size, queries.device)
    return mean, _max([part["map_max"] for part in parts])


def queries_per_tile(plan: Plan) -> int:
    """The number of queries of a tile."""
    batch, heads, _, _ = plan.query.shape
    width = plan.key.shape[3] if plan.vector is not None else 1
    return max(1, _TILE_ELEMENTS // max(1, batch * heads * plan.key.shape[2] * width))


def _tile(plan: Plan, at: Tensor, queries: int, request: Request) -> dict[str, Tensor]:
    """The statistics of ``plan``, which has the queries ``at`` of a call with ``queries`` queries."""
    result = weights(plan)
    w, keys = result.weights, plan.key.shape[2]
    results = {}
    if "lse" in request.names:
        results["lse"] = log_sum_exp(result)
    if "entropy" in request.names:
        results["entropy"] = torch.special.entr(w).sum(-1)
    if "received" in request.names:
        results["received"] = w.sum(2)
    if "reach" in request.names:
        far = (at[:, None] + (keys - queries) - torch.arange(keys, device=at.device)).abs()
        results["reach"] = (w * far).sum(-1)
    if "sinks" in request.names:
        results["sinks"] = w[..., 0] if keys else w.sum(-1)
    if request.norms is not None:
        results["norms"] = w.sum(2) * request.norms
    if request.top:
        results |= _top(result, request.top)
    if request.map is not None:
        results |= _pooled(w, _bins(queries, request.map[0], at.device)[at], request.map)
    return results


def _top(result: Weights, count: int) -> dict[str, Tensor]:
    # A hidden key must rank below a visible one whose weight underflowed to zero.
    ranked = result.weights if result.visible is None else torch.where(result.visible, result.weights, -1.0)
    top, keys = ranked.topk(count, -1)
    hidden = top < 0
    return {"top_weights": top.masked_fill(hidden, 0.0), "top_keys": keys.masked_fill(hidden, -1)}


def _pooled(w: Tensor, bins: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """Sums and maxima of ``w`` over the rows and columns of each cell of the map."""
    columns = _bins(w.shape[3], size[1], w.device)
    shape = (*w.shape[:2], *size)
    at = (bins[:, None] * size[1] + columns).flatten().expand(*w.shape[:2], -1)
    flat = w.flatten(2)
    total = flat.new_zeros(shape).flatten(2).scatter_add(2, at, flat)
    largest = flat.new_zeros(shape).flatten(2).scatter_reduce(2, at, flat, "amax")
    return {"map_mean": total.unflatten(2, size), "map_max": largest.unflatten(2, size)}


def _bins(length: int, parts: int, device: torch.device) -> Tensor:
    """The cell, of ``parts``, of each of ``length`` positions: ``⌊position · parts / length⌋``."""
    return torch.arange(length, device=device) * parts // max(1, length)


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts, 2)


def _sum(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).sum(0)


def _max(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).amax(0)


_JOIN = {"received": _sum, "norms": _sum, "map_mean": _sum, "map_max": _max}
"""How results of tiles are combined if they are not concatenated."""
