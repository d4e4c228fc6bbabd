"""The backends in order of preference, the choice among them, and the one custom op that runs the chosen one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from regard.kernels import reference, sdpa
from regard.kernels.cpu import backend as cpu
from regard.kernels.cpu import looking
from regard.kernels.cpu import quick as cpu_quick
from regard.kernels.plan import NormalizerKind, OwnPlan, Plan, ScoreKind
from regard.kernels.statistics import Asked, statistics, tile


@dataclass(frozen=True)
class Backend:
    """One way to run a plan.

    Attributes:
        name: what a user writes in ``backend=``.
        what: what it is, in a few words.
        refuse: why this backend cannot run a plan, as a sentence; None if it can.
        run: the output and, if asked for, log-sum-exp and the normalizer's extra: see `regard.kernels.reference.run`.
        statistics: what a `Look` asks: see `regard.kernels.statistics.statistics`.
        tile: exact weights of some queries for some keys: see `regard.kernels.statistics.tile`.
        looks_by_lse: whether both of these use the forward's log-sum-exp, which costs nothing then.
    """

    name: str
    what: str
    refuse: Callable[[Plan], str | None]
    run: Callable[[Plan, bool, bool], tuple[Tensor, Tensor, Tensor]]
    statistics: Callable[[Plan, Asked, Tensor | None], dict[str, Tensor]] = statistics
    tile: Callable[[Plan, Tensor, Tensor, Tensor | None], Tensor] = tile
    looks_by_lse: bool = False


BACKENDS: tuple[Backend, ...] = (
    Backend("cpu", "regard's C++ kernels", cpu.refuse, cpu.run, looking.statistics, looking.tile, looks_by_lse=True),
    Backend("torch", "PyTorch's fused scaled_dot_product_attention", sdpa.refuse, sdpa.run),
    Backend("reference", "plain PyTorch, the definition; computes everything", reference.refuse, reference.run),
)
"""Most preferred first."""

_pinned: list[str] = []
"""Names pinned by `use_backend`, the innermost last."""


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every call inside on the backend ``name``, which then never falls back; for the whole process.

    A call's own ``backend=`` counts more; the environment variable ``REGARD_BACKEND`` counts less.

    Raises:
        ValueError: no backend has that name.
    """
    _known(name, BACKENDS, "use_backend")
    _pinned.append(name)
    try:
        yield
    finally:
        _pinned.pop()


def pinned() -> tuple[str, str] | None:
    """The backend that is pinned, if one is, and what pins it: ``use_backend`` or the environment."""
    if _pinned:
        return _pinned[-1], "use_backend"
    name = os.environ.get("REGARD_BACKEND")
    return (name, "REGARD_BACKEND") if name else None


def choose(plan: Plan, name: str | None = None, backends: tuple[Backend, ...] = BACKENDS) -> Backend:
    """The first backend that does not refuse ``plan``, or the one named or pinned, which never falls back.

    Raises:
        ValueError: no backend has that name, or every one that may run the plan refuses; the reasons are listed.
    """
    source = "backend"
    if name is None and (found := pinned()) is not None:
        name, source = found
    if name is not None:
        _known(name, backends, source)
    reasons = []
    for backend in backends:
        if name in (None, backend.name):
            reason = backend.refuse(plan)
            if reason is None:
                return backend
            reasons.append(f"{backend.name}: {reason}")
    raise ValueError(f"{source}: none can run this call ({'; '.join(reasons)})")


def _known(name: str, backends: tuple[Backend, ...], source: str) -> None:
    names = [backend.name for backend in backends]
    if name not in names:
        raise ValueError(f"{source}: got {name!r}, expected one of {', '.join(names)}, or None")


def run(plan: Plan, backend: Backend, *, lse: bool, extra: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Run ``plan`` on ``backend`` through the op, so that every graph shows one node a call."""
    if backend.run is cpu.run and cpu.can_read(plan):
        return cpu.run_plain(plan, lse, extra)  # no graph to be seen in, and the op takes twice as long as a small call
    if isinstance(plan, OwnPlan) or torch._C._are_functorch_transforms_active():
        return backend.run(plan, lse, extra)  # neither a function nor torch.func goes through the op
    arguments = [getattr(plan, name) for name in _FIELDS]
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.regard.attention(*arguments, lse, extra, backend.name)
    return found


NO_MASK, LAST_SEES_ALL = cpu_quick.NO_MASK, cpu_quick.LAST_SEES_ALL
"""What `quick` takes for no mask, and for a causal one whose last query sees the last key."""


def quick(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None, causal: int, lengths: Tensor | None
) -> Tensor | None:
    """Softmax attention without options by the preferred backend, if it has a short way: see `cpu.quick.attention`."""
    return None if pinned() is not None else cpu_quick.attention(query, key, value, scale, causal, lengths)


_FIELDS = tuple(field.name for field in fields(Plan))
_SCHEMA_TYPES = {"Tensor | None": "Tensor?", "int | None": "SymInt?", "ScoreKind": "str", "NormalizerKind": "str"}

_library = torch.library.Library("regard", "DEF")
_library.define(
    "attention({}, bool lse, bool extra, str backend) -> (Tensor, Tensor, Tensor)".format(
        # The plan's annotations are text, so its fields are the op's schema.
        ", ".join(f"{_SCHEMA_TYPES.get(str(field.type), field.type)} {field.name}" for field in fields(Plan))
    )
)


def _attention(*arguments: object) -> tuple[Tensor, Tensor, Tensor]:
    *values, lse, extra, backend = arguments
    flat: dict[str, Any] = dict(zip(_FIELDS, values, strict=True))
    flat |= {"score": ScoreKind(flat["score"]), "normalizer": NormalizerKind(flat["normalizer"])}
    return next(b for b in BACKENDS if b.name == backend).run(Plan(**flat), bool(lse), bool(extra))


# Composite: the op's meta, autograd (of any order), autocast and export rules are those of what the backend is composed
# of. For the reference that is plain PyTorch; a fused backend brings opaque ops with rules of their own.
_library.impl("attention", _attention, "CompositeImplicitAutograd")
