"""Linear layers with weights that are packed once, for few rows and inference on the CPU: ``cpu/native/packed.h``."""

from __future__ import annotations

import ctypes
from functools import cache
from struct import Struct
from typing import Literal, get_args

import torch
from torch import Tensor

from regard.kernels.cpu import library
from regard.kernels.cpu.call import DTYPES, LEVELS, run
from regard.kernels.memory import is_plain

Kind = Literal["float32", "bfloat16", "int8"]
"""How the numbers of a packed weight are stored."""

_KINDS = {"float32": DTYPES[torch.float32], "bfloat16": DTYPES[torch.bfloat16], "int8": 5}
_WEIGHT = Struct("5q")
_PACKING = Struct("5q")
_LINEAR = Struct("8q")
_SOURCES = (torch.float32, torch.bfloat16, torch.float16)


@cache
def _library() -> ctypes.CDLL:
    """The library, with the types of the functions that are called here."""
    loaded = library.library
    assert loaded is not None
    loaded.regard_packed_bytes.restype = ctypes.c_int64
    loaded.regard_packed_bytes.argtypes = [ctypes.c_int, *(ctypes.c_int64,) * 3, ctypes.c_int]
    for function in (loaded.regard_pack, loaded.regard_linear):
        function.restype = ctypes.c_char_p
        function.argtypes = [ctypes.c_char_p]
    return loaded


class PackedWeight:
    """A weight ``(outputs, inputs)`` in the order in which the C++ kernels read it. See `pack`.

    Attributes:
        outputs, inputs: the shape of the weight.
        kind: how its numbers are stored.
        bytes: the memory that it takes.
        fields: the numbers of ``Packed`` in ``cpu/native/args.h``, valid while this object lives.
    """

    def __init__(self, weight: Tensor, kind: Kind):
        assert library.level is not None
        self.outputs, self.inputs = weight.shape
        self.kind = kind
        self._level = LEVELS[library.level]  # the order differs from level to level
        size = (self._level, self.outputs, self.inputs, _KINDS[kind])
        self._data, self._scales = (
            torch.empty(_library().regard_packed_bytes(*size, scales), dtype=torch.uint8, device="cpu")
            for scales in (0, 1)
        )
        self.bytes = len(self._data) + len(self._scales)
        scales = self._scales.data_ptr() if kind == "int8" else 0
        self.fields = (self.outputs, self.inputs, _KINDS[kind], self._data.data_ptr(), scales)
        self._packed = _WEIGHT.pack(*self.fields)
        source = weight if weight.stride(1) == 1 else weight.contiguous()
        place = (source.data_ptr(), DTYPES[source.dtype], source.stride(0))
        run(_library().regard_pack, self._packed + _PACKING.pack(*place, torch.get_num_threads(), self._level))

    def linear(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """``x @ weight.T + bias`` of ``(..., inputs)``: ``(..., outputs)`` of the dtype of ``x``.

        It is computed in float32, whatever the dtypes of ``x`` and of the weight are. There is no gradient.

        Args:
            x: ``(..., inputs)`` with any strides.
            bias: ``(outputs,)``.

        Raises:
            ValueError: a shape does not fit, or a gradient is needed.
        """
        shape = x.shape
        if shape[-1:] != (self.inputs,):
            raise ValueError(f"linear: x has shape {tuple(shape)}, but the weight has {self.inputs} inputs")
        if bias is not None and bias.shape != (self.outputs,):
            raise ValueError(f"linear: bias has shape {tuple(bias.shape)}, but the weight has {self.outputs} outputs")
        if x.requires_grad and torch.is_grad_enabled():
            raise ValueError("linear: x requires a gradient, which a packed weight does not have: use torch.no_grad()")
        if not is_plain(x, bias):
            raise ValueError("linear: a packed weight needs ordinary tensors on the CPU, not a graph or a transform")
        rows = x if x.dtype is torch.float32 else x.float()
        if len(shape) != 2 or (rows.stride(1) != 1 and self.inputs > 1):
            rows = rows.reshape(-1, self.inputs).contiguous()
        if bias is not None and (bias.dtype is not torch.float32 or not bias.is_contiguous()):
            bias = bias.float().contiguous()
        y = torch.empty((*shape[:-1], self.outputs), dtype=torch.float32, device="cpu")
        call = _LINEAR.pack(
            rows.data_ptr(), 0 if bias is None else bias.data_ptr(), y.data_ptr(),
            rows.shape[0], rows.stride(0), self.outputs, torch.get_num_threads(), self._level,
        )  # fmt: skip
        run(_library().regard_linear, self._packed + call)
        return y if x.dtype is torch.float32 else y.to(x.dtype)

    def __repr__(self) -> str:
        return f"PackedWeight({self.outputs}, {self.inputs}, {self.kind}, {self.bytes} bytes)"


def why_not(weight: Tensor) -> str | None:
    """Why ``weight`` cannot be packed; None if it can."""
    if library.level is None:
        return library.why_none
    if not is_plain(weight):
        return f"it is not an ordinary tensor on the CPU (device {weight.device})"
    if weight.dtype not in _SOURCES:
        return f"its dtype is {str(weight.dtype).removeprefix('torch.')}, not float32, bfloat16 or float16"
    return None


def pack(weight: Tensor, kind: Kind = "float32") -> PackedWeight:
    """Pack ``weight`` for linear layers of few rows, as in decoding, where reading the weight takes the time.

    ``weight`` is copied and may change or be freed afterwards. With ``"int8"``, the numbers of each output are integers
    from -127 to 127 times a scale, so that a weight is wrong by at most half of the scale, which is the largest of the
    output's weights divided by 127.

    Args:
        weight: ``(outputs, inputs)``, float32, bfloat16 or float16, with any strides.
        kind: how the numbers are stored. The products are computed in float32 with each of them.

    Raises:
        ValueError: the weight cannot be packed, or there is no such kind.

    Example:
        >>> packed = pack(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), "bfloat16")
        >>> packed.linear(torch.tensor([[1.0, 10.0]]), bias=torch.tensor([0.0, 0.0, 1.0]))
        tensor([[21., 43., 66.]])
    """
    if kind not in get_args(Kind):
        raise ValueError(f"pack: kind is {kind!r}, expected one of {', '.join(get_args(Kind))}")
    if weight.dim() != 2:
        raise ValueError(f"pack: weight has shape {tuple(weight.shape)}, expected (outputs, inputs)")
    weight = weight.detach()
    reason = why_not(weight)
    if reason:
        raise ValueError(f"pack: the weight cannot be packed: {reason}")
    return PackedWeight(weight, kind)
