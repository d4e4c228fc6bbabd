"""The backend of the C++ kernels: which calls they refuse, and how a call reaches them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from regard.kernels.cpu import library
from regard.kernels.cpu.autograd import TENSORS, forward_transformed, forward_with_gradient
from regard.kernels.cpu.call import FIELDS, LSE, NORMALIZERS, POISON, SCORES, TOP, all_finite, forward
from regard.kernels.cpu.ops import plan_values
from regard.kernels.memory import is_plain, is_watched
from regard.kernels.plan import DIFFERENTIABLE, NormalizerKind, Plan, fields_outside, refuse_functions
from regard.kernels.visibility import nonfinite

_tensors, _differentiable = attrgetter(*TENSORS), attrgetter(*DIFFERENTIABLE)

_NOTHING = torch.empty(0, device="cpu")
"""Stands for a result that was not requested; used only outside of graphs."""

_UNKNOWN = fields_outside(Plan, FIELDS)
"""What was added to `Plan` and not yet to the kernels."""


def refuse(plan: Plan) -> str | None:
    """Why the kernels cannot run ``plan``."""
    if library.level is None:
        return library.why_none
    query = plan.query
    if query.device.type != "cpu":
        return f"the C++ kernels are for the CPU, not {query.device.type}"
    if (reason := refuse_functions(plan, "the C++ kernels")) is not None:
        return reason
    if plan.score not in SCORES:
        return f"the C++ kernels do not have the score {plan.score}"
    if plan.normalizer not in NORMALIZERS:
        return f"the C++ kernels do not have the normalizer {plan.normalizer}"
    for name, default in _UNKNOWN if type(plan) is Plan else fields_outside(type(plan), FIELDS):
        if getattr(plan, name) is not default:
            return f"the C++ kernels do not know the plan's field {name}"
    if plan.rows is not None:
        return "the C++ kernels see all of a call's queries"
    if 0 in query.shape or 0 in plan.key.shape or 0 in plan.value.shape:
        return "there is nothing to compute"
    if forward_ad._current_level >= 0:
        return "the C++ kernels have no derivative in forward mode"
    return None


def run(plan: Plan, lse: bool, extra: bool) -> tuple[Tensor, Tensor, Tensor]:
    """As `regard.kernels.reference.run`, as ops that a graph can hold."""
    plan, bad, has_extra = _prepared(plan, extra)
    transformed = torch._C._are_functorch_transforms_active()
    call: Callable[..., Any] = forward_transformed if transformed else torch.ops.regard.cpu_forward
    output, stats, aside = call(*plan_values(plan), bad, has_extra)
    output, aside = _spoilt(output, stats, aside if has_extra else None, bad)
    nothing = output.new_empty(0)
    return output, sums(plan, stats) if lse else nothing, nothing if aside is None else aside


def run_plain(plan: Plan, lse: bool, extra: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The same for tensors that the kernels can read, see `can_read`, in as few steps as can be."""
    plan, bad, has_extra = _prepared(plan, extra, can_look=True)
    inputs = _differentiable(plan) if torch.is_grad_enabled() else ()
    if any(tensor is not None and tensor.requires_grad for tensor in inputs):
        output, stats, aside = forward_with_gradient(plan, bad, has_extra, *inputs)
    else:
        output, stats, aside = forward(plan, bad, has_extra)
    output, aside = _spoilt(output, stats, aside, bad)
    return output, sums(plan, stats) if lse else _NOTHING, _NOTHING if aside is None else aside


def _prepared(plan: Plan, extra: bool, *, can_look: bool = False) -> tuple[Plan, Tensor | None, bool]:
    """The plan as the kernels take it, what `cleaned` found, and whether there is an extra."""
    if plan.value.dtype is not plan.query.dtype:
        plan = replace(plan, value=plan.value.to(plan.query.dtype))
    plan, bad = cleaned(plan, can_look or is_plain(plan.key, plan.value))
    kind = plan.normalizer
    if not extra and (kind is NormalizerKind.ARGMAX or kind is NormalizerKind.REINFORCE):
        plan = replace(plan.detached(), value=plan.value)  # the key taken has no gradient
    return plan, bad, extra and (kind.hard or kind is NormalizerKind.VARIATIONAL)


def _spoilt(output: Tensor, stats: Tensor, aside: Tensor | None, bad: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Output and extra with NaN for the queries that see a key that is not finite."""
    if bad is None:
        return output, aside
    poison = stats[:, :, POISON]
    return (output + poison[..., None]).to(output.dtype), None if aside is None else aside + poison


def can_read(plan: Plan) -> bool:
    """Whether the kernels can read all tensors of ``plan`` as they are, so that nothing has to go through an op.

    PyTorch's dispatcher makes such tensors of others, or hands them to the subclass, the mode or the transform.
    """
    return not is_watched() and not torch._C._are_functorch_transforms_active() and is_plain(*_tensors(plan))


def sums(plan: Plan, stats: Tensor) -> Tensor:
    """The log-sum-exp, without a sink."""
    if not plan.normalizer.hard:
        return stats[:, :, LSE].clone()  # what is seen may be changed in place, what is saved may not
    temperature = plan.number if plan.numbers is None else plan.numbers.detach().to(stats.dtype)[:, None]
    return stats[:, :, TOP] / temperature + stats[:, :, LSE]


def cleaned(plan: Plan, can_look: bool = True) -> tuple[Plan, Tensor | None]:
    """The plan, if it has a mask, without keys and values that are not finite; and which they are, ``(B, Hk, Lk)``.

    What is masked must not leak, and 0 · NaN is NaN; what is not masked leaves its mark in the statistics.
    """
    if not plan.masked or (can_look and all_finite(plan.key) and all_finite(plan.value)):
        return plan, None
    finite = torch.isfinite(nonfinite(plan.key) + nonfinite(plan.value))
    key, value = (torch.where(finite[..., None], tensor, 0.0) for tensor in (plan.key, plan.value))
    return replace(plan, key=key, value=value), (~finite).to(torch.uint8)
