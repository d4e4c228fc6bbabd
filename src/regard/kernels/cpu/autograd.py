"""The rules of the kernels for autograd, `torch.func` and vmap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from regard.kernels.cpu.batching import batched, unbatched
from regard.kernels.cpu.call import forward
from regard.kernels.cpu.gradients import Saved, gradients
from regard.kernels.cpu.ops import PLAN_FIELDS, library, plan_of, plan_values
from regard.kernels.cpu.second import gradients_of_gradients
from regard.kernels.memory import is_memory, is_plain, is_watched, no_numbers
from regard.kernels.plan import DIFFERENTIABLE, Plan

TENSORS = tuple(field.name for field in fields(Plan) if "Tensor" in str(field.type))
"""The fields of a `Plan` that are tensors or None."""

_REST = tuple(name for name in PLAN_FIELDS if name not in TENSORS)
_tensors, _rest = attrgetter(*TENSORS), attrgetter(*_REST)


class _Attention(torch.autograd.Function):
    """The kernels for autograd outside of graphs."""

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, bad: Tensor | None, extra: bool, *inputs: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        output, stats, aside = forward(plan, bad, extra)
        _save(ctx, Saved(plan, output, stats, bad), extra)
        ctx.mark_non_differentiable(stats)
        return output, stats, aside

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor, grad_extra: Tensor | None) -> tuple[Any, ...]:
        wanted = frozenset(n for n, needs in zip(DIFFERENTIABLE, ctx.needs_input_grad[3:], strict=True) if needs)
        grads = backward(_saved(ctx), grad, grad_extra if ctx.extra else None, wanted)
        return None, None, None, *(grads.get(name) if name in wanted else None for name in DIFFERENTIABLE)


def directly(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """The `apply` of ``function`` without its check for transforms of torch.func, which outlasts a small kernel.

    Only for calls that are known not to be under a transform.
    """
    apply: Callable[..., Any] = super(torch.autograd.Function, function).apply  # type: ignore[misc]
    return apply


forward_with_gradient = directly(_Attention)
"""`regard.kernels.cpu.call.forward`, recorded by autograd: (plan, bad, extra, the plan's `DIFFERENTIABLE` tensors)."""


def _save(ctx: Any, saved: Saved, extra: bool) -> None:
    ctx.rest, ctx.extra = _rest(saved.plan), extra
    ctx.save_for_backward(*_tensors(saved.plan), saved.output, saved.stats, saved.bad)


def _saved(ctx: Any) -> Saved:
    *tensors, output, stats, bad = ctx.saved_tensors
    return Saved(_saved_plan(ctx, tensors), output, stats, bad)


def _saved_plan(ctx: Any, tensors: list[Any]) -> Plan:
    return Plan(**dict(zip(TENSORS, tensors, strict=True)), **dict(zip(_REST, ctx.rest, strict=True)))


def backward(saved: Saved, grad: Tensor, grad_extra: Tensor | None, wanted: frozenset[str]) -> dict[str, Tensor]:
    """The same as `gradients`, as an op if gradients of gradients are needed or the kernels cannot read ``grad``."""
    if not torch.is_grad_enabled() and is_plain(grad, grad_extra):
        return gradients(saved, grad, grad_extra, wanted)
    names = [name for name in DIFFERENTIABLE if name in wanted]
    return dict(zip(names, _by_op(saved, grad, grad_extra, names), strict=True))


def _by_op(saved: Saved, grad: Tensor, grad_extra: Tensor | None, wanted: list[str]) -> Sequence[Tensor]:
    """The gradients of ``wanted`` in this order, with ops for graphs, transforms and gradients of gradients."""
    for tensor in () if is_watched() else (grad, grad_extra):
        if tensor is not None and (reason := no_numbers(tensor)) is not None:
            raise TypeError(f"attention: the gradient of its output is {reason}")
        if isinstance(tensor, FakeTensor) and is_memory(saved.plan.query):
            raise TypeError("attention: the gradient of its output is a FakeTensor, but its query is not")
    transformed = torch._C._are_functorch_transforms_active()
    call: Callable[..., Any] = _Backward.apply if transformed else torch.ops.regard.cpu_backward
    grads: Sequence[Tensor] = call(*plan_values(saved.plan), *saved[1:], grad, grad_extra, wanted)
    return grads


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *values, bad, extra = inputs
    _save(ctx, Saved(plan_of(tuple(values)), output[0], output[1], bad), extra)


def _backward(ctx: Any, grad: Tensor, _: Tensor, grad_extra: Tensor) -> tuple[Any, ...]:
    saved = _saved(ctx)
    needs = dict(zip(PLAN_FIELDS, ctx.needs_input_grad, strict=False))
    wanted = [name for name in DIFFERENTIABLE if needs[name]]
    aside = grad_extra if ctx.extra else None
    grads = dict(zip(wanted, _by_op(saved, grad, aside, wanted), strict=True))
    return *(grads.get(name) for name in PLAN_FIELDS), None, None


torch.library.register_autograd("regard::cpu_forward", _backward, setup_context=_setup, lib=library)


def _setup_second(ctx: Any, inputs: tuple[Any, ...], output: Sequence[Tensor]) -> None:
    *values, _output, _stats, _bad, grad, grad_extra, wanted = inputs
    plan = plan_of(tuple(values))
    ctx.rest, ctx.wanted = _rest(plan), wanted
    ctx.save_for_backward(*_tensors(plan), grad, grad_extra)


def _second(ctx: Any, grads_of_grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    *tensors, grad, grad_extra = ctx.saved_tensors
    plan = _saved_plan(ctx, tensors)
    needs = dict(zip(PLAN_FIELDS, ctx.needs_input_grad, strict=False))
    inputs = [name for name in DIFFERENTIABLE if needs[name]]
    filled = {
        name: torch.zeros_like(getattr(plan, name)) if tensor is None else tensor
        for name, tensor in zip(ctx.wanted, grads_of_grads, strict=True)
    }
    grads, of_grad, of_extra = gradients_of_gradients(plan, grad, grad_extra, ctx.wanted, filled, inputs)
    return *(grads.get(name) for name in PLAN_FIELDS), None, None, None, of_grad, of_extra, None


torch.library.register_autograd("regard::cpu_backward", _second, setup_context=_setup_second, lib=library)


_FORWARD = (*PLAN_FIELDS, "bad", "extra")
_BACKWARD = (*PLAN_FIELDS, "output", "stats", "bad", "grad", "grad_extra", "wanted")


class _Forward(torch.autograd.Function):
    """`cpu_forward` for the transforms of torch.func, which do not use the rules of ops."""

    @staticmethod
    def forward(*values: Any) -> tuple[Tensor, Tensor, Tensor]:
        results: tuple[Tensor, Tensor, Tensor] = torch.ops.regard.cpu_forward(*values)
        return results

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        _setup(ctx, inputs, output)
        ctx.mark_non_differentiable(output[1])

    backward = staticmethod(_backward)

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], *values: Any) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        has_extra = values[-1]

        def run(arguments: dict[str, Any]) -> list[Tensor]:
            results = _Forward.apply(*(arguments[name] for name in _FORWARD))  # type: ignore[no-untyped-call]
            return list(results if has_extra else results[:2])

        results = batched(run, info.batch_size, _named(_FORWARD, values), _named(_FORWARD, dims), [])
        return (*results, *([] if has_extra else [results[1].new_empty(0)])), (0, 0, 0 if has_extra else None)


forward_transformed = _Forward.apply
"""`cpu_forward` under a transform of torch.func."""


class _Backward(torch.autograd.Function):
    """`cpu_backward` for the transforms of torch.func."""

    @staticmethod
    def forward(*values: Any) -> tuple[Tensor, ...]:
        return tuple(torch.ops.regard.cpu_backward(*values))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _setup_second(ctx, inputs, output)

    @staticmethod
    def backward(ctx: Any, *grads_of_grads: Tensor | None) -> tuple[Any, ...]:
        return _second(ctx, grads_of_grads)

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], *values: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        def run(arguments: dict[str, Any]) -> list[Tensor]:
            return list(_Backward.apply(*(arguments[name] for name in _BACKWARD)))  # type: ignore[no-untyped-call]

        grads = batched(run, info.batch_size, _named(_BACKWARD, values), _named(_BACKWARD, dims), values[-1])
        return tuple(grads), (0,) * len(grads)


@torch.library.impl(library, "cpu_backward", "Batched")
def _backward_in_grads_batched(*values: Any) -> list[Tensor]:
    """The rule for the older vmap, which ``is_grads_batched`` and ``jacobian(vectorize=True)`` use."""
    arguments, dims, level, samples = _named(_BACKWARD, values), {}, 0, 0
    for name, value in arguments.items():
        if isinstance(value, Tensor) and (behind := unbatched(value)) is not None:
            arguments[name], level = behind
            dims[name], samples = 0, arguments[name].shape[0]

    def run(arguments: dict[str, Any]) -> list[Tensor]:
        grads: list[Tensor] = torch.ops.regard.cpu_backward(*(arguments[name] for name in _BACKWARD))
        return grads

    return [torch._add_batch_dim(g, 0, level) for g in batched(run, samples, arguments, dims, arguments["wanted"])]


def _named(names: tuple[str, ...], values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))
