"""The backend: what the kernels refuse, and how PyTorch's autograd and compiler see them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from regard.kernels import reference
from regard.kernels.cpu import library
from regard.kernels.cpu.call import POISON, SECOND, STATS, TOTAL, Call, computed_in
from regard.kernels.cpu.gradients import DIFFERENTIABLE, Left, gradients
from regard.kernels.plan import NormalizerKind, Plan, ScoreKind
from regard.kernels.visibility import all_true, nonfinite

_FIELDS = tuple(field.name for field in fields(Plan))


def refuse(plan: Plan) -> str | None:
    """Why the kernels cannot run ``plan``."""
    if library.level is None:
        return library.why_none
    query = plan.query
    if query.device.type != "cpu":
        return f"the C++ kernels are for the CPU, not {query.device.type}"
    if plan.rows is not None:
        return "the C++ kernels see all of a call's queries"
    if 0 in query.shape or 0 in plan.key.shape or 0 in plan.value.shape:
        return "there is nothing to compute"
    if torch._C._are_functorch_transforms_active():
        return "the C++ kernels cannot be transformed by torch.func"
    return None


def run(plan: Plan, lse: bool, extra: bool) -> tuple[Tensor, Tensor, Tensor]:
    """As `regard.kernels.reference.run`."""
    if plan.value.dtype is not plan.query.dtype:
        plan = replace(plan, value=plan.value.to(plan.query.dtype))
    plan, bad = cleaned(plan)
    if not extra and plan.normalizer in (NormalizerKind.ARGMAX, NormalizerKind.REINFORCE):
        plan = replace(plan.detached(), value=plan.value)  # the key taken has no gradient
    has_extra = extra and (plan.normalizer.hard or plan.normalizer is NormalizerKind.VARIATIONAL)
    if is_plain(plan.query):
        inputs = [getattr(plan, name) for name in DIFFERENTIABLE] if torch.is_grad_enabled() else []
        if any(t is not None and t.requires_grad for t in inputs):
            output, stats, aside = _Attention.apply(plan, bad, has_extra, *inputs)  # type: ignore[no-untyped-call]
        else:
            output, stats, aside = forward(plan, bad, has_extra)
    else:
        flat = [getattr(plan, name) for name in _FIELDS]
        output, stats, aside = torch.ops.regard.cpu_forward(*flat, bad, has_extra)
    if bad is not None:
        poison = stats[:, :, POISON]
        output = (output + poison[..., None]).to(output.dtype)
        aside = aside + poison if has_extra else aside
    return output, sums(plan, stats) if lse else output.new_empty(0), aside


def is_plain(tensor: Tensor) -> bool:
    """Whether memory can be read and written: not a graph's tensor, nor under a mode that wants to see each op."""
    return (
        type(tensor) is Tensor
        and not torch.compiler.is_compiling()
        and not torch._C._len_torch_dispatch_stack()
        and not torch._C._functorch.peek_interpreter_stack()
    )


def sums(plan: Plan, stats: Tensor) -> Tensor:
    """The log-sum-exp, without a sink."""
    return stats[:, :, TOTAL if plan.normalizer is NormalizerKind.TOPK else SECOND].contiguous()


def cleaned(plan: Plan) -> tuple[Plan, Tensor | None]:
    """The plan, if it has a mask, without keys and values that are not finite; and which they are, ``(B, Hk, Lk)``.

    What is masked must not leak, and 0 · NaN is NaN; what is not masked leaves its mark in the statistics.
    """
    if not plan.masked:
        return plan, None
    finite = torch.isfinite(nonfinite(plan.key) + nonfinite(plan.value))
    if all_true(finite):
        return plan, None
    key, value = (torch.where(finite[..., None], tensor, 0.0) for tensor in (plan.key, plan.value))
    return replace(plan, key=key, value=value), (~finite).to(torch.uint8)


def forward(plan: Plan, bad: Tensor | None, extra: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Output ``(B, H, Lq, Ev)``, statistics ``(B, H, 4, Lq)``, extra ``(B, H, Lq)`` or nothing."""
    batch, heads, queries, _ = plan.query.shape
    precise = computed_in(plan.query.dtype)
    output = torch.empty((batch, heads, queries, plan.value.shape[3]), dtype=plan.query.dtype)
    stats = torch.empty((batch, heads, STATS, queries), dtype=precise)
    aside = torch.empty((batch, heads, queries) if extra else 0, dtype=precise)
    Call(plan, output, stats, aside if extra else None, bad).forward()
    return output, stats, aside


class _Attention(torch.autograd.Function):
    """The kernels as autograd sees them outside of graphs."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, bad: Tensor | None, extra: bool, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        output, stats, aside = forward(plan, bad, extra)
        _save(ctx, Left(plan, output, stats, bad), extra)
        ctx.mark_non_differentiable(stats)
        return output, stats, aside

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor, grad_extra: Tensor) -> tuple[Any, ...]:
        wanted = frozenset(n for n, needs in zip(DIFFERENTIABLE, ctx.needs_input_grad[3:], strict=True) if needs)
        found = backward(_saved(ctx), grad, grad_extra if ctx.extra else None, wanted)
        return None, None, None, *(found.get(name) if name in wanted else None for name in DIFFERENTIABLE)


_TENSORS = tuple(f.name for f in fields(Plan) if "Tensor" in str(f.type))


def _save(ctx: Any, left: Left, extra: bool) -> None:
    plan = left.plan
    ctx.rest, ctx.extra = {name: getattr(plan, name) for name in _FIELDS if name not in _TENSORS}, extra
    ctx.save_for_backward(*(getattr(plan, name) for name in _TENSORS), left.output, left.stats, left.bad)


def _saved(ctx: Any) -> Left:
    *tensors, output, stats, bad = ctx.saved_tensors
    return Left(Plan(**dict(zip(_TENSORS, tensors, strict=True)), **ctx.rest), output, stats, bad)


def backward(left: Left, grad: Tensor, grad_extra: Tensor | None, wanted: frozenset[str]) -> dict[str, Tensor]:
    """As `gradients`; where the gradient's own gradient is asked for, from the reference."""
    if not torch.is_grad_enabled():
        return gradients(left, grad, grad_extra, wanted)
    plan, names = left.plan, [name for name in DIFFERENTIABLE if name in wanted]
    again, _, aside = reference.run(plan, False, grad_extra is not None)
    outputs, grads = ([again], [grad]) if grad_extra is None else ([again, aside], [grad, grad_extra])
    usable = [(o, g) for o, g in zip(outputs, grads, strict=True) if o.requires_grad]
    found = torch.autograd.grad(
        [o for o, _ in usable], [getattr(plan, n) for n in names], [g for _, g in usable],
        create_graph=True, allow_unused=True,
    )  # fmt: skip
    zero = {name: torch.zeros_like(getattr(plan, name)) for name in names}
    return {n: zero[n] if g is None else g for n, g in zip(names, found, strict=True)}


# In graphs the kernels are two opaque ops with all of a plan's fields; `_Attention` is the same outside of them.
def _schema() -> str:
    types = {"Tensor | None": "Tensor?", "int | None": "int?", "ScoreKind": "str", "NormalizerKind": "str"}
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
    return forward(_plan(tuple(plan)), bad, extra)


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
    flat = [getattr(left.plan, name) for name in _FIELDS]
    aside = grad_extra if ctx.extra else None
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        found = backward(left, grad, aside, frozenset(wanted))
    else:
        given = torch.ops.regard.cpu_backward(*flat, *left[1:], grad, aside, wanted)
        found = dict(zip(wanted, given, strict=True))
    return *(found.get(name) for name in _FIELDS), None, None


torch.library.register_autograd("regard::cpu_forward", _backward, setup_context=_setup, lib=_library)
