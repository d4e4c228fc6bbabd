"""Makes the model from text to text that the settings describe."""

from __future__ import annotations

from regard.models.encoder_decoder import EncoderDecoder
from regard.models.rnn import RNNTranslator
from regard.models.transformer import TransformerTranslator
from regard.tasks.families.seq2seq.settings import TextToTextConfig
from regard.tasks.families.seq2seq.text import EXTRA
from regard.training.defaults import known


def build(config: TextToTextConfig, source_size: int, target_size: int) -> EncoderDecoder:
    """A new model with random weights, for vocabularies of these sizes."""
    model, layers = config.model, config.transformer
    if model.kind == "gru":
        return RNNTranslator(
            source_size, target_size, embedding=known(model.embedding), dim=known(model.dim), attention=model.attention,
            dropout=model.dropout,
        )  # fmt: skip
    return TransformerTranslator(
        source_size, target_size, dim=known(model.dim), heads=layers.heads, encoder_layers=layers.encoder_layers,
        decoder_layers=layers.decoder_layers, hidden=layers.hidden, order=layers.order, positions=layers.positions,
        longest=2 * (config.data.max_length + 1) + EXTRA, dropout=model.dropout,
        attention_dropout=layers.attention_dropout,
    )  # fmt: skip
