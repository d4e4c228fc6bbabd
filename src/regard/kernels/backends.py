"""The backends in order of preference, the choice among them, and the one custom op that runs the chosen one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from regard.kernels import reference
from regard.kernels.plan import NormalizerKind, Plan, ScoreKind


class Statistics(Protocol):
    """Computes what a `Look` asks: see `regard.kernels.reference.statistics`."""

    def __call__(self, plan: Plan, *, top: int, rows: Tensor | None) -> dict[str, Tensor]:
        """The statistics by name."""
        ...


@dataclass(frozen=True)
class Backend:
    """One way to run a plan.

    Attributes:
        name: what a user writes in ``backend=``.
        refuse: why this backend cannot run a plan, as a sentence; None if it can.
        run: the output and, if asked for, the log-sum-exp.
        statistics: what a `Look` asks.
    """

    name: str
    refuse: Callable[[Plan], str | None]
    run: Callable[[Plan, bool], tuple[Tensor, Tensor]]
    statistics: Statistics


BACKENDS: tuple[Backend, ...] = (Backend("reference", reference.refuse, reference.run, reference.statistics),)
"""Most preferred first."""


def choose(plan: Plan, name: str | None = None, backends: tuple[Backend, ...] = BACKENDS) -> Backend:
    """The first backend that does not refuse ``plan``, or the one named, which never falls back.

    Raises:
        ValueError: no backend has that name, or every one that may run the plan refuses; the reasons are listed.
    """
    if name is not None and name not in {backend.name for backend in backends}:
        raise ValueError(f"backend: got {name!r}, expected one of {', '.join(b.name for b in backends)}, or None")
    reasons = []
    for backend in backends:
        if name in (None, backend.name):
            reason = backend.refuse(plan)
            if reason is None:
                return backend
            reasons.append(f"{backend.name}: {reason}")
    raise ValueError(f"backend: none can run this call ({'; '.join(reasons)})")


def run(plan: Plan, backend: Backend, *, lse: bool) -> tuple[Tensor, Tensor]:
    """Run ``plan`` on ``backend`` through the op, so that every graph shows one node a call."""
    output: tuple[Tensor, Tensor] = torch.ops.regard.attention(
        plan.query, plan.key, plan.value, plan.score, plan.scale, plan.vector, plan.normalizer,
        plan.start, plan.end, plan.visible, lse, backend.name,
    )  # fmt: skip
    return output


_library = torch.library.Library("regard", "DEF")
_library.define(
    "attention(Tensor query, Tensor key, Tensor value, str score, float scale, Tensor? vector, str normalizer, "
    "Tensor? start, Tensor? end, Tensor? visible, bool lse, str backend) -> (Tensor, Tensor)",
)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, score: str, scale: float, vector: Tensor | None, normalizer: str,
    start: Tensor | None, end: Tensor | None, visible: Tensor | None, lse: bool, backend: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    plan = Plan(
        query, key, value, ScoreKind(score), scale, vector, NormalizerKind(normalizer), start, end, visible
    )  # fmt: skip
    return next(b for b in BACKENDS if b.name == backend).run(plan, lse)


# Composite: the op's meta, autograd (of any order), autocast and export rules are those of what the backend is composed
# of. For the reference that is plain PyTorch; a fused backend brings opaque ops with rules of their own.
_library.impl("attention", _attention, "CompositeImplicitAutograd")
