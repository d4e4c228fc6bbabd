"""A recurrent decoder: a GRU that attends to a memory in every step, with input feeding.

The order in a step (new state, then attention, then an attentional vector that is fed back) is that of Luong et al.
2015 (arXiv:1508.04025).
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
from regard.nn import GRU, AdditiveAttention, LocationAwareAttention, LuongAttention, SequenceDropout, StepLinear

DecoderAttention = Literal["additive", "dot", "general", "concat", "location", "none"]


class Memory(NamedTuple):
    """An encoded batch of sources; each field has the batch as its first dimension.

    ``values`` ``(B, Ls, dim)``; ``keys`` ``(B, Ls, …)``; ``lengths`` int64 ``(B,)``; ``final`` ``(B, dim)``, one vector
    for each source.
    """

    values: Tensor
    keys: Tensor
    lengths: Tensor
    final: Tensor


class DecoderState(NamedTuple):
    """The state of the decoder: ``hidden`` and ``fed``, both ``(B, dim)``, the memory, and for the location-aware score
    the weights of the last step, ``(B, Ls)``."""

    hidden: Tensor
    fed: Tensor
    memory: Memory
    weights: Tensor | None = None


class _Layers(NamedTuple):
    """The decoder's layers, bound for the steps of one sequence."""

    state: Callable[[Tensor], Tensor]
    feed: Callable[[Tensor], Tensor]
    combine: Callable[[Tensor], Tensor]


class RecurrentDecoder(EncoderDecoder):
    """A model with this decoder. A subclass calls `_add_decoder`, and has `start`, which returns `_begin` of a memory.

    Attributes:
        target_embedding: the embeddings of the target tokens, which are also the output layer's weights (Press and Wolf
            2017, arXiv:1608.05859); made by the subclass.
        attend: the attention; None: the context is the memory's ``final`` in every step.
    """

    target_embedding: nn.Embedding
    attend: AdditiveAttention | LuongAttention | LocationAwareAttention | None

    def _add_decoder(self, embedding: int, dim: int, size: int, attention: DecoderAttention, dropout: float) -> None:
        """Make the layers: ``embedding`` is the width of the embeddings, ``size`` the number of target tokens."""
        self.bridge = nn.Linear(dim, dim)
        self.attend = None
        if attention == "additive":
            self.attend = AdditiveAttention(dim, dim, dim)
        elif attention == "location":
            self.attend = LocationAwareAttention(dim, dim, dim)
        elif attention != "none":
            self.attend = LuongAttention(dim, dim, attention)
        self.decoder = GRU(embedding, dim)
        self.feed = StepLinear(dim, 3 * dim, bias=False)
        self.combine = StepLinear(2 * dim, dim)
        self.output = nn.Linear(dim, embedding)
        self.output_bias = nn.Parameter(torch.zeros(size))
        self.dropout = SequenceDropout(dropout)

    def _remember(self, states: Tensor, lengths: Tensor, final: Tensor) -> Memory:
        """The memory of the encoder's outputs ``(B, Ls, dim)``, with dropout."""
        values = self.dropout(states)
        keys = values[..., :0] if self.attend is None else self.attend.keys(values).to(values.dtype)
        return Memory(values, keys, lengths, final)

    def _begin(self, memory: Memory) -> DecoderState:
        """The state before the first token."""
        hidden = torch.tanh(self.bridge(memory.final)).to(memory.final.dtype)
        return DecoderState(hidden, torch.zeros_like(hidden), memory)

    def step(self, tokens: Tensor, state: DecoderState) -> Step:
        """One step of decoding, `regard.decode.StepFunction`: ``tokens`` int64 ``(B,)``."""
        projected = self.decoder.input(self.target_embedding(tokens))
        state, view = self._advance(projected, state, self._layers(), look=Look(rows=slice(None)))
        logits = F.linear(self.output(state.fed), self.target_embedding.weight, self.output_bias)
        return Step(logits, state, state.weights if view is None else view.rows[:, 0, 0])

    def _teach(self, state: DecoderState, target: Tensor, target_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs of the output layer, and the tokens to predict, both without padding.

        Args:
            state: before the first token.
            target: int64 ``(B, Lt + 1)``, the first token, the tokens and EOS, padded.
            target_lengths: int64 ``(B,)``, including the first token.
        """
        inputs, wanted = target[:, :-1], target[:, 1:]
        real = torch.arange(inputs.shape[1], device=target.device) < target_lengths[:, None] - 1
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
        """The state after one step, and the view of the attention, None without ``look``."""
        memory, view, weights = state.memory, None, None
        hidden = self.decoder.step(projected + layers.feed(state.fed), state.hidden, layers.state)
        context, lengths = memory.final, Lengths(memory.lengths)
        if isinstance(self.attend, LocationAwareAttention):
            context, weights, _ = self.attend(hidden, memory.values, state.weights, keys=memory.keys, mask=lengths)
            context = context.to(hidden.dtype)
        elif self.attend is not None:
            contexts, view = self.attend(hidden[:, None], memory.values, keys=memory.keys, mask=lengths, look=look)
            context = contexts[:, 0].to(hidden.dtype)
        fed = torch.tanh(layers.combine(torch.cat([hidden, context], -1))).to(hidden.dtype)
        return DecoderState(hidden, fed if mask is None else fed * mask, memory, weights), view

    def _layers(self) -> _Layers:
        return _Layers(self.decoder.state.bound(), self.feed.bound(), self.combine.bound())


def token_embedding(size: int, width: int) -> nn.Embedding:
    """Embeddings of variance 1 / ``width``, which suit the output layer too."""
    embedding = nn.Embedding(size, width)
    nn.init.normal_(embedding.weight, std=width**-0.5)
    return embedding
