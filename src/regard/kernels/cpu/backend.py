"""The backend of the C++ kernels: which calls it refuses, and how it runs a call."""

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
"""A result that was not requested; used only outside of graphs."""

_UNKNOWN = fields_outside(Plan, FIELDS)
"""Fields of `Plan` that the kernels do not support."""


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
        return "the C++ kernels need all of a call's queries"
    if 0 in query.shape or 0 in plan.key.shape or 0 in plan.value.shape:
        return "there is nothing to compute"
    if forward_ad._current_level >= 0:
        return "the C++ kernels have no derivative in forward mode"
    return None


def run(plan: Plan, lse: bool, extra: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The same as `regard.kernels.reference.run`, with ops that a graph can contain."""
    plan, bad, has_extra = _prepared(plan, extra)
    transformed = torch._C._are_functorch_transforms_active()
    call: Callable[..., Any] = forward_transformed if transformed else torch.ops.regard.cpu_forward
    output, stats, aside = call(*plan_values(plan), bad, has_extra)
    output, aside = _with_nan(output, stats, aside if has_extra else None, bad)
    nothing = output.new_empty(0)
    return output, sums(plan, stats) if lse else nothing, nothing if aside is None else aside


def run_plain(plan: Plan, lse: bool, extra: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The same without ops, for tensors that the kernels can read (see `can_read`)."""
    plan, bad, has_extra = _prepared(plan, extra, can_look=True)
    inputs = _differentiable(plan) if torch.is_grad_enabled() else ()
    if any(tensor is not None and tensor.requires_grad for tensor in inputs):
        output, stats, aside = forward_with_gradient(plan, bad, has_extra, *inputs)
    else:
        output, stats, aside = forward(plan, bad, has_extra)
    output, aside = _with_nan(output, stats, aside, bad)
    return output, sums(plan, stats) if lse else _NOTHING, _NOTHING if aside is None else aside


def _prepared(plan: Plan, extra: bool, *, can_look: bool = False) -> tuple[Plan, Tensor | None, bool]:
    """The plan for the kernels, the second result of `cleaned`, and whether there is an extra result."""
    if plan.value.dtype is not plan.query.dtype:
        plan = replace(plan, value=plan.value.to(plan.query.dtype))
    plan, bad = cleaned(plan, can_look or is_plain(plan.key, plan.value))
    kind = plan.normalizer
    if not extra and (kind is NormalizerKind.ARGMAX or kind is NormalizerKind.REINFORCE):
        plan = replace(plan.detached(), value=plan.value)  # the chosen key has no gradient
    return plan, bad, extra and (kind.hard or kind is NormalizerKind.VARIATIONAL)


def _with_nan(output: Tensor, stats: Tensor, aside: Tensor | None, bad: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Output and extra with NaN for queries that see a non-finite key or value."""
    if bad is None:
        return output, aside
    poison = stats[:, :, POISON]
    return (output + poison[..., None]).to(output.dtype), None if aside is None else aside + poison


def can_read(plan: Plan) -> bool:
    """Whether the kernels can read all tensors of ``plan``, so that the call needs no op.

    For other tensors, PyTorch's dispatcher materializes them or calls the subclass, the mode or the transform.
    """
    return not is_watched() and not torch._C._are_functorch_transforms_active() and is_plain(*_tensors(plan))


def sums(plan: Plan, stats: Tensor) -> Tensor:
    """The log-sum-exp without the sink."""
    if not plan.normalizer.hard:
        return stats[:, :, LSE].clone()  # a copy: the caller may change it in place
    temperature = plan.number if plan.numbers is None else plan.numbers.detach().to(stats.dtype)[:, None]
    return stats[:, :, TOP] / temperature + stats[:, :, LSE]


def cleaned(plan: Plan, can_look: bool = True) -> tuple[Plan, Tensor | None]:
    """If the plan has a mask: the plan with 0 for non-finite keys and values, and which they are, ``(B, Hk, Lk)``.

    A masked key must have no influence, but 0 · NaN is NaN. The statistics record which queries see such a key.
    """
    if not plan.masked or (can_look and all_finite(plan.key) and all_finite(plan.value)):
        return plan, None
    finite = torch.isfinite(nonfinite(plan.key) + nonfinite(plan.value))
    key, value = (torch.where(finite[..., None], tensor, 0.0) for tensor in (plan.key, plan.value))
    return replace(plan, key=key, value=value), (~finite).to(torch.uint8)
