"""Makes the language model that the settings describe."""

from __future__ import annotations

from regard.models.language import LanguageModel, RecurrentLM, TransformerLM
from regard.tasks.families.language.settings import LanguageConfig
from regard.training.defaults import known


def build(config: LanguageConfig, vocabulary: int) -> LanguageModel:
    """A new model with random weights, for a vocabulary of this size."""
    model = config.model
    dim, layers = known(model.dim), known(model.layers)
    if model.kind == "lstm":
        return RecurrentLM(vocabulary, dim=dim, layers=layers, attention=model.attention, dropout=model.dropout)
    hidden = model.hidden or (8 * dim // 3 // 8 * 8 if model.gated else 4 * dim)
    return TransformerLM(
        vocabulary, dim=dim, layers=layers, heads=model.heads, key_heads=model.key_heads, hidden=hidden,
        gated=model.gated, positions=model.positions, context=known(model.context), dropout=model.dropout,
    )  # fmt: skip
