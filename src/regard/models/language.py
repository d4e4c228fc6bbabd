"""Language models: a decoder-only Transformer, and an LSTM that attends to its past states."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Causal, Documents, Dot, Look, Mask, View, Window
from regard.decode import Step
from regard.kernels.packed import Kind
from regard.models.layers import TransformerLayer
from regard.models.native_step import NativeState, begin_after, resume
from regard.models.packed_decoder import Stack
from regard.nn import (
    Dropout,
    FeedForward,
    KVCache,
    LearnedPositions,
    MultiHeadAttention,
    RMSNorm,
    Rotary,
    linear_cross_entropy,
)
from regard.nn.optional_look import attend

PositionKind = Literal["rotary", "learned"]


class TransformerLM(nn.Module):
    """A decoder-only Transformer: pre-normalization by RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467), gated or
    plain feed-forward layers, rotary or learned positions, grouped heads.

    Attributes:
        weights: how decoding on a CPU stores the weights; see `regard.kernels.packed.pack`.

    Args:
        size: number of tokens.
        dim: width of the features.
        layers: the number of layers.
        heads: of each attention.
        key_heads: heads of keys and values; None: as many as query heads.
        hidden: width of the hidden features in the feed-forward layers.
        gated: SwiGLU instead of GELU; see `regard.nn.FeedForward`.
        positions: how positions are encoded.
        context: the number of positions, if they are learned.
        dropout: on embeddings, on the output of each sublayer, on attention weights and hidden features.

    Raises:
        ValueError: the sizes do not fit each other, or ``dropout`` is not in [0, 1).
    """

    weights: Kind = "float32"

    def __init__(
        self,
        size: int,
        *,
        dim: int = 256,
        layers: int = 6,
        heads: int = 4,
        key_heads: int | None = None,
        hidden: int = 1024,
        gated: bool = False,
        positions: PositionKind = "rotary",
        context: int = 256,
        dropout: float = 0.0,
    ):
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers: must be positive, got {layers}")
        self.embedding = nn.Embedding(size, dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.position = LearnedPositions(context, dim) if positions == "learned" else None
        turn = Rotary(dim // heads) if positions == "rotary" else None

        def layer() -> TransformerLayer:
            attention = MultiHeadAttention(
                dim, heads, key_heads=key_heads, bias=False, position=turn, dropout=dropout
            )  # fmt: skip
            feed = FeedForward(dim, hidden, gated=gated, bias=False, dropout=dropout, activation="gelu")
            for part in (attention.output, feed.outer):  # smaller with depth (Radford et al. 2019)
                nn.init.normal_(part.weight, std=0.02 * (2 * layers) ** -0.5)
            return TransformerLayer(attention, feed, lambda: RMSNorm(dim), dropout=dropout)

        self.layers = nn.ModuleList(layer() for _ in range(layers))
        self.norm = RMSNorm(dim)
        self.output_bias = nn.Parameter(torch.zeros(size))
        self.dropout = Dropout(dropout)

    def forward(
        self, tokens: Tensor, wanted: Tensor, documents: Tensor | None = None, smoothing: float = 0.0
    ) -> Tensor:
        """The summed cross-entropy of the ``wanted`` tokens, with label smoothing; shapes as in `logits`."""
        features = self._read(tokens, documents)[0].flatten(0, 1)
        return linear_cross_entropy(features, self.embedding.weight, self.output_bias, wanted.flatten(), smoothing)

    def logits(self, tokens: Tensor, documents: Tensor | None = None) -> Tensor:
        """Logits of the token after each, ``(B, L, size)``.

        Args:
            tokens: int64 ``(B, L)``.
            documents: int64 ``(B, L)``: a token sees tokens of its own document only; None: one document.
        """
        return F.linear(self._read(tokens, documents)[0], self.embedding.weight, self.output_bias)

    def start(self, rows: int, *, length: int = 256, window: int | None = None) -> list[KVCache]:
        """The state before the first token of ``rows`` sequences, with room for ``length`` tokens."""
        return [KVCache(length, window=window) for _ in self.layers]

    def step(self, tokens: Tensor, state: list[KVCache] | NativeState) -> Step:
        """One step of decoding, `regard.decode.StepFunction`: ``tokens`` int64 ``(B,)``, or several, ``(B, n)``."""
        tokens = tokens if tokens.dim() == 2 else tokens[:, None]
        if not isinstance(state, NativeState):
            stack = Stack(
                self.embedding.weight, 1.0, self.position, self.layers, self.norm, self.output_bias, kind=self.weights
            )
            if tokens.shape[1] == 1:
                state = resume(stack, state, len(tokens)) or state
            else:
                begun = begin_after(stack, tokens, state)
                if begun is not None:
                    return Step(begun[0], begun[1])
        if isinstance(state, NativeState):
            for one in tokens.unbind(1):
                logits, _ = state.step(one)
            return Step(logits, state)
        features, _ = self._read(tokens, None, state)
        return Step(F.linear(features[:, -1], self.embedding.weight, self.output_bias), state)

    def look(self, tokens: Tensor, layer: int, look: Look) -> View:
        """The view of the attention of layer number ``layer`` over ``tokens`` ``(B, L)``."""
        _, view = self._read(tokens, None, None, (layer % len(self.layers), look))
        assert view is not None
        return view

    def _read(
        self,
        tokens: Tensor,
        documents: Tensor | None,
        caches: list[KVCache] | None = None,
        look: tuple[int, Look] | None = None,
    ) -> tuple[Tensor, View | None]:
        """Features, and the view of the layer whose number is in ``look``."""
        x = self.embedding(tokens)
        if self.position is not None:
            x = self.position(x, caches[0].position if caches else 0)
        x, mask, result = self.dropout(x), _mask(documents), None
        for at, layer in enumerate(self.layers):
            request = look[1] if look is not None and look[0] == at else None
            x, view = layer(x, mask, cache=caches[at] if caches else None, look=request)
            result = view if request is not None else result
        return self.norm(x), result


class RecurrentState(NamedTuple):
    """The state of `RecurrentLM`: ``hidden`` and ``cell``, each ``(B, layers, dim)``, and the cache of past states."""

    hidden: Tensor
    cell: Tensor
    past: KVCache


class RecurrentLM(nn.Module):
    """An LSTM that attends to its past states: ``softmax(E tanh(W [h_t; c_t]))``, c_t the context of h_1 … h_{t−1}.

    Tran, Bisazza and Monz 2016 (arXiv:1601.01272); Daniluk et al.
    2017 (arXiv:1702.04521). Without attention, it is a plain LSTM.

    Args:
        size: number of tokens.
        dim: width of embeddings and states.
        layers: of the LSTM.
        attention: whether it attends to its past states.
        dropout: between the layers, and on embeddings and output.

    Raises:
        ValueError: a size is not positive, or ``dropout`` is not in [0, 1).
    """

    def __init__(self, size: int, *, dim: int = 512, layers: int = 2, attention: bool = True, dropout: float = 0.0):
        super().__init__()
        if layers < 1 or dim < 1:
            raise ValueError(f"dim and layers must be positive, got {dim}, {layers}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: must be at least 0 and below 1, got {dropout}")
        self.embedding = nn.Embedding(size, dim)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.lstm = nn.LSTM(dim, dim, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.query = nn.Linear(dim, dim, bias=False) if attention else None
        self.combine = nn.Linear(2 * dim, dim) if attention else None
        self.output_bias = nn.Parameter(torch.zeros(size))
        self.dropout = Dropout(dropout)

    def forward(
        self, tokens: Tensor, wanted: Tensor, documents: Tensor | None = None, smoothing: float = 0.0
    ) -> Tensor:
        """As `TransformerLM.forward`; the LSTM continues over the borders of documents, the attention does not."""
        features = self._read(tokens, documents)[0].flatten(0, 1)
        return linear_cross_entropy(features, self.embedding.weight, self.output_bias, wanted.flatten(), smoothing)

    def logits(self, tokens: Tensor, documents: Tensor | None = None) -> Tensor:
        """As `TransformerLM.logits`."""
        return F.linear(self._read(tokens, documents)[0], self.embedding.weight, self.output_bias)

    def start(self, rows: int, *, length: int = 256, window: int | None = None) -> RecurrentState:
        """As `TransformerLM.start`."""
        zeros = self.output_bias.new_zeros(rows, self.lstm.num_layers, self.lstm.hidden_size)
        return RecurrentState(zeros, zeros, KVCache(length, window=window))

    def step(self, tokens: Tensor, state: RecurrentState) -> Step:
        """As `TransformerLM.step`."""
        tokens = tokens if tokens.dim() == 2 else tokens[:, None]
        features, after, _ = self._read(tokens, None, state)
        assert after is not None
        return Step(F.linear(features[:, -1], self.embedding.weight, self.output_bias), after)

    def look(self, tokens: Tensor, layer: int, look: Look) -> View:
        """The view of its attention over ``tokens`` ``(B, L)``."""
        _, _, view = self._read(tokens, None, None, look)
        assert view is not None
        return view

    def _read(
        self,
        tokens: Tensor,
        documents: Tensor | None,
        state: RecurrentState | None = None,
        look: Look | None = None,
    ) -> tuple[Tensor, RecurrentState | None, View | None]:
        x = self.dropout(self.embedding(tokens))
        before = None if state is None else tuple(part.transpose(0, 1).contiguous() for part in state[:2])
        states, (hidden, cell) = self.lstm(x, before)
        features, view, past = states, None, None if state is None else state.past
        if self.query is not None and self.combine is not None:
            keys, offset = states, -1  # a state does not attend to itself
            if past is not None:
                keys = past.append(states[:, None], states[:, None]).key[:, 0]
                offset += keys.shape[1] - states.shape[1]
            mask = _mask(documents, offset, None if past is None else past.window)
            context, view = attend(self.query(states), keys, keys, Dot(), mask, look)
            features = torch.tanh(self.combine(torch.cat([states, context.to(states.dtype)], -1)))
        after = None if past is None else RecurrentState(hidden.transpose(0, 1), cell.transpose(0, 1), past)
        return self.dropout(features), after, view


LanguageModel = TransformerLM | RecurrentLM


def _mask(documents: Tensor | None, offset: int | None = None, window: int | None = None) -> Mask:
    causal: Mask = Causal(offset) if window is None else Window(window - 1, 0, offset)
    return causal if documents is None else causal & Documents(documents)
