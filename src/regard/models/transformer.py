"""The Transformer of Vaswani et al. 2017 (arXiv:1706.03762) as a translator.

Normalization before each sublayer (Xiong et al. 2020, arXiv:2002.04745) or after it, as in the paper; sinusoidal,
learned or rotary positions; the output layer's weights are the target's embeddings (Press and Wolf 2017,
arXiv:1608.05859).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Causal, Lengths, Look
from regard.decode import Step, select
from regard.kernels.packed import Kind
from regard.models.encoder_decoder import EncoderDecoder
from regard.models.layers import NormOrder, TransformerLayer
from regard.models.masked import TokenEncoder
from regard.models.native_encoder import encoded
from regard.models.native_step import NativeState, begin
from regard.models.packed_decoder import Stack
from regard.nn import (
    Dropout,
    FeedForward,
    KVCache,
    LearnedPositions,
    MultiHeadAttention,
    Rotary,
    SinusoidalPositions,
    linear_cross_entropy,
    multihead,
)

PositionKind = Literal["sinusoidal", "learned", "rotary"]

_ROOM = 32
"""The number of steps for which a cache has memory at first; it grows by doubling."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Encoded sentences.

    Attributes:
        layers: the keys and values of each decoder layer, without those that a `NativeState` has.
        lengths: int64 ``(rows,)``, of the sources.
        source: int64 ``(rows,)``: the number of the encoded sentence that a row belongs to.
    """

    layers: Sequence[multihead.Memory]
    lengths: Tensor
    source: Tensor

    def select(self, rows: Tensor) -> Encoded:
        """Some of its rows; itself if every row keeps its sentence, as in most steps of a beam search."""
        source = self.source.index_select(0, rows)
        if torch.equal(source, self.source):
            return self
        return Encoded(select(list(self.layers), rows), self.lengths.index_select(0, rows), source)


class DecoderState(NamedTuple):
    """The state of the decoder: the memory, and each layer's cache of the target so far."""

    encoded: Encoded
    caches: list[KVCache] | NativeState


class TransformerTranslator(EncoderDecoder):
    """Encoder and decoder.

    Attributes:
        weights: how decoding on a CPU stores the decoder's weights; see `regard.kernels.packed.pack`.
        compiled_method: what training compiles. Graphs are faster for lengths that are those of an input than for those
            less by one, as of the target without its last token.

    Args:
        source_size: number of source tokens.
        target_size: number of target tokens.
        dim: width of the features.
        heads: of every attention; ``dim`` must be a multiple of them.
        encoder_layers: the number of encoder layers.
        decoder_layers: the number of decoder layers.
        hidden: width of the hidden features in the feed-forward layers.
        order: ``"pre"`` or ``"post"``: normalization before each sublayer or after it.
        positions: how positions are encoded.
        longest: the number of positions, if they are learned.
        dropout: on embeddings and on the output of each sublayer.
        attention_dropout: on attention weights and hidden features.
        shared: whether source and target have the same tokens and the same embeddings.

    Raises:
        ValueError: the sizes do not fit each other, or a probability is not in [0, 1).
    """

    weights: Kind = "float32"
    compiled_method = "loss"

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        dim: int = 256,
        heads: int = 4,
        encoder_layers: int = 3,
        decoder_layers: int = 3,
        hidden: int = 1024,
        order: NormOrder = "pre",
        positions: PositionKind = "sinusoidal",
        longest: int = 1024,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        shared: bool = False,
    ):
        super().__init__()
        if min(encoder_layers, decoder_layers) < 1:
            raise ValueError(
                f"encoder_layers, decoder_layers: must be positive, got {encoder_layers}, {decoder_layers}"
            )
        if min(dim, heads) < 1 or dim % heads:
            raise ValueError(f"dim: must be a positive multiple of heads, {heads}, got {dim}")
        for name, share in (("dropout", dropout), ("attention_dropout", attention_dropout)):
            if not 0 <= share < 1:
                raise ValueError(f"{name}: must be at least 0 and below 1, got {share}")
        self.source_embedding = None if shared else nn.Embedding(source_size, dim)
        self.target_embedding = nn.Embedding(target_size, dim)
        for embedding in (self.source_embedding, self.target_embedding):
            if embedding is not None:
                nn.init.normal_(embedding.weight, std=dim**-0.5)
        self.source_position, self.target_position = (_positions(positions, dim, longest) for _ in range(2))
        self.longest = longest if positions == "learned" else None
        turn = Rotary(dim // heads) if positions == "rotary" else None

        def attention(position: Rotary | None) -> MultiHeadAttention:
            return MultiHeadAttention(dim, heads, position=position, dropout=attention_dropout)

        def layer(cross: bool) -> TransformerLayer:
            feed = FeedForward(dim, hidden, dropout=attention_dropout)
            return TransformerLayer(
                attention(turn), feed, lambda: nn.LayerNorm(dim), cross=attention(None) if cross else None, order=order,
                dropout=dropout,
            )  # fmt: skip

        self.encoder = nn.ModuleList(layer(False) for _ in range(encoder_layers))
        self.decoder = nn.ModuleList(layer(True) for _ in range(decoder_layers))
        last = nn.LayerNorm if order == "pre" else nn.Identity
        self.encoder_norm, self.decoder_norm = last(dim), last(dim)
        self.output_bias = nn.Parameter(torch.zeros(target_size))
        self.dropout = Dropout(dropout)
        self.scale, self.heads = dim**0.5, heads

    def encode(self, source: Tensor, lengths: Tensor) -> Encoded:
        """Encode a padded batch: ``source`` int64 ``(B, Ls)``, ``lengths`` int64 ``(B,)``."""
        features = self.states(source, lengths)
        return Encoded(self.memories(features), lengths, torch.arange(source.shape[0], device=source.device))

    def token_encoder(self) -> TokenEncoder:
        """The embedding and the encoder of the source, to be pretrained: it takes what `states` does."""
        name = "target_embedding" if self.source_embedding is None else "source_embedding"
        names = (name, "source_position", "encoder", "encoder_norm", "dropout")
        width = self.target_embedding.embedding_dim
        return TokenEncoder(self.states, width, name, **{one: self.get_submodule(one) for one in names})

    def states(self, source: Tensor, lengths: Tensor) -> Tensor:
        """The encoder's outputs ``(B, Ls, dim)``; arguments as in `encode`."""
        embedding = self.source_embedding or self.target_embedding
        x = self.dropout(self.source_position(embedding(source) * self.scale))
        at_once = encoded(self.encoder, self.encoder_norm, x, lengths, self.weights)
        if at_once is not None:
            return at_once
        for layer in self.encoder:
            x, _ = layer(x, Lengths(lengths))
        states: Tensor = self.encoder_norm(x)
        return states

    def memories(self, features: Tensor) -> list[multihead.Memory]:
        """Keys and values of the cross-attention of each decoder layer, of the encoder's output ``(B, Ls, dim)``."""
        return [_cross(layer).project(features) for layer in self.decoder]

    def start(self, source: Tensor, lengths: Tensor) -> DecoderState:
        """The decoder's state before the first token; arguments as in `encode`."""
        encoded, count = self.encode(source, lengths), len(self.decoder)
        state = begin(self._stack(), encoded.layers[:count], lengths, _ROOM)
        if state is not None:
            return DecoderState(replace(encoded, layers=encoded.layers[count:]), state)
        return DecoderState(encoded, [KVCache(_ROOM) for _ in self.decoder])

    def step(self, tokens: Tensor, state: DecoderState) -> Step:
        """One step of decoding, `regard.decode.StepFunction`: ``tokens`` int64 ``(B,)``.

        The weights are those of the last layer but one, averaged over its heads: of all layers, they are closest to a
        word alignment (Garg et al. 2019, arXiv:1909.02074).
        """
        if isinstance(state.caches, NativeState):
            logits, weights = state.caches.step(tokens)
            return Step(logits, state, weights)
        features, weights = self._write(tokens[:, None], state.encoded, state.caches)
        return Step(self._logits(features[:, 0]), state, weights)

    def forward(
        self, source: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor, smoothing: float = 0.0
    ) -> Tensor:
        """The summed cross-entropy of the target tokens, each given all before it (teacher forcing).

        Args:
            source: int64 ``(B, Ls)``, padded.
            lengths: int64 ``(B,)``.
            target: int64 ``(B, Lt + 1)``, BOS, the tokens and EOS, padded.
            target_lengths: int64 ``(B,)``, including BOS.
            smoothing: label smoothing.
        """
        return self.loss(source, lengths, *_taught(target, target_lengths), smoothing)

    def loss(self, source: Tensor, lengths: Tensor, inputs: Tensor, wanted: Tensor, smoothing: float = 0.0) -> Tensor:
        """As `forward`, with the tokens after which a token is predicted and these, int64 ``(B, Lt)``; −1: none is."""
        features, _ = self._write(inputs, self.encode(source, lengths), None)
        weight, bias = self.target_embedding.weight, self.output_bias
        return linear_cross_entropy(features.flatten(0, 1), weight, bias, wanted.flatten(), smoothing)

    def logits(self, source: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor) -> Tensor:
        """Logits of each target token given all before it, row by row, padding left out; arguments as in `forward`."""
        inputs, wanted = _taught(target, target_lengths)
        features, _ = self._write(inputs, self.encode(source, lengths), None)
        return self._logits(features[wanted >= 0])

    def following(self, source: Tensor, lengths: Tensor, written: Tensor) -> Tensor:
        """Logits ``(B, Lt, target_size)`` of the token after each token of ``written`` int64 ``(B, Lt)``, BOS first;
        the others as in `encode`. For decoding without a state: those of the last position are for the next token."""
        features, _ = self._write(written, self.encode(source, lengths), None)
        return self._logits(features)

    def _stack(self) -> Stack:
        """What a step of decoding consists of."""
        positions = None if isinstance(self.target_position, _NoPositions) else self.target_position
        return Stack(
            self.target_embedding.weight, self.scale, positions, self.decoder, self.decoder_norm, self.output_bias,
            shown=self._shown, kind=self.weights,
        )  # fmt: skip

    @property
    def _shown(self) -> int:
        """The decoder layer whose attention is reported: see `step`."""
        return max(0, len(self.decoder) - 2)

    def _logits(self, features: Tensor) -> Tensor:
        return F.linear(features, self.target_embedding.weight, self.output_bias)

    def _write(
        self, tokens: Tensor, encoded: Encoded, caches: list[KVCache] | NativeState | None
    ) -> tuple[Tensor, Tensor | None]:
        """The decoder over ``tokens`` ``(B, Lt)``; with caches, after the tokens in them, and with its weights."""
        if isinstance(caches, NativeState):
            known = type(self.target_embedding) is nn.Embedding
            vectors = None if known else self.target_embedding(tokens[:, 0])
            features, weights = caches.step(tokens[:, 0], vectors, logits=False)
            return features[:, None], weights
        start = caches[0].position if caches is not None else 0
        x = self.dropout(self.target_position(self.target_embedding(tokens) * self.scale, start))
        weights = None
        for at, layer in enumerate(self.decoder):
            look = Look(rows=slice(None)) if caches is not None and at == self._shown else None
            # The causal mask also hides the padding, which is after the last token of each row.
            x, view = layer(
                x, Causal(), memory=encoded.layers[at], memory_mask=Lengths(encoded.lengths), look=look,
                cache=None if caches is None else caches[at],
            )  # fmt: skip
            if view is not None:
                weights = view.rows[:, :, 0].mean(1)
        return self.decoder_norm(x), weights


class _NoPositions(nn.Module):
    """For rotary positions, which the attention applies."""

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        return x


def _taught(target: Tensor, target_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The decoder's inputs ``(B, Lt)``, and the tokens to predict ``(B, Lt)``, −1 for padding; see `forward`."""
    inputs, wanted = target[:, :-1], target[:, 1:]
    real = torch.arange(inputs.shape[1], device=target.device) < target_lengths[:, None] - 1
    return inputs, wanted.masked_fill(~real, -1)


def _positions(kind: PositionKind, width: int, longest: int) -> nn.Module:
    if kind == "sinusoidal":
        return SinusoidalPositions(width)
    return LearnedPositions(longest, width) if kind == "learned" else _NoPositions()


def _cross(layer: nn.Module) -> MultiHeadAttention:
    assert isinstance(layer, TransformerLayer)
    assert layer.cross is not None
    return layer.cross
