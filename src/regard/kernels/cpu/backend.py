"""The backend: what the kernels refuse, and how PyTorch's autograd and compiler see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad

from regard.kernels.cpu import library
from regard.kernels.cpu.batching import batched, unbatched
from regard.kernels.cpu.call import (
    FIELDS,
    LSE,
    NORMALIZERS,
    POISON,
    SCORES,
    STATS,
    TOP,
    Call,
    all_finite,
    computed_in,
)
from regard.kernels.cpu.gradients import Left, gradients
from regard.kernels.cpu.second import gradients_of_gradients
from regard.kernels.memory import is_memory, is_plain, is_watched, no_numbers
from regard.kernels.plan import DIFFERENTIABLE, NormalizerKind, Plan, ScoreKind, fields_outside, refuse_functions
from regard.kernels.visibility import nonfinite

_FIELDS = tuple(field.name for field in fields(Plan))
_fields, _differentiable = attrgetter(*_FIELDS), attrgetter(*DIFFERENTIABLE)

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
    call: Callable[..., Any] = _Forward.apply if transformed else torch.ops.regard.cpu_forward
    output, stats, aside = call(*_fields(plan), bad, has_extra)
    output, aside = _spoilt(output, stats, aside if has_extra else None, bad)
    nothing = output.new_empty(0)
    return output, sums(plan, stats) if lse else nothing, nothing if aside is None else aside


def run_plain(plan: Plan, lse: bool, extra: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The same for tensors that the kernels can read, see `can_read`, in as few steps as can be."""
    plan, bad, has_extra = _prepared(plan, extra, can_look=True)
    inputs = _differentiable(plan) if torch.is_grad_enabled() else ()
    if any(tensor is not None and tensor.requires_grad for tensor in inputs):
        output, stats, aside = _apply(plan, bad, has_extra, *inputs)
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


def forward(plan: Plan, bad: Tensor | None, extra: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Output ``(B, H, Lq, Ev)``, statistics ``(B, H, 5, Lq)``, extra ``(B, H, Lq)`` or None."""
    batch, heads, queries, _ = plan.query.shape
    precise = computed_in(plan.query.dtype)
    output = torch.empty((batch, heads, queries, plan.value.shape[3]), dtype=plan.query.dtype, device="cpu")
    stats = torch.empty((batch, heads, STATS, queries), dtype=precise, device="cpu")
    aside = torch.empty((batch, heads, queries), dtype=precise, device="cpu") if extra else None
    Call(plan, output, stats, aside, bad).forward()
    return output, stats, aside


class _Attention(torch.autograd.Function):
    """The kernels as autograd sees them outside of graphs."""

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, bad: Tensor | None, extra: bool, *inputs: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        output, stats, aside = forward(plan, bad, extra)
        _save(ctx, Left(plan, output, stats, bad), extra)
        ctx.mark_non_differentiable(stats)
        return output, stats, aside

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor, grad_extra: Tensor | None) -> tuple[Any, ...]:
        wanted = frozenset(n for n, needs in zip(DIFFERENTIABLE, ctx.needs_input_grad[3:], strict=True) if needs)
        found = backward(_saved(ctx), grad, grad_extra if ctx.extra else None, wanted)
        return None, None, None, *(found.get(name) if name in wanted else None for name in DIFFERENTIABLE)


def directly(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """Its `apply`, without the search for torch.func's transforms in front, which takes longer than a small kernel.

    Only for calls that are known to be under none.
    """
    found: Callable[..., Any] = super(torch.autograd.Function, function).apply  # type: ignore[misc]
    return found


_apply = directly(_Attention)

_TENSORS = tuple(f.name for f in fields(Plan) if "Tensor" in str(f.type))
_REST = tuple(name for name in _FIELDS if name not in _TENSORS)
_tensors, _rest = attrgetter(*_TENSORS), attrgetter(*_REST)


def _save(ctx: Any, left: Left, extra: bool) -> None:
    ctx.rest, ctx.extra = _rest(left.plan), extra
    ctx.save_for_backward(*_tensors(left.plan), left.output, left.stats, left.bad)


def _saved(ctx: Any) -> Left:
    *tensors, output, stats, bad = ctx.saved_tensors
    plan = Plan(**dict(zip(_TENSORS, tensors, strict=True)), **dict(zip(_REST, ctx.rest, strict=True)))
    return Left(plan, output, stats, bad)


def backward(left: Left, grad: Tensor, grad_extra: Tensor | None, wanted: frozenset[str]) -> dict[str, Tensor]:
    """As `gradients`, as an op where the gradients' own gradients are wanted or ``grad`` cannot be read as it is."""
    if not torch.is_grad_enabled() and is_plain(grad, grad_extra):
        return gradients(left, grad, grad_extra, wanted)
    names = [name for name in DIFFERENTIABLE if name in wanted]
    return dict(zip(names, _by_op(left, grad, grad_extra, names), strict=True))


def _by_op(left: Left, grad: Tensor, grad_extra: Tensor | None, wanted: list[str]) -> Sequence[Tensor]:
    """The gradients of ``wanted`` in their order, by what graphs, transforms and gradients of gradients can follow."""
    for tensor in () if is_watched() else (grad, grad_extra):
        if tensor is not None and (reason := no_numbers(tensor)) is not None:
            raise TypeError(f"attention: the gradient of its output is {reason}")
        if isinstance(tensor, FakeTensor) and is_memory(left.plan.query):
            raise TypeError("attention: the gradient of its output is a FakeTensor, its query is real")
    transformed = torch._C._are_functorch_transforms_active()
    call: Callable[..., Any] = _Backward.apply if transformed else torch.ops.regard.cpu_backward
    found: Sequence[Tensor] = call(*_fields(left.plan), *left[1:], grad, grad_extra, wanted)
    return found


# In graphs the kernels are two opaque ops with all of a plan's fields; `_Attention` is the same outside of them.
def _schema() -> str:
    types = {"Tensor | None": "Tensor?", "int | None": "SymInt?", "ScoreKind": "str", "NormalizerKind": "str"}
    return ", ".join(f"{types.get(str(f.type), f.type)} {f.name}" for f in fields(Plan))


def _plan(values: tuple[Any, ...]) -> Plan:
    flat = dict(zip(_FIELDS, values, strict=True))
    return Plan(**flat | {"score": ScoreKind(flat["score"]), "normalizer": NormalizerKind(flat["normalizer"])})


_library = torch.library.Library("regard", "FRAGMENT")
_library.define(f"cpu_forward({_schema()}, Tensor? bad, bool extra) -> (Tensor, Tensor, Tensor)")
_library.define(
    f"cpu_backward({_schema()}, Tensor output, Tensor stats, Tensor? bad, "
    "Tensor grad, Tensor? grad_extra, str[] wanted) -> Tensor[]"
)


@torch.library.impl(_library, "cpu_forward", "CPU")
def _forward_op(*values: Any) -> tuple[Tensor, Tensor, Tensor]:
    *plan, bad, extra = values
    output, stats, aside = forward(_plan(tuple(plan)), bad, extra)
    return output, stats, stats.new_empty(0) if aside is None else aside


@torch.library.register_fake("regard::cpu_forward", lib=_library)  # type: ignore[untyped-decorator]
def _forward_fake(*values: Any) -> tuple[Tensor, Tensor, Tensor]:
    plan, extra = _plan(values[:-2]), values[-1]
    batch, heads, queries, _ = plan.query.shape
    precise = computed_in(plan.query.dtype)
    output = plan.query.new_empty((batch, heads, queries, plan.value.shape[3]))
    stats = plan.query.new_empty((batch, heads, STATS, queries), dtype=precise)
    return output, stats, plan.query.new_empty((batch, heads, queries) if extra else (0,), dtype=precise)


@torch.library.impl(_library, "cpu_backward", "CPU")
def _backward_op(*values: Any) -> list[Tensor]:
    *plan, output, stats, bad, grad, grad_extra, wanted = values
    found = gradients(Left(_plan(tuple(plan)), output, stats, bad), grad, grad_extra, frozenset(wanted))
    return [found[name] for name in wanted]


@torch.library.register_fake("regard::cpu_backward", lib=_library)  # type: ignore[untyped-decorator]
def _backward_fake(*values: Any) -> list[Tensor]:
    plan, wanted = _plan(values[:-6]), values[-1]
    return [torch.empty_like(getattr(plan, name), memory_format=torch.contiguous_format) for name in wanted]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *values, bad, extra = inputs
    _save(ctx, Left(_plan(tuple(values)), output[0], output[1], bad), extra)


def _backward(ctx: Any, grad: Tensor, _: Tensor, grad_extra: Tensor) -> tuple[Any, ...]:
    left = _saved(ctx)
    needs = dict(zip(_FIELDS, ctx.needs_input_grad, strict=False))
    wanted = [name for name in DIFFERENTIABLE if needs[name]]
    aside = grad_extra if ctx.extra else None
    found = dict(zip(wanted, _by_op(left, grad, aside, wanted), strict=True))
    return *(found.get(name) for name in _FIELDS), None, None


torch.library.register_autograd("regard::cpu_forward", _backward, setup_context=_setup, lib=_library)


def _setup_second(ctx: Any, inputs: tuple[Any, ...], output: Sequence[Tensor]) -> None:
    *values, _output, _stats, _bad, grad, grad_extra, wanted = inputs
    plan = _plan(tuple(values))
    ctx.rest, ctx.wanted = _rest(plan), wanted
    ctx.save_for_backward(*_tensors(plan), grad, grad_extra)


def _second(ctx: Any, given: Sequence[Tensor | None]) -> tuple[Any, ...]:
    *tensors, grad, grad_extra = ctx.saved_tensors
    plan = Plan(**dict(zip(_TENSORS, tensors, strict=True)), **dict(zip(_REST, ctx.rest, strict=True)))
    needs = dict(zip(_FIELDS, ctx.needs_input_grad, strict=False))
    inputs = [name for name in DIFFERENTIABLE if needs[name]]
    whole = {
        name: torch.zeros_like(getattr(plan, name)) if tensor is None else tensor
        for name, tensor in zip(ctx.wanted, given, strict=True)
    }
    found, of_grad, of_extra = gradients_of_gradients(plan, grad, grad_extra, ctx.wanted, whole, inputs)
    return *(found.get(name) for name in _FIELDS), None, None, None, of_grad, of_extra, None


torch.library.register_autograd("regard::cpu_backward", _second, setup_context=_setup_second, lib=_library)


_FORWARD = (*_FIELDS, "bad", "extra")
_BACKWARD = (*_FIELDS, "output", "stats", "bad", "grad", "grad_extra", "wanted")


class _Forward(torch.autograd.Function):
    """`cpu_forward` as the transforms of torch.func see it, which do not take an op's own rules."""

    @staticmethod
    def forward(*values: Any) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.regard.cpu_forward(*values)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        _setup(ctx, inputs, output)
        ctx.mark_non_differentiable(output[1])

    backward = staticmethod(_backward)

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], *values: Any) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        has_extra = values[-1]

        def run(arguments: dict[str, Any]) -> list[Tensor]:
            found = _Forward.apply(*(arguments[name] for name in _FORWARD))  # type: ignore[no-untyped-call]
            return list(found if has_extra else found[:2])

        found = batched(run, info.batch_size, _named(_FORWARD, values), _named(_FORWARD, dims), [])
        return (*found, *([] if has_extra else [found[1].new_empty(0)])), (0, 0, 0 if has_extra else None)


class _Backward(torch.autograd.Function):
    """`cpu_backward` likewise."""

    @staticmethod
    def forward(*values: Any) -> tuple[Tensor, ...]:
        return tuple(torch.ops.regard.cpu_backward(*values))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _setup_second(ctx, inputs, output)

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Any, ...]:
        return _second(ctx, given)

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], *values: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        def run(arguments: dict[str, Any]) -> list[Tensor]:
            return list(_Backward.apply(*(arguments[name] for name in _BACKWARD)))  # type: ignore[no-untyped-call]

        found = batched(run, info.batch_size, _named(_BACKWARD, values), _named(_BACKWARD, dims), values[-1])
        return tuple(found), (0,) * len(found)


@torch.library.impl(_library, "cpu_backward", "Batched")
def _backward_in_grads_batched(*values: Any) -> list[Tensor]:
    """The rule for the older vmap, by which ``is_grads_batched`` and ``jacobian(vectorize=True)`` run."""
    arguments, dims, level, samples = _named(_BACKWARD, values), {}, 0, 0
    for name, value in arguments.items():
        if isinstance(value, Tensor) and (found := unbatched(value)) is not None:
            arguments[name], level = found
            dims[name], samples = 0, arguments[name].shape[0]

    def run(arguments: dict[str, Any]) -> list[Tensor]:
        found: list[Tensor] = torch.ops.regard.cpu_backward(*(arguments[name] for name in _BACKWARD))
        return found

    return [torch._add_batch_dim(g, 0, level) for g in batched(run, samples, arguments, dims, arguments["wanted"])]


def _named(names: tuple[str, ...], values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))
