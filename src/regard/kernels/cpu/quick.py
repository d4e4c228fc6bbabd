"""The short way to the kernels, for softmax attention without options or gradient: see ``native/quick.cpp``."""

from __future__ import annotations

import ctypes
import math
from ctypes import pythonapi as python

import torch
from torch import Tensor, empty_like, get_num_threads, is_autocast_enabled, is_grad_enabled

from regard.kernels.cpu import library
from regard.kernels.cpu.backend import is_plain
from regard.kernels.cpu.call import LEVELS

NO_MASK = 2**63 - 1
LAST_SEES_ALL = NO_MASK - 1
"""What stands for no mask, and for a causal one whose last query sees the last key."""

_DONE, _NOT_HERE, _NO_MEMORY = range(3)
_LEND = 5
"""Where a pointer to the function that lends a tensor is, in DLPack's table of functions, counted in pointers."""


class _Python(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("lend", "let_go", "take")]


def _functions() -> _Python | None:
    """What the library calls; None: this PyTorch does not lend tensors so."""
    capsule = getattr(Tensor, "__dlpack_c_exchange_api__", None)
    if capsule is None:
        return None
    pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", python))
    table = (ctypes.c_void_p * 7).from_address(pointer(capsule, b"dlpack_exchange_api"))
    if ctypes.c_uint32.from_buffer(table).value != 1 or not table[_LEND]:
        return None
    lock = [
        ctypes.cast(getattr(python, name), ctypes.c_void_p) for name in ("PyEval_SaveThread", "PyEval_RestoreThread")
    ]
    return _Python(table[_LEND], *lock)


_python = _functions()
_here = None
if _python is not None and library.library is not None:
    _here = ctypes.byref(_python)
    # Called with the interpreter's lock held, for it reads Python's objects; it lets go by itself.
    _quick = ctypes.PyDLL(library.library._name).regard_quick
    _quick.argtypes = [
        ctypes.POINTER(_Python), *(ctypes.py_object,) * 4, ctypes.c_double, *(ctypes.c_int64,) * 3,
    ]  # fmt: skip


def attention(query: Tensor, key: Tensor, value: Tensor, scale: float | None, causal: int) -> Tensor | None:
    """Softmax attention; None: this call must take the long way, which also says what may be wrong with it.

    Args:
        query: as in `regard.attention`; not known to be a tensor.
        key: likewise.
        value: likewise.
        scale: factor on the scores; None: one over the root of the width.
        causal: query i sees the keys up to i + causal; `NO_MASK`; `LAST_SEES_ALL`.
    """
    if (
        _here is None
        or library.level is None
        or not (type(query) is type(key) is type(value) is Tensor and is_plain(query))
        or (is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad))
        or not (query.is_cpu and query.dim() and value.dim())
        or is_autocast_enabled("cpu")
        or torch._C._are_functorch_transforms_active()
        or not (scale is None or (type(scale) is float and math.isfinite(scale)))
    ):
        return None
    width = value.shape[-1]
    if width == query.shape[-1]:
        output = empty_like(query, memory_format=torch.contiguous_format)
    else:
        output = query.new_empty((*query.shape[:-1], width))
    factor, threads = math.nan if scale is None else scale, get_num_threads()
    try:
        done = _quick(_here, query, key, value, output, factor, causal, threads, LEVELS[library.level])
    except (RuntimeError, BufferError):  # a tensor that cannot be lent
        return None
    if done == _NO_MEMORY:
        raise MemoryError("regard's C++ kernels: out of memory")
    return output if done == _DONE else None
