"""The statistics of a `Look` with the C++ kernels, from tiles of weights computed again."""

from __future__ import annotations

import torch
from torch import Tensor

from regard.kernels import statistics as plain
from regard.kernels.cpu.backend import can_read, cleaned
from regard.kernels.cpu.call import REST, STATS, TOP, Call, address, computed_in, forward
from regard.kernels.memory import is_plain
from regard.kernels.plan import NormalizerKind, Plan
from regard.kernels.statistics import Request

_BY_LSE = (NormalizerKind.SOFTMAX, NormalizerKind.VARIATIONAL)
"""Normalizers whose weights can be computed from the log-sum-exp alone."""

_LARGEST_LSE = 64.0
"""Up to this absolute value, weights are computed from the log-sum-exp alone, which in float32 has an error of at most
4 · 10⁻⁶. Beyond it, the forward pass runs again for its statistics, which have the maximum and the sum separately."""

_TASKS_PER_THREAD = 4


def statistics(plan: Plan, request: Request, lse: Tensor | None) -> dict[str, Tensor]:
    """The same as `regard.kernels.statistics.statistics`; ``lse`` is that of the forward pass, or None."""
    if not can_read(plan) or not is_plain(request.rows, request.norms):
        return plain.statistics(plan, request, lse)
    plan, bad = cleaned(plan)
    call, stats = _call(plan, lse, bad)
    batch, heads, queries, _ = plan.query.shape
    keys, precise = plan.key.shape[2], stats.dtype
    splits = max(1, min(-(-queries // 64), -(-_TASKS_PER_THREAD * torch.get_num_threads() // max(1, batch * heads))))

    def new(*shape: int) -> Tensor:
        return torch.zeros((batch, heads, *shape), dtype=precise, device="cpu")

    results: dict[str, Tensor] = {n: new(queries) for n in ("entropy", "reach") if n in request.names}
    received = new(splits, keys) if "received" in request.names or request.norms is not None else None
    top = (new(queries, request.top), new(queries, request.top).long()) if request.top else (None, None)
    size = request.map or (0, 0)
    pooled = [new(splits, *size) if request.map else None for _ in range(2)]
    if results or received is not None or request.top or request.map:
        call.look(
            splits, address(results.get("entropy")), address(results.get("reach")), address(received),
            address(top[0]), address(top[1]), request.top, address(pooled[0]), address(pooled[1]), *size, 0, 0, 0, 0, 0,
        )  # fmt: skip
    if received is not None:
        total = received.sum(2)
        results |= {"received": total} if "received" in request.names else {}
        results |= {"norms": total * request.norms} if request.norms is not None else {}
    if top[0] is not None and top[1] is not None:
        results |= {"top_weights": top[0], "top_keys": top[1]}
    if pooled[0] is not None and pooled[1] is not None:
        results |= {
            "map_mean": pooled[0].sum(2) / plain.cells(queries, keys, size, plan.query.device),
            "map_max": pooled[1].amax(2),
        }
    if "sinks" in request.names:
        first = torch.zeros(1, dtype=torch.int64, device="cpu")
        results["sinks"] = _weights(call, plan, torch.arange(queries, device="cpu"), first)[..., 0]
    if request.rows is not None:
        results["rows"] = _weights(call, plan, request.rows, torch.arange(keys, device="cpu"))
    return results


def tile(plan: Plan, queries: Tensor, keys: Tensor, lse: Tensor | None) -> Tensor:
    """The same as `regard.kernels.statistics.tile`."""
    if lse is None or plan.normalizer not in _BY_LSE or not can_read(plan) or not is_plain(queries, keys):
        return plain.tile(plan, queries, keys, lse)
    plan, bad = cleaned(plan)
    return _weights(_call(plan, lse, bad)[0], plan, queries, keys)


def _call(plan: Plan, lse: Tensor | None, bad: Tensor | None) -> tuple[Call, Tensor]:
    """A call with its statistics, from ``lse`` or from another forward pass."""
    batch, heads, queries, _ = plan.query.shape
    stats = torch.zeros((batch, heads, STATS, queries), dtype=computed_in(plan.query.dtype), device="cpu")
    total = lse if lse is not None and lse.numel() and plan.normalizer in _BY_LSE else None
    if total is not None and plan.sink is not None:
        total = torch.where(total.isneginf(), total, torch.logaddexp(total, plan.sink.to(total.dtype)[:, None]))
    small = total is not None and bool(((total.abs() <= _LARGEST_LSE) | total.isneginf()).all())
    if bad is not None or not small:
        _, stats, _ = forward(plan, bad, False)
    if small:
        assert total is not None
        stats[:, :, TOP] = torch.where(total.isneginf(), total, 0.0)
        stats[:, :, REST] = total
    return Call(plan, plan.query, stats, None, bad), stats


def _weights(call: Call, plan: Plan, queries: Tensor, keys: Tensor) -> Tensor:
    batch, heads, _, _ = plan.query.shape
    queries, keys = queries.contiguous(), keys.contiguous()
    results = torch.zeros((batch, heads, len(queries), len(keys)), dtype=computed_in(plan.query.dtype), device="cpu")
    if results.numel():
        call.look(1, *(0,) * 10, address(results), address(queries), address(keys), len(queries), len(keys))
    return results
