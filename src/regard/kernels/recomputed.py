"""Gradients of what a `Look` shows: the weights are computed again in the backward pass, a few queries at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from regard.kernels.plan import DIFFERENTIABLE, OwnPlan, Plan
from regard.kernels.reference import Whole, weights
from regard.kernels.statistics import queries_per_tile

Part = Callable[[Whole], Tensor]
"""What of a call is shown: from all of the call to ``(B, H, Lq, …)``, one entry a query."""

_TENSORS = tuple(field.name for field in fields(Plan) if "Tensor" in str(field.type))


def with_gradient(value: Tensor, plan: Plan, rows: Tensor, part: Part) -> Tensor:
    """``value`` with the gradient of ``part`` for the queries ``rows`` of ``plan``; differentiable to any order.

    Nothing is kept for the backward pass but the plan's own tensors, and its memory is linear in the lengths.

    Args:
        value: what a backend computed, ``(B, H, len(rows), …)``, outside the gradient.
        plan: within the gradient.
        rows: int64, one dimension: queries of the plan.
        part: what of them ``value`` is.
    """
    if isinstance(plan, OwnPlan) and torch.is_grad_enabled():
        return part(weights(plan.at_queries(rows)))  # its functions may hold parameters that no plan knows of
    leaves = [getattr(plan, name) for name in DIFFERENTIABLE]
    if not torch.is_grad_enabled() or not any(leaf is not None and leaf.requires_grad for leaf in leaves):
        return value
    transformed = torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    if torch.compiler.is_compiling() or transformed:
        return part(weights(plan.at_queries(rows)))
    given: Tensor = _Recomputed.apply(value, plan, rows, part, *(getattr(plan, name) for name in _TENSORS))  # type: ignore[no-untyped-call]
    return given


class _Recomputed(torch.autograd.Function):
    """A value that is known already, with the gradient of the expression that it is the value of."""

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
            made = ctx.part(weights(plan.at_queries(rows)))
            found = _gradients(made, [getattr(plan, name) for name in names], grad, create_graph=True)
        else:
            found = _tiled(plan, names, rows, ctx.part, grad)
        by_name = dict(zip(names, found, strict=True))
        return None, None, None, None, *(by_name.get(name) for name in _TENSORS)


def _tiled(plan: Plan, names: list[str], rows: Tensor, part: Part, grad: Tensor) -> list[Tensor]:
    """The gradients, added up over tiles of queries, none of whose graphs outlives it."""
    leaves = {name: getattr(plan, name).detach().requires_grad_() for name in names}
    plan = replace(plan, **leaves)
    total = [torch.zeros_like(leaf, dtype=torch.promote_types(leaf.dtype, torch.float32)) for leaf in leaves.values()]
    step = queries_per_tile(plan)
    for some, grad_of_some in zip(rows.split(step), grad.split(step, 2), strict=True):
        with torch.enable_grad():
            made = part(weights(plan.at_queries(some)))
        for sum_, one in zip(total, _gradients(made, list(leaves.values()), grad_of_some), strict=True):
            sum_ += one
    return [sum_.to(leaf.dtype) for sum_, leaf in zip(total, leaves.values(), strict=True)]


def _gradients(made: Tensor, leaves: list[Tensor], grad: Tensor, *, create_graph: bool = False) -> list[Tensor]:
    if not made.requires_grad:  # the choice of a hard normalizer
        return [torch.zeros_like(leaf) for leaf in leaves]
    found = torch.autograd.grad(made, leaves, grad, create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(leaf) if one is None else one for leaf, one in zip(leaves, found, strict=True)]
