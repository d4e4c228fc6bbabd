"""llama.cpp, through the C interface of llama-cpp-python, with the weights of a `TransformerLM` as a GGUF file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from everyday_generation import CONTEXT, PROMPT, SIZES, model, weights
from everyday_sides import Call

_NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
"""The names of a layer's weights in transformers and in a GGUF file."""


_silent = llama_cpp.llama_log_callback(lambda *_: None)
"""Its messages are not shown."""


def greedy(threads: int, dtype: str, name: str, steps: int) -> Call:
    """Greedy decoding; the cache has the dtype of the weights."""
    llama_cpp.llama_log_set(_silent, None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        _write(path, model(name, dtype), dtype, name)
        options = llama_cpp.llama_model_default_params()
        options.use_mmap = False
        llama = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx, settings.n_threads, settings.n_threads_batch = CONTEXT, threads, threads
    kind = {"float32": llama_cpp.GGML_TYPE_F32, "bfloat16": llama_cpp.GGML_TYPE_F16}[dtype]
    settings.type_k = settings.type_v = kind  # float16 takes as many bytes as bfloat16, and is its default
    context = llama_cpp.llama_init_from_model(llama, settings)
    memory = llama_cpp.llama_get_memory(context)

    def following(tokens: list[int]) -> int:
        """The most probable token after ``tokens``, which come after those in the cache."""
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        assert llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(tokens))) == 0
        logits = llama_cpp.llama_get_logits_ith(context, -1)
        return int(np.ctypeslib.as_array(logits, (SIZES[name]["size"],)).argmax())

    def call() -> list[int]:
        llama_cpp.llama_memory_clear(memory, True)
        written = [following(list(PROMPT))]
        while len(written) < steps:
            written.append(following(written[-1:]))
        return written

    return call


def _write(path: Path, language: Any, dtype: str, name: str) -> None:
    """The GGUF file of a model without a vocabulary; llama.cpp wants vectors in float32."""
    sizes = SIZES[name]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_vocab_size(sizes["size"])
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(sizes["dim"])
    writer.add_block_count(sizes["layers"])
    writer.add_feed_forward_length(sizes["hidden"])
    writer.add_head_count(sizes["heads"])
    writer.add_head_count_kv(sizes["key_heads"])
    writer.add_rope_dimension_count(sizes["dim"] // sizes["heads"])
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(float(np.finfo(np.float32).eps))
    writer.add_tokenizer_model("no_vocab")

    def add(key: str, tensor: Any) -> None:
        numbers = tensor.detach().float().numpy()
        if dtype == "bfloat16" and numbers.ndim == 2:
            kind = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(f"{key}.weight", gguf.quants.quantize(numbers, kind), raw_dtype=kind)
        else:
            writer.add_tensor(f"{key}.weight", numbers)

    add("token_embd", language.embedding.weight)
    add("output_norm", language.norm.weight)
    for at, layer in enumerate(language.layers):
        for theirs, tensor in weights(layer).items():
            heads = {"self_attn.q_proj": sizes["heads"], "self_attn.k_proj": sizes["key_heads"]}.get(theirs)
            add(f"blk.{at}.{_NAMES[theirs]}", tensor if heads is None else _interleaved(tensor, heads))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _interleaved(weight: Any, heads: int) -> Any:
    """Rows in the order of llama.cpp's rotation, which turns adjacent features, not one of each half."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
