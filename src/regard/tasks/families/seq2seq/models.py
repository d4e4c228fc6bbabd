"""Makes the model from text to text that the settings describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from regard.models.encoder_decoder import EncoderDecoder
from regard.models.rnn import RNNTranslator
from regard.models.transformer import TransformerTranslator
from regard.tasks.families.seq2seq.settings import PairTaskConfig
from regard.tasks.families.seq2seq.text import EXTRA
from regard.training.defaults import known


def build(
    config: PairTaskConfig,
    *sizes: int,
    recurrent: Callable[..., EncoderDecoder] = RNNTranslator,
    transformer: Callable[..., EncoderDecoder] = TransformerTranslator,
    before: int = 0,
    **options: Any,
) -> EncoderDecoder:
    """A new model with random weights.

    Args:
        config: its settings.
        sizes: of the vocabularies of source and target, or of the one that they share.
        recurrent: makes the model of ``model.kind: gru``.
        transformer: makes that of ``model.kind: transformer``.
        before: the largest number of tokens that are read before those of a source.
        **options: further arguments of both.
    """
    model, layers = config.model, config.transformer
    if model.kind == "gru":
        return recurrent(
            *sizes, embedding=known(model.embedding), dim=known(model.dim), attention=model.attention,
            dropout=model.dropout, **options,
        )  # fmt: skip
    return transformer(
        *sizes, dim=known(model.dim), heads=layers.heads, encoder_layers=layers.encoder_layers,
        decoder_layers=layers.decoder_layers, hidden=layers.hidden, order=layers.order, positions=layers.positions,
        longest=2 * (config.data.max_length + before + 1) + EXTRA, dropout=model.dropout,
        attention_dropout=layers.attention_dropout, **options,
    )  # fmt: skip
