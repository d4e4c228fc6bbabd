"""The kernels as two opaque ops, ``regard::cpu_forward`` and ``regard::cpu_backward``, which graphs can contain.

Outside of graphs, `regard.kernels.cpu.autograd` calls the kernels without them, which halves the time of a small call.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from regard.kernels.cpu.call import STATS, computed_in, forward
from regard.kernels.cpu.gradients import Saved, gradients
from regard.kernels.plan import NormalizerKind, Plan, ScoreKind

PLAN_FIELDS = tuple(field.name for field in fields(Plan))
"""The first arguments of both ops, in order."""

plan_values = attrgetter(*PLAN_FIELDS)
"""The values of these fields of a plan."""


def _schema() -> str:
    types = {"Tensor | None": "Tensor?", "int | None": "SymInt?", "ScoreKind": "str", "NormalizerKind": "str"}
    return ", ".join(f"{types.get(str(f.type), f.type)} {f.name}" for f in fields(Plan))


def plan_of(values: tuple[Any, ...]) -> Plan:
    """The plan with the values of `PLAN_FIELDS`, in the order of an op's arguments."""
    flat = dict(zip(PLAN_FIELDS, values, strict=True))
    return Plan(**flat | {"score": ScoreKind(flat["score"]), "normalizer": NormalizerKind(flat["normalizer"])})


library = torch.library.Library("regard", "FRAGMENT")
library.define(f"cpu_forward({_schema()}, Tensor? bad, bool extra) -> (Tensor, Tensor, Tensor)")
library.define(
    f"cpu_backward({_schema()}, Tensor output, Tensor stats, Tensor? bad, "
    "Tensor grad, Tensor? grad_extra, str[] wanted) -> Tensor[]"
)


@torch.library.impl(library, "cpu_forward", "CPU")
def _forward_op(*values: Any) -> tuple[Tensor, Tensor, Tensor]:
    *plan, bad, extra = values
    output, stats, aside = forward(plan_of(tuple(plan)), bad, extra)
    return output, stats, stats.new_empty(0) if aside is None else aside


@torch.library.register_fake("regard::cpu_forward", lib=library)  # type: ignore[untyped-decorator]
def _forward_fake(*values: Any) -> tuple[Tensor, Tensor, Tensor]:
    plan, extra = plan_of(values[:-2]), values[-1]
    batch, heads, queries, _ = plan.query.shape
    precise = computed_in(plan.query.dtype)
    output = plan.query.new_empty((batch, heads, queries, plan.value.shape[3]))
    stats = plan.query.new_empty((batch, heads, STATS, queries), dtype=precise)
    return output, stats, plan.query.new_empty((batch, heads, queries) if extra else (0,), dtype=precise)


@torch.library.impl(library, "cpu_backward", "CPU")
def _backward_op(*values: Any) -> list[Tensor]:
    *plan, output, stats, bad, grad, grad_extra, wanted = values
    grads = gradients(Saved(plan_of(tuple(plan)), output, stats, bad), grad, grad_extra, frozenset(wanted))
    return [grads[name] for name in wanted]


@torch.library.register_fake("regard::cpu_backward", lib=library)  # type: ignore[untyped-decorator]
def _backward_fake(*values: Any) -> list[Tensor]:
    plan, wanted = plan_of(values[:-6]), values[-1]
    return [torch.empty_like(getattr(plan, name), memory_format=torch.contiguous_format) for name in wanted]
