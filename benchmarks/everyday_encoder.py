"""BERT-base: the model of Hugging Face's transformers with regard's attention and, in float32, packed weights, beside
the same weights in OpenVINO and ONNX Runtime. bfloat16 is timed where the processor has products of it."""

from __future__ import annotations

import functools
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from everyday_sides import Call, UnavailableError
from everyday_table import Case
from shapes import SHAPES, build

from regard.kernels.cpu import library

PEERS = {
    "transformers": "everyday_encoder:transformers",
    "OpenVINO": "everyday_encoder:openvino",
    "ONNX Runtime": "everyday_encoder:onnx",
}
_LONGEST = 512


def cases() -> Iterator[Case]:
    width, hidden, layers, *_ = SHAPES["BERT-base"].values()
    weights = layers * (4 * width * width + 2 * width * hidden)
    tolerances = {"float32": 1e-3}
    if library.level in ("avx512bf16", "amx"):  # other processors have no such products, and take many seconds
        tolerances["bfloat16"] = 5e-2
    for dtype, tolerance in tolerances.items():
        for batch, length in ((1, 512), (8, 128)):
            products = 2 * weights * batch * length + 4 * layers * width * batch * length * length
            yield Case(
                f"BERT-base, {batch} × {length}", dtype, (dtype, batch, length), operations=products,
                bytes=weights * (4 if dtype == "float32" else 2), tolerance=tolerance, seconds=0.5, rounds=3,
            )  # fmt: skip


@functools.cache
def _model(dtype: str, attention: str) -> Any:
    import torch

    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore")
    return build("BERT-base", _LONGEST, attn_implementation=attention).to(getattr(torch, dtype))


def _states(model: Any) -> Any:
    """A module that takes tokens and returns the last states alone."""
    import torch

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Any) -> Any:
            return self.model(input_ids=tokens).last_hidden_state

    return States().eval()


def _tokens(batch: int, length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, SHAPES["BERT-base"]["vocab_size"], (batch, length))


def ours(threads: int, dtype: str, batch: int, length: int) -> Call:
    from regard.integrations.transformers import enable

    enable()
    return _torch(_packed() if dtype == "float32" else _model(dtype, "regard"), batch, length)


@functools.cache
def _packed() -> Any:
    from regard.nn import packed_linears

    return packed_linears(_model("float32", "regard"))


def transformers(threads: int, dtype: str, batch: int, length: int) -> Call:
    """With SDPA."""
    return _torch(_model(dtype, "sdpa"), batch, length)


def _torch(model: Any, batch: int, length: int) -> Call:
    import torch

    tokens = torch.from_numpy(_tokens(batch, length))

    def call() -> Any:
        with torch.inference_mode():
            return model(input_ids=tokens).last_hidden_state

    return call


def openvino(threads: int, dtype: str, batch: int, length: int) -> Call:
    import openvino

    core = openvino.Core()
    if dtype == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UnavailableError("no bfloat16 on this processor")
    tokens, model = _tokens(batch, length), _converted().clone()
    model.reshape([batch, length])
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": {"float32": "f32"}.get(dtype, "bf16")}
    request = core.compile_model(model, "CPU", settings | {"ENABLE_CPU_PINNING": False}).create_infer_request()
    return lambda: request.infer([tokens], share_inputs=True, share_outputs=True)[0]


def onnx(threads: int, dtype: str, batch: int, length: int) -> Call:
    """After ONNX Runtime's own fusions for BERT."""
    import onnxruntime

    if dtype == "bfloat16":
        raise UnavailableError("no bfloat16 on a CPU")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(_fused(batch, length), options, providers=["CPUExecutionProvider"])
    tokens = _tokens(batch, length)
    return lambda: session.run(None, {"ids": tokens})[0]


@functools.cache
def _converted() -> Any:
    """OpenVINO's model."""
    import openvino
    import torch

    example = torch.from_numpy(_tokens(1, _LONGEST))
    return openvino.convert_model(_states(_model("float32", "sdpa")), example_input=example)


@functools.cache
def _fused(batch: int, length: int) -> bytes:
    """The ONNX file of the model for one shape."""
    import torch
    from onnxruntime.transformers import optimizer

    sizes = SHAPES["BERT-base"]
    with tempfile.TemporaryDirectory() as folder:
        path, tokens = str(Path(folder) / "model.onnx"), torch.from_numpy(_tokens(batch, length))
        torch.onnx.export(_states(_model("float32", "eager")), (tokens,), path, input_names=["ids"], dynamo=False)
        fused = optimizer.optimize_model(
            path, "bert", num_heads=sizes["num_attention_heads"], hidden_size=sizes["hidden_size"]
        )  # fmt: skip
        file: bytes = fused.model.SerializeToString()
    return file
