"""The quick path to the kernels, for softmax attention without options: see ``native/quick.cpp``."""

from __future__ import annotations

import ctypes
import math
from ctypes import pythonapi as python
from typing import Any

import torch
from torch import Tensor, empty_like, get_num_threads, is_grad_enabled
from torch._C import _are_functorch_transforms_active, _is_any_autocast_enabled
from torch.autograd import forward_ad

from regard.kernels.cpu import library
from regard.kernels.cpu.autograd import backward, directly
from regard.kernels.cpu.call import LEVELS, STATS, computed_in
from regard.kernels.cpu.gradients import Saved, parts_of_queries
from regard.kernels.memory import is_plain, is_watched
from regard.kernels.plan import Plan

NO_MASK = 2**63 - 1
LAST_SEES_ALL = NO_MASK - 1
"""Values of ``causal``: no mask, and a causal mask whose last query sees the last key."""

_DONE, _UNSUPPORTED, _NO_MEMORY, _OTHER_WIDTH = range(4)


class _Python(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_void_p)
        for name in ("dlpack", "release_lock", "acquire_lock", "as_double", "as_integer", "to_integer", "error", "none")
    ]


class _Method(ctypes.Structure):
    """CPython's ``PyMethodDef``."""

    _fields_ = [("name", ctypes.c_char_p), ("call", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


_FAST_CALL = 0x80  # METH_FASTCALL


def _functions() -> tuple[_Method, Any, Any] | None:
    """The definition of the forward function, which it needs, and the functions of the library, forward and backward.

    None: this PyTorch has no table of DLPack functions.
    """
    capsule = getattr(Tensor, "__dlpack_c_exchange_api__", None)
    if capsule is None or library.library is None:
        return None
    pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", python))
    names = (
        *("PyEval_SaveThread", "PyEval_RestoreThread"),
        *("PyFloat_AsDouble", "PyLong_AsLongLong", "PyLong_FromLong", "PyErr_Occurred"),
    )
    addresses = [ctypes.cast(getattr(python, name), ctypes.c_void_p) for name in names]
    # Called with the interpreter's lock, because they read Python objects; they release it while they compute.
    loaded = ctypes.PyDLL(library.library._name)
    pointers = _Python(pointer(capsule, b"dlpack_exchange_api"), *addresses, id(None))
    if not loaded.regard_quick_begin(ctypes.byref(pointers)):
        return None
    method = _Method(b"regard_quick", ctypes.cast(loaded.regard_quick, ctypes.c_void_p), _FAST_CALL, None)
    create = ctypes.PYFUNCTYPE(ctypes.py_object, *(ctypes.c_void_p,) * 3)(("PyCFunction_NewEx", python))
    backward = loaded.regard_quick_backward
    backward.argtypes = [*(ctypes.py_object,) * 10, ctypes.c_double, *(ctypes.c_int64,) * 4]
    return method, create(ctypes.addressof(method), None, None), backward


_loaded = _functions()
if _loaded is not None:
    _method, _forward, _backward = _loaded


def attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None, causal: int = NO_MASK, lengths: Tensor | None = None
) -> Tensor | None:
    """Softmax attention; None: the call needs the general path, which also reports errors.

    Args:
        query: as in `regard.attention`; may be of any type.
        key: likewise.
        value: likewise.
        scale: factor of the scores; None: 1/√E.
        causal: query i sees the keys up to i + causal; or `NO_MASK` or `LAST_SEES_ALL`.
        lengths: the number of visible keys of each sequence, if ``causal`` is `NO_MASK`; may be of any type.
    """
    if (
        _loaded is None
        or library.level is None
        or is_watched()
        # The library detects tensors that are not CPU memory, except subclasses and lazily negated ones.
        or not type(query) is type(key) is type(value) is Tensor
        or (lengths is not None and (type(lengths) is not Tensor or lengths.is_neg()))
        or query.is_neg()
        or key.is_neg()
        or value.is_neg()
        or _is_any_autocast_enabled()
        or _are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or not (scale is None or (type(scale) is float and math.isfinite(scale)))
    ):
        return None
    factor = math.nan if scale is None else scale
    if is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad):
        if any(tensor is not None and tensor.is_nested for tensor in (query, key, value, lengths)):
            return None
        output: Tensor | None = _apply(query, key, value, lengths, factor, causal)
        return output
    return _attend(query, key, value, None, lengths, factor, causal)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, stats: Tensor | None, lengths: Tensor | None, factor: float, causal: int
) -> Tensor | None:
    assert library.level is not None
    threads, level = get_num_threads(), LEVELS[library.level]
    try:
        output = empty_like(query, memory_format=torch.contiguous_format)
        status = _forward(query, key, value, output, stats, lengths, factor, causal, threads, level)
        if status == _OTHER_WIDTH:
            output = query.new_empty((*query.shape[:-1], value.shape[-1]))
            status = _forward(query, key, value, output, stats, lengths, factor, causal, threads, level)
    except (RuntimeError, BufferError):  # a tensor without a DLPack view, such as a sparse or nested one
        return None
    return output if status == _DONE or _succeeded(status) else None


def _succeeded(status: int) -> bool:
    if status == _NO_MEMORY:
        raise MemoryError("regard's C++ kernels: out of memory")
    return status == _DONE


class _Quick(torch.autograd.Function):
    """The quick path for autograd."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: Tensor | None, factor: float, causal: int
    ) -> Tensor | None:
        *batch, queries, _ = query.shape
        stats = torch.empty((*batch, STATS, queries), dtype=computed_in(query.dtype), device="cpu")
        output = _attend(query, key, value, stats, lengths, factor, causal)
        if output is not None:
            ctx.factor, ctx.causal = factor, causal
            ctx.save_for_backward(query, key, value, output, stats, lengths)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        query, key, value, output, stats, lengths = ctx.saved_tensors
        if is_grad_enabled() or not is_plain(grad):
            return *_by_op(ctx, grad), None, None, None
        assert library.level is not None
        grads = [empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (query, key, value)]
        status = _backward(
            query, key, value, output, stats, grad, *grads, lengths, ctx.factor, ctx.causal,
            get_num_threads(), LEVELS[library.level], parts_of_queries(query.shape, key.shape),
        )  # fmt: skip
        if not _succeeded(status):
            raise RuntimeError("attention: a tensor that was saved for the backward pass has changed")
        return *grads, None, None, None


_apply = directly(_Quick)


def _by_op(ctx: Any, grad: Tensor) -> list[Tensor | None]:
    """The gradients of query, key and value with the op, which is differentiable and takes any kind of tensor."""
    *tensors, lengths = ctx.saved_tensors
    missing = (1,) * (4 - grad.dim())
    query, key, value, output, stats, grad = (t.view(missing + t.shape) for t in (*tensors, grad))
    queries, keys, end = query.shape[2], key.shape[2], None if lengths is None else lengths[:, None, None]
    if ctx.causal != NO_MASK:
        offset = keys - queries if ctx.causal == LAST_SEES_ALL else ctx.causal
        end = torch.arange(queries, device="cpu").add(offset + 1).clamp(0, keys).view(1, 1, queries)
    scale = query.shape[3] ** -0.5 if math.isnan(ctx.factor) else ctx.factor
    saved = Saved(Plan(query, key, value, scale=scale, end=end), output, stats, None)
    names = [name for name, wanted in zip(("query", "key", "value"), ctx.needs_input_grad, strict=False) if wanted]
    grads = backward(saved, grad, None, frozenset(names))
    return [grads[n].view(grads[n].shape[len(missing) :]) if n in names else None for n in ("query", "key", "value")]
