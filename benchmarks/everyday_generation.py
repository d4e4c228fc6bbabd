"""Greedy generation by a Llama-shaped model: the predictor of the task ``generate``, llama.cpp, CTranslate2 and Hugging
Face's transformers, all with the weights of a `TransformerLM`."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from everyday_sides import Call, UnavailableError
from everyday_table import Case

PEERS = {
    "llama.cpp": "everyday_llama:greedy",
    "CTranslate2": "everyday_generation:ctranslate",
    "transformers": "everyday_generation:transformers",
}
CONTEXT = 512
_LOUDER = 8.0
PROMPT = (7, 11, 13, 17)
SIZES = {
    "12 × 768": {"size": 32000, "dim": 768, "layers": 12, "heads": 12, "key_heads": 4, "hidden": 2048},
    "6 × 256": {"size": 4000, "dim": 256, "layers": 6, "heads": 8, "key_heads": 2, "hidden": 688},
}


def cases() -> Iterator[Case]:
    for name, dtype, steps, seconds in (("12 × 768", "bfloat16", 16, 1.0), ("6 × 256", "float32", 64, 0.5)):
        size, dim, layers, heads, key_heads, hidden = SIZES[name].values()
        weights = layers * (2 * dim * dim * (1 + key_heads / heads) + 3 * dim * hidden) + size * dim
        cached = layers * 2 * dim * key_heads / heads * (len(PROMPT) + steps / 2)
        yield Case(
            f"generation, {name}, {steps} tokens", dtype, (dtype, name, steps),
            bytes=(weights + cached) * (2 if dtype == "bfloat16" else 4), operations=2 * weights, seconds=seconds,
            parts=steps,
        )  # fmt: skip


@functools.cache
def model(name: str, dtype: str) -> Any:
    """A language model that writes none of the four special tokens, the same in every process."""
    import torch

    from regard.models.language import TransformerLM

    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    sizes: dict[str, Any] = SIZES[name]
    made = TransformerLM(**sizes, gated=True, context=CONTEXT)
    made.embedding.weight[:4] = 0  # a logit of 0 is never the largest
    layer: Any
    for layer in made.layers:  # as they are initialized, the layers add so little that one token is written on and on
        layer.attend.output.weight *= _LOUDER
        layer.feed.outer.weight *= _LOUDER
    return made.to(getattr(torch, dtype)).eval()


class _Numbers:
    """A tokenizer of texts that are the numbers of their tokens."""

    def encode(self, text: str) -> list[int]:
        return [int(number) for number in text.split()]

    def decode(self, tokens: list[int]) -> str:
        return "".join(f" {token}" for token in tokens)


def ours(threads: int, dtype: str, name: str, steps: int) -> Call:
    from regard.tasks.generate.task import Writer

    tokenizer: Any = _Numbers()
    predictor = Writer(model(name, dtype), tokenizer, CONTEXT)
    prompt = tokenizer.decode(list(PROMPT))

    def call() -> list[int]:
        (continued,) = predictor.predict([prompt], tokens=steps, temperature=0.0)
        return [int(token) for token in continued.text.split()[-steps:]]

    return call


def transformers(threads: int, dtype: str, name: str, steps: int) -> Call:
    import torch

    llama = hugging_face(name, dtype)
    prompt = torch.tensor([PROMPT])
    return lambda: llama.generate(prompt, max_new_tokens=steps, do_sample=False)[0, len(PROMPT) :]


def hugging_face(name: str, dtype: str) -> Any:
    """A ``LlamaForCausalLM`` with the weights of `model`."""
    import transformers

    ours, sizes = model(name, dtype), SIZES[name]
    config = transformers.LlamaConfig(
        vocab_size=sizes["size"], hidden_size=sizes["dim"], num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"], num_key_value_heads=sizes["key_heads"], intermediate_size=sizes["hidden"],
        rms_norm_eps=float(np.finfo(np.float32).eps), max_position_embeddings=CONTEXT, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    llama = transformers.LlamaForCausalLM(config).to(ours.embedding.weight.dtype).eval()
    state = {"model.embed_tokens.weight": ours.embedding.weight, "model.norm.weight": ours.norm.weight}
    for at, layer in enumerate(ours.layers):
        for theirs, weight in weights(layer).items():
            state[f"model.layers.{at}.{theirs}.weight"] = weight
    missing, unexpected = llama.load_state_dict(state, strict=False)
    assert not unexpected
    assert list(missing) == ["lm_head.weight"]  # which is the embedding
    return llama


def weights(layer: Any) -> dict[str, Any]:
    """The weights of a layer by the names that they have in transformers."""
    return {
        "input_layernorm": layer.around_attend.norm.weight,
        "post_attention_layernorm": layer.around_feed.norm.weight,
        "self_attn.q_proj": layer.attend.query.weight,
        "self_attn.k_proj": layer.attend.key.weight,
        "self_attn.v_proj": layer.attend.value.weight,
        "self_attn.o_proj": layer.attend.output.weight,
        "mlp.gate_proj": layer.feed.inner.weight,
        "mlp.up_proj": layer.feed.gate.weight,
        "mlp.down_proj": layer.feed.outer.weight,
    }


def ctranslate(threads: int, dtype: str, name: str, steps: int) -> Call:
    import ctranslate2
    from everyday_ctranslate import language_spec

    if dtype not in ctranslate2.get_supported_compute_types("cpu"):
        raise UnavailableError(f"no {dtype} on this processor")
    with tempfile.TemporaryDirectory() as folder:
        spec = language_spec(model(name, dtype), SIZES[name]["heads"], SIZES[name]["key_heads"])
        spec.validate()
        spec.optimize()
        spec.save(folder)
        generator = ctranslate2.Generator(folder, intra_threads=threads, compute_type=dtype)
    prompt = [str(token) for token in PROMPT]

    def call() -> list[int]:
        (result,) = generator.generate_batch([prompt], max_length=steps, include_prompt_in_result=False)
        return list(result.sequences_ids[0])

    return call
