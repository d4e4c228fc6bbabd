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
from regard.kernels.statistics import Request, statistics, tile


@dataclass(frozen=True)
class Backend:
    """An implementation that can run plans.

    Attributes:
        name: the value of ``backend=``.
        what: a description in a few words.
        refuse: returns why this backend cannot run a plan, as a sentence; None if it can.
        run: computes the output and, if requested, the log-sum-exp and the normalizer's extra result: see
            `regard.kernels.reference.run`.
        statistics: computes what a `Look` requests: see `regard.kernels.statistics.statistics`.
        tile: computes exact weights of some queries for some keys: see `regard.kernels.statistics.tile`.
        looks_by_lse: whether ``statistics`` and ``tile`` use the log-sum-exp, which this backend computes anyway.
    """

    name: str
    what: str
    refuse: Callable[[Plan], str | None]
    run: Callable[[Plan, bool, bool], tuple[Tensor, Tensor, Tensor]]
    statistics: Callable[[Plan, Request, Tensor | None], dict[str, Tensor]] = statistics
    tile: Callable[[Plan, Tensor, Tensor, Tensor | None], Tensor] = tile
    looks_by_lse: bool = False


BACKENDS: tuple[Backend, ...] = (
    Backend("cpu", "regard's C++ kernels", cpu.refuse, cpu.run, looking.statistics, looking.tile, looks_by_lse=True),
    Backend("torch", "PyTorch's fused scaled_dot_product_attention", sdpa.refuse, sdpa.run),
    Backend("reference", "plain PyTorch, the definition; runs every call", reference.refuse, reference.run),
)
"""In order of preference."""

_pinned: list[str] = []
"""Names pinned by `use_backend`, the innermost last."""


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every call inside on the backend ``name``, which then never falls back; for the whole process.

    ``backend=`` of a call takes precedence over it, and it takes precedence over the environment variable
    ``REGARD_BACKEND``.

    Raises:
        ValueError: no backend has that name.

    Example:
        >>> from regard import attention
        >>> query = torch.randn(4, 8)
        >>> with use_backend("reference"):
        ...     output = attention(query, query, query)
        >>> torch.allclose(output, attention(query, query, query), atol=1e-6)
        True
    """
    _known(name, BACKENDS, "use_backend")
    _pinned.append(name)
    try:
        yield
    finally:
        _pinned.pop()


def pinned() -> tuple[str, str] | None:
    """The pinned backend, if any, and what pinned it: ``use_backend`` or ``REGARD_BACKEND``."""
    if _pinned:
        return _pinned[-1], "use_backend"
    name = os.environ.get("REGARD_BACKEND")
    return (name, "REGARD_BACKEND") if name else None


def choose(plan: Plan, name: str | None = None, backends: tuple[Backend, ...] = BACKENDS) -> Backend:
    """The first backend that does not refuse ``plan``, or the named or pinned one, without a fallback.

    Raises:
        ValueError: no backend has that name, or all backends (or the named one) refuse; the reasons are listed.
    """
    source = "backend"
    if name is None and (pin := pinned()) is not None:
        name, source = pin
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
    """Run ``plan`` on ``backend`` through the op, so that a graph has one node for each call."""
    if backend.run is cpu.run and cpu.can_read(plan):
        return cpu.run_plain(plan, lse, extra)  # not in a graph; the op would double the time of a small call
    if isinstance(plan, OwnPlan) or torch._C._are_functorch_transforms_active():
        return backend.run(plan, lse, extra)  # neither a function nor torch.func goes through the op
    arguments = [getattr(plan, name) for name in _FIELDS]
    results: tuple[Tensor, Tensor, Tensor] = torch.ops.regard.attention(*arguments, lse, extra, backend.name)
    return results


NO_MASK, LAST_SEES_ALL = cpu_quick.NO_MASK, cpu_quick.LAST_SEES_ALL
"""Values of `quick`'s ``causal``: no mask, and a causal mask whose last query sees the last key."""


def quick(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None, causal: int, lengths: Tensor | None
) -> Tensor | None:
    """Softmax attention without options on the quick path of the preferred backend: see `cpu.quick.attention`.

    The quick path itself reads ``REGARD_BACKEND``.
    """
    return None if _pinned else cpu_quick.attention(query, key, value, scale, causal, lengths)


_FIELDS = tuple(field.name for field in fields(Plan))
_SCHEMA_TYPES = {"Tensor | None": "Tensor?", "int | None": "SymInt?", "ScoreKind": "str", "NormalizerKind": "str"}

_library = torch.library.Library("regard", "DEF")
_library.define(
    "attention({}, bool lse, bool extra, str backend) -> (Tensor, Tensor, Tensor)".format(
        # Annotations of the plan are strings, so the fields give the schema.
        ", ".join(f"{_SCHEMA_TYPES.get(str(field.type), field.type)} {field.name}" for field in fields(Plan))
    )
)


def _attention(*arguments: object) -> tuple[Tensor, Tensor, Tensor]:
    *values, lse, extra, backend = arguments
    flat: dict[str, Any] = dict(zip(_FIELDS, values, strict=True))
    flat |= {"score": ScoreKind(flat["score"]), "normalizer": NormalizerKind(flat["normalizer"])}
    return next(b for b in BACKENDS if b.name == backend).run(Plan(**flat), bool(lse), bool(extra))


# Composite: the rules for meta tensors, autograd (of any order), autocast and export are those of the operations that
# the backend calls. For the reference, these are plain PyTorch; a fused backend has opaque ops with rules of their own.
_library.impl("attention", _attention, "CompositeImplicitAutograd")
