"""The structures of ``native/step_args.h``, and the call of a decoding step."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

import torch
from torch import Tensor

from regard.kernels.cpu import library
from regard.kernels.cpu.call import LEVELS
from regard.kernels.packed import Kind, pack

RELU, GELU, GATED = range(3)
LAYER_NORM, RMS_NORM = range(2)


_WEIGHT = Struct("5q")


def _fields(integers: str = "", numbers: str = "") -> list[tuple[str, type]]:
    """Fields of eight bytes: integers and addresses, then doubles."""
    return [*((name, ctypes.c_int64) for name in integers.split()), *((n, ctypes.c_double) for n in numbers.split())]


class Product(ctypes.Structure):
    """A product with a packed weight."""

    _fields_ = _fields("outputs inputs kind data scales bias")


class Norm(ctypes.Structure):
    """A normalization."""

    _fields_ = _fields("weight bias", "eps")


_NORMS = ("attend_norm", "cross_norm", "feed_norm")
_PRODUCTS = ("joined", "attend_output", "cross_query", "cross_output", "inner", "outer")


class Layer(ctypes.Structure):
    """A layer."""

    _fields_ = [*((name, Norm) for name in _NORMS), *((name, Product) for name in _PRODUCTS)]


class Model(ctypes.Structure):
    """All layers, the embeddings and the output layer."""

    _fields_ = [
        *_fields("layers layer_count dim hidden heads key_heads width pre norm activation cross shown tokens dtype"),
        *_fields("", "embedding_scale attend_scale cross_scale"),
        *_fields("positions own other turned interleaved places ends_normed"),
        ("last", Norm),
        ("output", Product),
    ]


class Call(ctypes.Structure):
    """The rows of a step, and where its results are written."""

    _fields_ = _fields(
        "model rows tokens row embedding embedding_dtype embeddings cache slots room window slot "
        "features logits weights weights_width threads level"
    )


class EncodeCall(ctypes.Structure):
    """Tokens that go through all layers together."""

    _fields_ = _fields("model batch length ends causal x cache slots room logits threads level")


ROW = ("cached", "place", "first", "memory", "length", "room")
"""The columns of ``row``, int64 ``(rows, 6)``: the number of keys before the step, the position of the token, the first
key that is seen; the address of the source's memory, its number of keys, and of those that it has room for."""


@dataclass(frozen=True, eq=False)
class Packed:
    """A structure, and the memory that it refers to."""

    of: ctypes.Structure
    alive: tuple[object, ...]


def pack_product(weight: Tensor, bias: Tensor | None, kind: Kind) -> Packed:
    """``weight`` ``(outputs, inputs)`` and ``bias`` ``(outputs,)``."""
    packed, kept = pack(weight, kind), None if bias is None else bias.detach().float().clone()
    return Packed(Product(*_WEIGHT.unpack(packed._packed), _address(kept)), (packed, kept))


def pack_norm(weight: Tensor | None, bias: Tensor | None, eps: float) -> Packed:
    """The parameters of a normalization; None: 1 and 0."""
    kept = [None if part is None else part.detach().float().clone() for part in (weight, bias)]
    return Packed(Norm(_address(kept[0]), _address(kept[1]), eps), tuple(kept))


def pack_layers(layers: Sequence[dict[str, Packed]]) -> Packed:
    """All layers in one array, of the packed parts of each."""
    array = (Layer * len(layers))(*(Layer(**{name: part.of for name, part in one.items()}) for one in layers))
    return Packed(array, tuple(part.alive for one in layers for part in one.values()))  # type: ignore[arg-type]


def run(call: Call) -> None:
    """Compute a step; ``threads`` and ``level`` are set here.

    Raises:
        IndexError: a token has no embedding.
        MemoryError: there is none left.
    """
    if _run("regard_step", call) == b"token":
        raise IndexError(f"tokens: expected 0 to {call.embeddings - 1}, got another")


def run_together(call: EncodeCall) -> None:
    """Compute the outputs of all tokens; ``threads`` and ``level`` are set here. Raises MemoryError."""
    _run("regard_encode", call)


def _run(name: str, call: Call | EncodeCall) -> bytes | None:
    """Call a function of the library; returns the message ``b"token"``, or None."""
    assert library.library is not None
    assert library.level is not None
    function = getattr(library.library, name)
    function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    call.threads, call.level = torch.get_num_threads(), LEVELS[library.level]
    error: bytes | None = function(ctypes.addressof(call))
    if error not in (None, b"token"):
        raise MemoryError(f"regard's C++ kernels: {error.decode()}")
    return error


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
