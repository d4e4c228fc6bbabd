"""A recurrent translator: bidirectional GRU encoder, GRU decoder that attends, with input feeding.

Bahdanau, Cho and Bengio 2015 (arXiv:1409.0473) for the encoder and the additive score; the order in a step of the
decoder (new state, then attention, then an attentional vector that is fed back) is that of Luong et al. 2015
(arXiv:1508.04025). ``attention="none"`` is the same model with one fixed context, the final states of the encoder
(Cho et al. 2014, arXiv:1406.1078), as a baseline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Lengths, Look, View
from regard.decode import Step
from regard.models.encoder_decoder import EncoderDecoder
from regard.models.masked import TokenEncoder
from regard.nn import GRU, AdditiveAttention, LuongAttention, SequenceDropout, StepLinear, linear_cross_entropy

AttentionKind = Literal["additive", "dot", "general", "concat", "none"]


class Memory(NamedTuple):
    """An encoded batch of source sentences; each field has the batch as its first dimension.

    ``values`` ``(B, Ls, dim)``; ``keys`` ``(B, Ls, …)``; ``lengths`` int64 ``(B,)``; ``final`` ``(B, dim)``, the last
    states of both directions.
    """

    values: Tensor
    keys: Tensor
    lengths: Tensor
    final: Tensor


class DecoderState(NamedTuple):
    """The state of the decoder: ``hidden`` and ``fed``, both ``(B, dim)``, and the memory."""

    hidden: Tensor
    fed: Tensor
    memory: Memory


class _Layers(NamedTuple):
    """The decoder's layers, bound for the steps of one sequence."""

    state: Callable[[Tensor], Tensor]
    feed: Callable[[Tensor], Tensor]
    combine: Callable[[Tensor], Tensor]


class RNNTranslator(EncoderDecoder):
    """Encoder, attention and decoder.

    Args:
        source_size: number of source tokens.
        target_size: number of target tokens.
        embedding: width of the embeddings; the target's are also the output layer's weights (Press and Wolf 2017,
            arXiv:1608.05859).
        dim: width of the decoder's state and of the memory, half of it from each direction of the encoder. Even.
        attention: the score, or ``"none"`` for a fixed context.
        dropout: probability, on embeddings, memory and output.
        shared: whether source and target have the same tokens and the same embeddings.

    Raises:
        ValueError: ``dim`` is odd, or ``dropout`` is not in [0, 1).
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        embedding: int = 256,
        dim: int = 512,
        attention: AttentionKind = "additive",
        dropout: float = 0.3,
        shared: bool = False,
    ):
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"dim: must be even, because each direction of the encoder has half of it, got {dim}")
        self.source_embedding = None if shared else _embedding(source_size, embedding)
        self.target_embedding = _embedding(target_size, embedding)
        self.forwards = GRU(embedding, dim // 2)
        self.backwards = GRU(embedding, dim // 2)
        self.bridge = nn.Linear(dim, dim)
        self.attend: AdditiveAttention | LuongAttention | None = None
        if attention == "additive":
            self.attend = AdditiveAttention(dim, dim, dim)
        elif attention != "none":
            self.attend = LuongAttention(dim, dim, attention)
        self.decoder = GRU(embedding, dim)
        self.feed = StepLinear(dim, 3 * dim, bias=False)
        self.combine = StepLinear(2 * dim, dim)
        self.output = nn.Linear(dim, embedding)
        self.output_bias = nn.Parameter(torch.zeros(target_size))
        self.dropout = SequenceDropout(dropout)

    def encode(self, source: Tensor, lengths: Tensor) -> Memory:
        """Encode a padded batch: ``source`` int64 ``(B, Ls)``, ``lengths`` int64 ``(B,)``."""
        states, final = self._read(source, lengths)
        values = self.dropout(states)
        keys = values[..., :0] if self.attend is None else self.attend.keys(values).to(values.dtype)
        return Memory(values, keys, lengths, final)

    def token_encoder(self) -> TokenEncoder:
        """The embedding and the encoder of the source, to be pretrained: it takes what `states` does."""
        name = "target_embedding" if self.source_embedding is None else "source_embedding"
        parts = {name: self.get_submodule(name), "forwards": self.forwards, "backwards": self.backwards}
        return TokenEncoder(self.states, self.bridge.in_features, name, dropout=self.dropout, **parts)

    def states(self, source: Tensor, lengths: Tensor) -> Tensor:
        """The encoder's outputs ``(B, Ls, dim)``; arguments as in `encode`."""
        return self._read(source, lengths)[0]

    def _read(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The states of the encoder ``(B, Ls, dim)``, and the last one of each direction ``(B, dim)``."""
        real = torch.arange(source.shape[1], device=source.device) < lengths[:, None]
        embedded = self.dropout((self.source_embedding or self.target_embedding)(source))
        ahead, last_ahead = self.forwards(embedded, real)
        back, last_back = self.backwards(embedded, real, reverse=True)
        return torch.cat([ahead, back], -1), torch.cat([last_ahead, last_back], -1)

    def start(self, source: Tensor, lengths: Tensor) -> DecoderState:
        """The decoder's state before the first token; arguments as in `encode`."""
        memory = self.encode(source, lengths)
        hidden = torch.tanh(self.bridge(memory.final)).to(memory.final.dtype)
        return DecoderState(hidden, torch.zeros_like(hidden), memory)

    def step(self, tokens: Tensor, state: DecoderState) -> Step:
        """One step of decoding, `regard.decode.StepFunction`: ``tokens`` int64 ``(B,)``."""
        projected = self.decoder.input(self.target_embedding(tokens))
        state, view = self._advance(projected, state, self._layers(), look=Look(rows=slice(None)))
        logits = F.linear(self.output(state.fed), self.target_embedding.weight, self.output_bias)
        return Step(logits, state, None if view is None else view.rows[:, 0, 0])

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
        features, wanted = self._teach(source, lengths, target, target_lengths)
        return linear_cross_entropy(features, self.target_embedding.weight, self.output_bias, wanted, smoothing)

    def logits(self, source: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor) -> Tensor:
        """Logits of each target token given all before it, row by row, padding left out; arguments as in `forward`."""
        features, _ = self._teach(source, lengths, target, target_lengths)
        return F.linear(features, self.target_embedding.weight, self.output_bias)

    def _teach(self, source: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs of the output layer, and the tokens to predict, both without padding."""
        inputs, wanted = target[:, :-1], target[:, 1:]
        real = torch.arange(inputs.shape[1], device=target.device) < target_lengths[:, None] - 1
        state = self.start(source, lengths)
        embedded = self.dropout(self.target_embedding(inputs))
        mask, layers, fed = self.dropout.mask(state.fed), self._layers(), []
        for projected in self.decoder.input(embedded).to(state.hidden.dtype).unbind(1):
            state, _ = self._advance(projected, state, layers, mask=mask)
            fed.append(state.fed)
        # Padding is removed after the product, so that its shape depends on the batch only: see data.batching.
        return self.output(torch.stack(fed, 1))[real], wanted[real]

    def _advance(
        self,
        projected: Tensor,
        state: DecoderState,
        layers: _Layers,
        *,
        mask: Tensor | None = None,
        look: Look | None = None,
    ) -> tuple[DecoderState, View | None]:
        memory, view = state.memory, None
        hidden = self.decoder.step(projected + layers.feed(state.fed), state.hidden, layers.state)
        context = memory.final
        if self.attend is not None:
            lengths = Lengths(memory.lengths)
            contexts, view = self.attend(hidden[:, None], memory.values, keys=memory.keys, mask=lengths, look=look)
            context = contexts[:, 0].to(hidden.dtype)
        fed = torch.tanh(layers.combine(torch.cat([hidden, context], -1))).to(hidden.dtype)
        return DecoderState(hidden, fed if mask is None else fed * mask, memory), view

    def _layers(self) -> _Layers:
        return _Layers(self.decoder.state.bound(), self.feed.bound(), self.combine.bound())


def _embedding(size: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(size, width)
    nn.init.normal_(embedding.weight, std=width**-0.5)
    return embedding
