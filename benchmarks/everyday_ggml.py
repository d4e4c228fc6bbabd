"""ggml's attention, from the C library that llama-cpp-python brings along."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
from everyday_sides import Call

_FLOAT32, _BFLOAT16 = 0, 30


class _Memory(ctypes.Structure):
    _fields_ = (("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


class _Pool(ctypes.Structure):
    _fields_ = (
        ("mask", ctypes.c_bool * 512), ("threads", ctypes.c_int), ("priority", ctypes.c_int),
        ("poll", ctypes.c_uint32), ("strict", ctypes.c_bool), ("paused", ctypes.c_bool),
    )  # fmt: skip


class _Plan(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t), ("work", ctypes.c_void_p), ("threads", ctypes.c_int), ("pool", ctypes.c_void_p),
        ("abort", ctypes.c_void_p), ("abort_data", ctypes.c_void_p), ("reference", ctypes.c_bool),
    )  # fmt: skip


def flash_attention(threads: int, dtype: str, *sizes: int) -> Call:
    """``ggml_flash_attn_ext`` with a cache in float32 or bfloat16; queries and output are float32."""
    return _attention(_FLOAT32 if dtype == "float32" else _BFLOAT16, threads, *sizes)


def _attention(kind: int, threads: int, *sizes: int) -> Call:
    from everyday_decode import inputs

    ggml = _libraries()
    arrays = inputs(*sizes)
    room = 2 * sum(array.nbytes for array in arrays) + (64 << 20)
    context = ggml.ggml_init(_Memory(room, None, False))
    tensors = [
        _tensor(ggml, context, array, number) for array, number in zip(arrays, (_FLOAT32, kind, kind), strict=True)
    ]
    output = ggml.ggml_flash_attn_ext(context, *tensors, None, sizes[2] ** -0.5, 0.0, 0.0)
    graph = ggml.ggml_new_graph(context)
    ggml.ggml_build_forward_expand(graph, output)
    pool = ggml.ggml_threadpool_new(ctypes.byref(ggml.ggml_threadpool_params_default(threads)))
    plan = ggml.ggml_graph_plan(graph, threads, pool)
    work = ctypes.create_string_buffer(max(1, plan.size))
    plan.work = ctypes.addressof(work)
    shape = arrays[0].shape
    pointer = ctypes.cast(ggml.ggml_get_data(output), ctypes.POINTER(ctypes.c_float))
    result = np.ctypeslib.as_array(pointer, shape)  # (B, 1, H, E), which is (B, H, 1, E) in memory

    def call() -> Any:
        assert work is not None  # it must live as long as the plan
        ggml.ggml_graph_compute(graph, ctypes.byref(plan))
        return result

    return call


def _tensor(ggml: Any, context: int, array: np.ndarray, kind: int) -> int:
    """A tensor with the numbers of a float32 array."""
    tensor: int = ggml.ggml_new_tensor_4d(context, kind, *reversed(array.shape))
    if kind == _BFLOAT16:
        import torch

        array = torch.from_numpy(array).bfloat16().view(torch.int16).numpy()
    ctypes.memmove(ggml.ggml_get_data(tensor), array.ctypes.data, array.nbytes)
    return tensor


class _Functions:
    """The functions of several libraries, with the types of those that are used here."""

    def __init__(self, libraries: list[ctypes.CDLL]):
        pointer, number, long = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
        real = ctypes.c_float
        for name, result, arguments in (
            ("ggml_init", pointer, [_Memory]),
            ("ggml_new_tensor_4d", pointer, [pointer, number, long, long, long, long]),
            ("ggml_get_data", pointer, [pointer]),
            ("ggml_flash_attn_ext", pointer, [pointer, pointer, pointer, pointer, pointer, real, real, real]),
            ("ggml_new_graph", pointer, [pointer]),
            ("ggml_build_forward_expand", None, [pointer, pointer]),
            ("ggml_threadpool_params_default", _Pool, [number]),
            ("ggml_threadpool_new", pointer, [pointer]),
            ("ggml_graph_plan", _Plan, [pointer, number, pointer]),
            ("ggml_graph_compute", number, [pointer, pointer]),
        ):
            function = next(getattr(library, name) for library in libraries if hasattr(library, name))
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)


def _libraries() -> Any:
    import llama_cpp

    folder = Path(llama_cpp.__file__).parent / "lib"
    libraries = [ctypes.CDLL(str(next(folder.glob(f"lib{name}.so*")))) for name in ("ggml-base", "ggml-cpu")]
    libraries[1].ggml_cpu_init()
    return _Functions(libraries)
