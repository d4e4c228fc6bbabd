"""regard's models as specifications of CTranslate2, with the same weights."""

from __future__ import annotations

from typing import Any

import torch
from ctranslate2.converters import utils
from ctranslate2.specs import common_spec, transformer_spec
from torch import Tensor, nn

from regard.data.tokenizer import BOS, EOS, UNK


def translator_spec(model: Any) -> Any:
    """A `TransformerTranslator` with shared embeddings and pre-normalization; tokens are written as numbers."""
    spec = transformer_spec.TransformerSpec.from_config(
        (len(model.encoder), len(model.decoder)), model.heads, activation=common_spec.Activation.RELU
    )
    embedding = model.target_embedding.weight
    positions = model.source_position.at(torch.arange(1024))
    spec.encoder.embeddings[0].weight = spec.decoder.embeddings.weight = _array(embedding)
    for side, layers, norm in (
        (spec.encoder, model.encoder, model.encoder_norm),
        (spec.decoder, model.decoder, model.decoder_norm),
    ):
        side.position_encodings.encodings = _array(positions)
        _norm(side.layer_norm, norm)
        for into, layer in zip(side.layer, layers, strict=True):
            _attention(into.self_attention, layer.attend, layer.around_attend.norm, joined=3)
            if layer.cross is not None:
                _attention(into.attention, layer.cross, layer.around_cross.norm, joined=2)
            _norm(into.ffn.layer_norm, layer.around_feed.norm)
            _linear(into.ffn.linear_0, layer.feed.inner)
            _linear(into.ffn.linear_1, layer.feed.outer)
    spec.decoder.projection.weight, spec.decoder.projection.bias = _array(embedding), _array(model.output_bias)
    tokens = [str(token) for token in range(len(embedding))]
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = str(BOS), str(EOS), str(UNK)
    spec.config.decoder_start_token = str(BOS)
    return spec


def language_spec(model: Any, heads: int, key_heads: int) -> Any:
    """A `TransformerLM` with rotary positions and gated feed-forward layers."""
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        len(model.layers), heads, activation=common_spec.Activation.SWISH, ffn_glu=True, rms_norm=True, rotary_dim=0,
        rotary_interleave=False, num_heads_kv=key_heads,
    )  # fmt: skip
    into = spec.decoder
    into.scale_embeddings = False
    into.embeddings.weight = into.projection.weight = _array(model.embedding.weight)
    _norm(into.layer_norm, model.norm)
    for part, layer in zip(into.layer, model.layers, strict=True):
        _attention(part.self_attention, layer.attend, layer.around_attend.norm, joined=3)
        _norm(part.ffn.layer_norm, layer.around_feed.norm)
        for linear, one in (("linear_0", "inner"), ("linear_0_noact", "gate"), ("linear_1", "outer")):
            _linear(getattr(part.ffn, linear), getattr(layer.feed, one))
    spec.register_vocabulary([str(token) for token in range(len(model.embedding.weight))])
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = str(BOS), str(EOS), str(UNK)
    spec.config.layer_norm_epsilon = torch.finfo(torch.float32).eps
    return spec


def _attention(into: Any, layer: Any, norm: nn.Module, joined: int) -> None:
    """``joined``: of the three projections, the last so many are one matrix there."""
    _norm(into.layer_norm, norm)
    projections = [layer.query, layer.key, layer.value]
    for at, one in enumerate(projections[: 3 - joined]):
        _linear(into.linear[at], one)
    parts = [common_spec.LinearSpec() for _ in range(joined)]
    for part, one in zip(parts, projections[3 - joined :], strict=True):
        _linear(part, one)
    utils.fuse_linear(into.linear[3 - joined], parts)
    _linear(into.linear[-1], layer.output)


def _linear(into: Any, layer: nn.Linear) -> None:
    into.weight = _array(layer.weight)
    if layer.bias is not None:
        into.bias = _array(layer.bias)


def _norm(into: Any, norm: Any) -> None:
    into.gamma = _array(norm.weight)
    if getattr(norm, "bias", None) is not None:
        into.beta = _array(norm.bias)


def _array(tensor: Tensor) -> Any:
    return tensor.detach().float().numpy()
