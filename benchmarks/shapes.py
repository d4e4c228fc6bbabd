"""Models by Hugging Face of usual shapes, with random weights."""

from __future__ import annotations

from typing import Any

SHAPES: dict[str, dict[str, Any]] = {
    "BERT-base": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "vocab_size": 1000,
    },
    "Llama": {
        "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8,
        "num_key_value_heads": 4, "vocab_size": 1000,
    },
}  # fmt: skip


def build(shape: str, length: int, **settings: Any) -> Any:
    """A model of a shape that takes ``length`` tokens."""
    import transformers

    kind = "Bert" if shape.startswith("BERT") else "Llama"
    config = getattr(transformers, f"{kind}Config")(**SHAPES[shape], max_position_embeddings=length, **settings)
    return getattr(transformers, f"{kind}Model")(config).eval()
