"""Dropout factors of units, computed by the C++ kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from struct import Struct

import torch
from torch import Tensor

from regard.kernels.cpu import library
from regard.kernels.cpu.call import LEVELS, run
from regard.kernels.memory import is_plain

_UNITS = Struct("8q")
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def can(like: Tensor) -> bool:
    """Whether the kernels can compute factors for ``like``."""
    return library.level is not None and is_plain(like) and not torch._C._are_functorch_transforms_active()


def factors(shape: torch.Size | tuple[int, ...], p: float, dtype: torch.dtype) -> Tensor:
    """0 with probability ``p``, else ``1 / (1 - p)``; a function of a seed from PyTorch's generator.

    The bits are those of `regard.kernels.random`, with the index of the unit instead of query and key.
    """
    seed = torch.empty((), dtype=torch.int64, device="cpu").random_(-(2**63), None)
    return _factors(seed, shape, p, dtype)


def factors_in_graph(shape: torch.Size | tuple[int, ...], p: float, dtype: torch.dtype) -> Tensor:
    """The same as `factors` for a function that is compiled."""
    seed = torch.randint(-(2**63), 2**63 - 1, (), dtype=torch.int64, device="cpu")
    factors: Tensor = _as_op(seed, shape, p, dtype)
    return factors


def _factors(seed: Tensor, shape: Sequence[int], p: float, dtype: torch.dtype) -> Tensor:
    result = torch.empty(shape, dtype=dtype, device="cpu")
    keep_threshold = min(round(p * 2**32) - 2**31, 2**31 - 1)
    assert library.library is not None
    assert library.level is not None
    packed = _UNITS.pack(
        result.data_ptr(), result.numel(), dtype.itemsize, seed.item(), keep_threshold, _bits(1 / (1 - p), dtype),
        torch.get_num_threads(), LEVELS[library.level],
    )  # fmt: skip
    run(library.library.regard_drop, packed)
    return result


_as_op = torch.library.custom_op("regard::unit_factors", _factors, mutates_args=())


@_as_op.register_fake  # type: ignore[untyped-decorator]
def _shape(seed: Tensor, shape: Sequence[int], p: float, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="cpu")


@cache
def _bits(number: float, dtype: torch.dtype) -> int:
    return int(torch.tensor(number, dtype=dtype, device="cpu").view(_INTEGERS[dtype.itemsize]).item())
