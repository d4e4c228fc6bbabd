"""A recurrent translator: bidirectional GRU encoder, GRU decoder that attends, with input feeding.

Bahdanau, Cho and Bengio 2015 (arXiv:1409.0473) for the encoder and the additive score; the order of the decoder's step
(new state, then attention, then an attentional vector that is fed back) is that of Luong et al. 2015
(arXiv:1508.04025). ``attention="none"`` is the same model with one fixed context, the encoder's final states (Cho et
al. 2014, arXiv:1406.1078), so that what attention adds can be measured.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Lengths, Look
from regard.decode import Step
from regard.nn import GRU, AdditiveAttention, LuongAttention

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
    """What the decoder carries from step to step: ``hidden`` and ``fed``, both ``(B, dim)``, and the memory."""

    hidden: Tensor
    fed: Tensor
    memory: Memory


class RNNTranslator(nn.Module):
    """Encoder, attention and decoder.

    Args:
        source_size: number of source tokens.
        target_size: number of target tokens.
        embedding: width of the embeddings; the target's are also the output layer's weights (Press and Wolf 2017,
            arXiv:1608.05859).
        dim: width of the decoder's state and of the memory, half of it from each direction of the encoder. Even.
        attention: which score, or ``"none"``: a fixed context.
        dropout: probability, on embeddings, memory and output.

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
    ):
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"dim: must be even, since each direction of the encoder gives half of it, got {dim}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: must be at least 0 and below 1, got {dropout}")
        self.source_embedding = _embedding(source_size, embedding)
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
        self.feed = nn.Linear(dim, 3 * dim, bias=False)
        self.combine = nn.Linear(2 * dim, dim)
        self.output = nn.Linear(dim, embedding)
        self.output_bias = nn.Parameter(torch.zeros(target_size))
        self.dropout = nn.Dropout(dropout)

    def encode(self, source: Tensor, lengths: Tensor) -> Memory:
        """Encode a padded batch: ``source`` int64 ``(B, Ls)``, ``lengths`` int64 ``(B,)``."""
        real = torch.arange(source.shape[1], device=source.device) < lengths[:, None]
        embedded = self.dropout(self.source_embedding(source))
        ahead, last_ahead = self.forwards(embedded, real)
        back, last_back = self.backwards(embedded, real, reverse=True)
        values = self.dropout(torch.cat([ahead, back], -1))
        keys = values[..., :0] if self.attend is None else self.attend.keys(values).to(values.dtype)
        return Memory(values, keys, lengths, torch.cat([last_ahead, last_back], -1))

    def start(self, source: Tensor, lengths: Tensor) -> DecoderState:
        """The decoder's state before the first token; arguments as in `encode`."""
        memory = self.encode(source, lengths)
        hidden = torch.tanh(self.bridge(memory.final)).to(memory.final.dtype)
        return DecoderState(hidden, torch.zeros_like(hidden), memory)

    def step(self, tokens: Tensor, state: DecoderState) -> Step:
        """One step of decoding, `regard.decode.StepFunction`: ``tokens`` int64 ``(B,)`` → logits of the next."""
        projected = self.decoder.input(self.target_embedding(tokens))
        state, weights = self._advance(projected, state, look=True)
        return Step(self._logits(state.fed), state, weights)

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor, real: Tensor) -> Tensor:
        """Logits of each next token, given all before it (teacher forcing).

        Args:
            source: int64 ``(B, Ls)``, padded.
            lengths: int64 ``(B,)``.
            target: int64 ``(B, Lt)``, the tokens fed in, beginning with the start sign, padded.
            real: boolean ``(B, Lt)``: the positions whose logits are wanted.

        Returns:
            ``(real.sum(), target_size)``, row by row.
        """
        state = self.start(source, lengths)
        embedded = self.dropout(self.target_embedding(target))
        fed = []
        for projected in self.decoder.input(embedded).to(state.hidden.dtype).unbind(1):
            state, _ = self._advance(projected, state, look=False)
            fed.append(state.fed)
        return self._logits(torch.stack(fed, 1)[real])

    def _advance(self, projected: Tensor, state: DecoderState, look: bool) -> tuple[DecoderState, Tensor | None]:
        memory, weights = state.memory, None
        hidden = self.decoder.step(projected + self.feed(state.fed), state.hidden)
        if self.attend is None:
            context = memory.final
        else:
            seen, view = self.attend(
                hidden[:, None], memory.values, keys=memory.keys, mask=Lengths(memory.lengths),
                look=Look(rows=slice(None)) if look else None,
            )  # fmt: skip
            context = seen[:, 0]
            weights = None if view is None else view.rows[:, 0, 0]
        fed = torch.tanh(self.combine(torch.cat([hidden, context.to(hidden.dtype)], -1))).to(hidden.dtype)
        return DecoderState(hidden, self.dropout(fed), memory), weights

    def _logits(self, fed: Tensor) -> Tensor:
        return F.linear(self.output(fed), self.target_embedding.weight, self.output_bias)


def _embedding(size: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(size, width)
    nn.init.normal_(embedding.weight, std=width**-0.5)
    return embedding
