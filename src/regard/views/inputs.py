"""Queries and keys of a call, from which its weights can be computed again; in half precision by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, TypedDict

import torch
from torch import Tensor

from regard.kernels.backends import choose, run
from regard.kernels.plan import NormalizerKind, Plan, ScoreKind

TENSORS = ("query", "key", "start", "end", "relative", "sink", "total")
"""The tensors of a call in a file; ``total`` is the log-sum-exp, without the sink."""


Precision = Literal["half", "single"]
"""Of queries and keys in a file; single: as they are, in at most 32 bits."""


class FlatPlan(TypedDict):
    """The numbers of a call."""

    score: str
    scale: float
    softcap: float


def why_not(plan: Plan) -> str:
    """Why the weights of ``plan`` cannot be computed from what a file has; empty: they can."""
    if type(plan) is not Plan:
        return "its mechanism is a Python function"
    if plan.score not in (ScoreKind.DOT, ScoreKind.DISTANCE):
        return f"its score is {plan.score}"
    if plan.normalizer is not NormalizerKind.SOFTMAX:
        return f"its normalizer is {plan.normalizer}"
    if plan.layout is not None or (plan.visible is not None and _intervals(plan.visible) is None):
        return "its mask is not an interval of keys for each query"
    if plan.bias is not None and (plan.relative is not None or _by_distance(plan) is None):
        return "its bias is more than a number for each distance"
    return ""


def flat(plan: Plan, precision: Precision = "half") -> tuple[FlatPlan, dict[str, Tensor]]:
    """A call for one sequence, for which `why_not` is empty, as numbers and tensors of one dimension less.

    In single precision, the log-sum-exp is in float64, so that no weight has its rounding error.
    """
    start, end, relative = plan.start, plan.end, plan.relative
    if plan.visible is not None:
        bounds = _intervals(plan.visible)
        assert bounds is not None
        start = bounds[0] if start is None else torch.maximum(start, bounds[0])
        end = bounds[1] if end is None else torch.minimum(end, bounds[1])
    if plan.bias is not None:
        relative = _by_distance(plan)
    half = precision == "half"
    query, key = _half(plan.query, plan.key) if half else _single(plan.query, plan.key)
    sink = None if plan.sink is None else plan.sink.float()
    wide, long = (query, key) if half else (query.double(), key.double())
    added = [
        None if part is None else part.to(torch.promote_types(wide.dtype, torch.float32)) for part in (relative, sink)
    ]
    plain = Plan(wide, long, long, plan.score, plan.scale, softcap=plan.softcap, relative=added[0], start=start,
                 end=end, sink=added[1])  # fmt: skip
    with torch.no_grad():
        # Of the rounded inputs, so that the weights sum to 1.
        total = run(plain, choose(plain), lse=True, extra=False)[1]
    tensors = {"query": query[0], "key": key[0], "total": total[0].float() if half else total[0]}
    tensors |= {name: part[0].int() for name, part in (("start", start), ("end", end)) if part is not None}
    tensors |= {name: part for name, part in (("relative", relative), ("sink", sink)) if part is not None}
    return {"score": plan.score.value, "scale": float(plan.scale), "softcap": float(plan.softcap)}, tensors


def check(parts: Mapping[str, Tensor], heads: int, queries: int, keys: int) -> bool:
    """Whether the tensors of a file have the shapes and types of a call of this size."""
    query, key = parts["query"], parts["key"]
    groups, width = key.shape[0], query.shape[-1]
    shapes: dict[str, list[tuple[int, ...]]] = {
        "query": [(heads, queries, width)], "key": [(groups, keys, width)], "sink": [(heads,)],
        "start": [(h, q) for h in (1, heads) for q in (1, queries)],
        "relative": [(h, queries + keys - 1) for h in (1, heads)], "total": [(heads, queries)],
    }  # fmt: skip
    shapes["end"] = shapes["start"]
    halves = (torch.float16, torch.bfloat16)
    return (
        all(tuple(part.shape) in shapes[name] for name, part in parts.items())
        and groups > 0 == heads % groups
        and query.dtype is key.dtype
        and query.dtype in halves
        and all(_are_bounds(parts[name], keys) for name in ("start", "end") if name in parts)
        and all(parts[name].is_floating_point() for name in ("relative", "sink", "total") if name in parts)
    )


def _are_bounds(part: Tensor, keys: int) -> bool:
    return part.dtype is torch.int32 and bool(((part >= 0) & (part <= keys)).all())


def plan_of(numbers: FlatPlan, parts: Mapping[str, Tensor]) -> Plan:
    """The call that `flat` took apart."""
    query, key = parts["query"][None], parts["key"][None]
    plan = Plan(
        query, key, key, ScoreKind(numbers["score"]), float(numbers["scale"]), softcap=float(numbers["softcap"]),
        relative=parts.get("relative"), sink=parts.get("sink"),
    )  # fmt: skip
    bounds = {name: parts[name][None].long() for name in ("start", "end") if name in parts}
    return replace(plan, **bounds)  # type: ignore[arg-type]


def _single(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Both in at most 32 bits."""
    return (query.float(), key.float()) if query.dtype is torch.float64 else (query, key)


def _half(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Both in half precision: unchanged if they are, in float16 if no number is too large for it, or in bfloat16."""
    if query.dtype in (torch.float16, torch.bfloat16):
        return query, key
    halves = query.half(), key.half()
    return halves if all(bool(half.isfinite().all()) for half in halves) else (query.bfloat16(), key.bfloat16())


def _intervals(visible: Tensor) -> tuple[Tensor, Tensor] | None:
    """The first key that each query sees and one past the last, if it sees all between them; None: it does not."""
    flags, keys = visible.to(torch.uint8), visible.shape[-1]
    count = visible.sum(-1)
    first, last = flags.argmax(-1), keys - flags.flip(-1).argmax(-1)
    return (first, first + count) if bool(((last - first == count) | (count == 0)).all()) else None


def _by_distance(plan: Plan) -> Tensor | None:
    """The bias as a number for each distance, ``(H or 1, Lq + Lk − 1)``; None: it is more than that."""
    bias = plan.bias
    assert bias is not None
    bias = bias.expand(*bias.shape[:2], plan.query.shape[2], plan.key.shape[2])
    if bias.shape[0] != 1 or not torch.equal(bias[..., 1:, 1:], bias[..., :-1, :-1]) or bool(bias.isinf().any()):
        return None
    return torch.cat([bias[0, :, 1:, 0].flip(-1), bias[0, :, 0]], -1).float()
