"""One query of each head and a few cached keys: ``attention``, SDPA, ONNX Runtime and ggml."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from everyday_sides import Call, UnavailableError
from everyday_table import Case

PEERS = {
    "SDPA": "everyday_decode:sdpa",
    "ONNX Attention": "everyday_decode:onnx_attention",
    "ONNX MatMul": "everyday_decode:onnx_products",
    "ggml": "everyday_ggml:flash_attention",
    "JAX": "everyday_decode:jax",
}


def cases() -> Iterator[Case]:
    for dtype in ("float32", "bfloat16"):
        sizes = [(batch, 8, 64, keys) for batch in (1, 32, 160) for keys in (1, 8, 32, 64, 128)]
        for batch, heads, width, keys in (*sizes, (160, 4, 32, 24)):  # the last one is a beam search's
            title = f"decode, batch {batch}, {heads} × {width}, {keys} {'key' if keys == 1 else 'keys'}"
            yield Case(
                title, dtype, (dtype, batch, heads, width, keys),
                bytes=2 * batch * heads * keys * width * (4 if dtype == "float32" else 2),
                tolerance=1e-4 if dtype == "float32" else 2e-2, seconds=0.02,
            )  # fmt: skip


def inputs(batch: int, heads: int, width: int, keys: int) -> list[np.ndarray]:
    """Queries ``(B, H, 1, E)``, keys and values ``(B, H, keys, E)``, float32, the same in every process."""
    random = np.random.default_rng(0)
    return [random.standard_normal((batch, heads, length, width), np.float32) for length in (1, keys, keys)]


def _tensors(dtype: str, *sizes: int) -> list[Any]:
    import torch

    torch.set_grad_enabled(False)
    return [torch.from_numpy(part).to(getattr(torch, dtype)) for part in inputs(*sizes)]


def ours(threads: int, dtype: str, *sizes: int) -> Call:
    from regard import attention

    q, k, v = _tensors(dtype, *sizes)
    return lambda: attention(q, k, v)


def sdpa(threads: int, dtype: str, *sizes: int) -> Call:
    from torch.nn.functional import scaled_dot_product_attention

    q, k, v = _tensors(dtype, *sizes)
    return lambda: scaled_dot_product_attention(q, k, v)


def jax(threads: int, dtype: str, *sizes: int) -> Call:
    """Compiled by XLA, in the layout that JAX documents, ``(B, L, H, E)``."""
    import os

    import jax
    import jax.numpy as jnp

    if threads < (os.cpu_count() or 1):
        raise UnavailableError("takes all cores")
    q, k, v = (jnp.asarray(part.swapaxes(1, 2), dtype) for part in inputs(*sizes))
    batch, heads, width, _ = sizes
    attend = jax.jit(lambda q, k, v: jax.nn.dot_product_attention(q, k, v).reshape(batch, heads, 1, width))
    return lambda: attend(q, k, v).block_until_ready()


def onnx_attention(threads: int, dtype: str, *sizes: int) -> Call:
    from onnx import helper

    return _onnx([helper.make_node("Attention", ["q", "k", "v"], ["o"])], threads, dtype, *sizes)


def onnx_products(threads: int, dtype: str, *sizes: int) -> Call:
    from onnx import helper

    nodes = [
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "kt"], ["dots"]),
        helper.make_node("Mul", ["dots", "scale"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "v"], ["o"]),
    ]
    return _onnx(nodes, threads, dtype, *sizes)


def _onnx(nodes: list[Any], threads: int, dtype: str, *sizes: int) -> Call:
    """A session whose inputs are bound once, so that nothing is copied."""
    import onnxruntime
    from onnx import TensorProto, helper

    if dtype != "float32":
        raise UnavailableError("no bfloat16 on a CPU")
    values = dict(zip("qkv", inputs(*sizes), strict=True))
    described = [helper.make_tensor_value_info(name, TensorProto.FLOAT, part.shape) for name, part in values.items()]
    output = helper.make_tensor_value_info("o", TensorProto.FLOAT, values["q"].shape)
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [sizes[2] ** -0.5])
    graph = helper.make_graph(nodes, "decode", described, [output], [scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, part in values.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(part))
    written = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros_like(values["q"]))
    binding.bind_ortvalue_output("o", written)

    def call() -> Any:
        session.run_with_iobinding(binding)
        return written

    return call
