"""Writes a plan into the bytes of ``native/args.h`` and calls the library with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from struct import Struct
from typing import Any

import torch
from torch import Tensor

from regard.kernels.cpu import library
from regard.kernels.plan import NormalizerKind, Plan, ScoreKind

DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3, torch.bool: 4, torch.int64: 1}
"""The numbers of ``native/args.h``; for integers, only the size matters."""


def _numbers(kinds: Iterable[StrEnum], function: str) -> dict[StrEnum, int]:
    """The number of each kind in the library; a kind that the library does not have is left out."""
    if library.library is None:
        return {}
    lookup = getattr(library.library, function)
    numbers = {kind: lookup(kind.value.encode()) for kind in kinds}
    return {kind: number for kind, number in numbers.items() if number >= 0}


SCORES = _numbers(ScoreKind, "regard_score")
NORMALIZERS = _numbers(NormalizerKind, "regard_normalizer")
"""The scores and normalizers that the kernels have, with their numbers in ``native/args.h``."""

FIELDS = frozenset(
    (
        *("query", "key", "value", "score", "scale", "vector", "softcap", "bias", "relative"),
        *("start", "end", "visible", "layout", "block", "causal"),
        *("normalizer", "sink", "number", "numbers", "count", "prior_mean", "prior_scale", "seed"),
        *("dropout", "dropout_seed", "rows"),
    )
)
"""The fields of a `Plan` that the kernels support, ignore (``causal`` is a hint) or refuse (``rows``)."""

LEVELS = {name: number for number, name in enumerate(library.NAMES)}
"""The number of each level in the library."""

TOP, LSE, REST, POISON, OWN, STATS = 0, 1, 2, 3, 4, 5
"""The statistics that the forward pass stores for each query: see ``native/weights.h``."""

FULL, PER_KEY, PER_QUERY, SHARED = 1, 2, 3, 4
"""How the library returns the gradient of a tensor that broadcasts to the scores."""

_HEAD = Struct("12qd26q")
_OPTIONS = Struct("4d2q7q24q12q4q")
_BACKWARD = Struct("24q5q12q2q")
_LOOK = Struct("15q")
_EXTENT = Struct("10q")

_NONE = (0,) * 6
_NO_OPTIONS = _OPTIONS.pack(0.0, 1.0, 1.0, 0.0, *(0,) * 49)
_NO_BACKWARD = _BACKWARD.pack(*_NONE * 4, 0, 1, 0, 0, 0, *_NONE * 2, 0, 0)
_NO_LOOK = bytes(_LOOK.size)
_FORWARD = _NO_BACKWARD + _NO_LOOK


def all_finite(tensor: Tensor) -> bool:
    """Whether none of ``tensor``, of four dimensions, is NaN or infinite."""
    assert library.library is not None
    packed = _EXTENT.pack(*_rows(tensor), *tensor.shape)
    return bool(library.library.regard_all_finite(packed, torch.get_num_threads()))


def computed_in(dtype: torch.dtype) -> torch.dtype:
    """The dtype of scores and sums."""
    return torch.float64 if dtype is torch.float64 else torch.float32


def strided(tensor: Tensor | None) -> tuple[int, ...]:
    """Address, dtype and four strides; a dimension of size 1 has stride 0, so that it broadcasts."""
    if tensor is None:
        return _NONE
    a, b, c, d = tensor.stride()
    e, f, g, h = tensor.shape
    return (
        address(tensor),
        DTYPES[tensor.dtype],
        a if e > 1 else 0,
        b if f > 1 else 0,
        c if g > 1 else 0,
        d if h > 1 else 0,
    )


def _bound(tensor: Tensor | None) -> tuple[int, ...]:
    """The same as `strided` for one number per query, with up to three dimensions."""
    return _NONE if tensor is None else strided(tensor.view((1,) * (3 - tensor.dim()) + (*tensor.shape, 1)))


def address(tensor: Tensor | None) -> int:
    """Where the memory of ``tensor`` begins; 0: there is no tensor, or nothing in it.

    Raises:
        RuntimeError: its memory was freed.
    """
    if tensor is None:
        return 0
    begin = tensor.data_ptr()
    if not begin and tensor.numel():
        shape = tuple(tensor.shape)
        raise RuntimeError(f"attention: the memory of a tensor of shape {shape} was freed (its storage has size 0)")
    return begin


def _rows(tensor: Tensor) -> tuple[int, ...]:
    """The same as `strided` for tensors that are never broadcast."""
    return (address(tensor), DTYPES[tensor.dtype], *tensor.stride())


class Call:
    """A plan as bytes. It keeps the converted tensors alive."""

    def __init__(self, plan: Plan, output: Tensor, stats: Tensor, extra: Tensor | None, bad: Tensor | None):
        query, key, value = plan.query, plan.key, plan.value
        batch, heads, queries, width = query.shape
        assert library.level is not None
        self.alive: tuple[object, ...] = (plan, output, stats, extra, bad)
        self.head = _HEAD.pack(
            batch, heads, key.shape[1], queries, key.shape[2], width, value.shape[3], DTYPES[query.dtype],
            SCORES[plan.score], NORMALIZERS[plan.normalizer], torch.get_num_threads(),
            LEVELS[library.level], plan.scale,
            *_rows(query), *_rows(key), *_rows(value), *_rows(output), stats.data_ptr(), 0,
        )  # fmt: skip
        self.options = _NO_OPTIONS if _is_plain(plan, extra, bad) else self._options(plan, extra, bad)

    def _options(self, plan: Plan, extra: Tensor | None, bad: Tensor | None) -> bytes:
        precise = computed_in(plan.query.dtype)

        def prepared(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.detach().to(precise).contiguous()

        vector, sink = prepared(plan.vector), prepared(plan.sink)
        numbers, relative = prepared(plan.numbers), prepared(plan.relative)
        self.alive += (vector, sink, numbers, relative)
        return _OPTIONS.pack(
            plan.softcap, plan.number, plan.prior_scale, plan.dropout, plan.count, plan.block,
            address(vector), address(sink), address(numbers),
            int(numbers is not None and len(numbers) > 1),
            address(relative),
            relative.shape[1] if relative is not None and len(relative) > 1 else 0,
            0 if relative is None else relative.shape[1],
            *strided(plan.bias), *strided(plan.prior_mean), *strided(plan.visible), *strided(plan.layout),
            *_bound(plan.start), *_bound(plan.end),
            address(plan.seed), address(plan.dropout_seed), address(bad), address(extra),
        )  # fmt: skip

    def forward(self) -> None:
        """Compute the output, the statistics and the extra."""
        assert library.library is not None
        run(library.library.regard_forward, self.head + self.options + _FORWARD)

    def backward(self, **g: Any) -> None:
        """Compute the gradients: see ``Args`` in ``native/args.h``."""
        packed = _BACKWARD.pack(
            *strided(g["output"]), *strided(g["query"]), *strided(g["key"]), *strided(g["value"]),
            address(g["extra"]), g["splits"], address(g["vector"]), address(g["relative"]), address(g["numbers"]),
            *strided(g["bias"]), *strided(g["prior_mean"]), g["bias_kind"], g["prior_kind"],
        )  # fmt: skip
        assert library.library is not None
        run(library.library.regard_backward, self.head + self.options + packed + _NO_LOOK)

    def look(self, splits: int, *fields: int) -> None:
        """Compute weights or statistics of them: ``fields`` are the last fifteen of ``Args``."""
        packed = _BACKWARD.pack(*_NONE * 4, 0, splits, 0, 0, 0, *_NONE * 2, 0, 0)
        assert library.library is not None
        run(library.library.regard_look, self.head + self.options + packed + _LOOK.pack(*fields))


def forward(plan: Plan, bad: Tensor | None, extra: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Output ``(B, H, Lq, Ev)``, statistics ``(B, H, 5, Lq)``, extra ``(B, H, Lq)`` or None."""
    batch, heads, queries, _ = plan.query.shape
    precise = computed_in(plan.query.dtype)
    output = torch.empty((batch, heads, queries, plan.value.shape[3]), dtype=plan.query.dtype, device="cpu")
    stats = torch.empty((batch, heads, STATS, queries), dtype=precise, device="cpu")
    aside = torch.empty((batch, heads, queries), dtype=precise, device="cpu") if extra else None
    Call(plan, output, stats, aside, bad).forward()
    return output, stats, aside


def _is_plain(plan: Plan, extra: Tensor | None, bad: Tensor | None) -> bool:
    return (
        plan.normalizer is NormalizerKind.SOFTMAX
        and plan.score is not ScoreKind.ADDITIVE
        and plan.bias is plan.relative is plan.start is plan.end is plan.visible is plan.layout is plan.sink is None
        and extra is bad is None
        and not plan.softcap
        and not plan.dropout
    )


def run(function: Callable[[bytes], bytes | None], packed: bytes) -> None:
    """Call the library. Raises MemoryError: an allocation failed."""
    # ctypes releases the interpreter's lock during the call.
    error = function(packed)
    if error is not None:
        raise MemoryError(f"regard's C++ kernels: {error.decode()}")


if library.library is not None and library.library.regard_args_size() != (
    _HEAD.size + _OPTIONS.size + _BACKWARD.size + _LOOK.size
):
    raise ImportError(library.OTHER_VERSION)
