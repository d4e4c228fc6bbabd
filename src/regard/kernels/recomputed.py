"""Gradients of the results of a `Look`: the backward pass computes the weights again, a few queries at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from regard.kernels.plan import DIFFERENTIABLE, OwnPlan, Plan
from regard.kernels.reference import Weights, weights
from regard.kernels.statistics import queries_per_tile

Part = Callable[[Weights], Tensor]
"""Computes a result of a `Look`, ``(B, H, Lq, …)`` with one entry for each query."""

_TENSORS = tuple(field.name for field in fields(Plan) if "Tensor" in str(field.type))


def with_gradient(value: Tensor, plan: Plan, rows: Tensor, part: Part) -> Tensor:
    """``value`` with the gradient of ``part`` for the queries ``rows`` of ``plan``; differentiable to any order.

    Only the tensors of the plan are saved for the backward pass, whose memory is linear in the lengths.

    Args:
        value: the result of a backend, ``(B, H, len(rows), …)``, detached.
        plan: the plan, with tensors that require a gradient.
        rows: int64, one dimension: queries of the plan.
        part: computes ``value`` from the weights of these queries.
    """
    if isinstance(plan, OwnPlan) and torch.is_grad_enabled():
        return part(weights(plan.at_queries(rows)))  # its functions may have parameters that are not in the plan
    leaves = [getattr(plan, name) for name in DIFFERENTIABLE]
    if not torch.is_grad_enabled() or not any(leaf is not None and leaf.requires_grad for leaf in leaves):
        return value
    transformed = torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    if torch.compiler.is_compiling() or transformed:
        return part(weights(plan.at_queries(rows)))
    result: Tensor = _Recomputed.apply(value, plan, rows, part, *(getattr(plan, name) for name in _TENSORS))  # type: ignore[no-untyped-call]
    return result


class _Recomputed(torch.autograd.Function):
    """A value that is already computed, with the gradient of its expression."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, plan: Plan, rows: Tensor, part: Part, *tensors: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, *tensors)
        ctx.plan, ctx.part = replace(plan, **dict.fromkeys(_TENSORS)), part  # type: ignore[arg-type]
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        rows, *tensors = ctx.saved_tensors
        plan = replace(ctx.plan, **dict(zip(_TENSORS, tensors, strict=True)))
        needs = dict(zip(_TENSORS, ctx.needs_input_grad[4:], strict=True))
        names = [name for name in DIFFERENTIABLE if needs[name]]
        if torch.is_grad_enabled():
            result = ctx.part(weights(plan.at_queries(rows)))
            grads = _gradients(result, [getattr(plan, name) for name in names], grad, create_graph=True)
        else:
            grads = _tiled(plan, names, rows, ctx.part, grad)
        by_name = dict(zip(names, grads, strict=True))
        return None, None, None, None, *(by_name.get(name) for name in _TENSORS)


def _tiled(plan: Plan, names: list[str], rows: Tensor, part: Part, grad: Tensor) -> list[Tensor]:
    """The gradients, summed over tiles of queries; the graph of a tile is freed before the next."""
    leaves = {name: getattr(plan, name).detach().requires_grad_() for name in names}
    plan = replace(plan, **leaves)
    total = [torch.zeros_like(leaf, dtype=torch.promote_types(leaf.dtype, torch.float32)) for leaf in leaves.values()]
    step = queries_per_tile(plan)
    for some, grad_of_some in zip(rows.split(step), grad.split(step, 2), strict=True):
        with torch.enable_grad():
            result = part(weights(plan.at_queries(some)))
        for sum_, one in zip(total, _gradients(result, list(leaves.values()), grad_of_some), strict=True):
            sum_ += one
    return [sum_.to(leaf.dtype) for sum_, leaf in zip(total, leaves.values(), strict=True)]


def _gradients(result: Tensor, leaves: list[Tensor], grad: Tensor, *, create_graph: bool = False) -> list[Tensor]:
    if not result.requires_grad:  # the choice of a hard normalizer
        return [torch.zeros_like(leaf) for leaf in leaves]
    grads = torch.autograd.grad(result, leaves, grad, create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(leaf) if one is None else one for leaf, one in zip(leaves, grads, strict=True)]
