"""Models that write words of their vocabulary or copy words of their source: See, Liu and Manning 2017.

The pointer-generator of arXiv:1704.04368: the next word is written with probability g, from a softmax over the
vocabulary, and copied with probability 1 − g, from the source position that attention chooses. A word outside of the
vocabulary has a number from ``size`` on, the same at all its positions in a source, and can only be copied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Lengths, Look, attention
from regard.decode import Step
from regard.models import rnn, transformer
from regard.models.copying import TINY, OpenEmbedding, Pointed, coverage_loss, extended, mixed_loss, mixture
from regard.models.decoder import DecoderState
from regard.nn import MultiHeadAttention, multihead

_ROWS = Look(rows=slice(None))

_OUTSIDE = (16, 256)
"""The groups, and the numbers in each, of words outside of the vocabulary, if no others are given."""


class _Pointer(nn.Module):
    """What both models do in the same way; see `PointerRNN`.

    A subclass has the attributes of `regard.models.rnn.RNNTranslator` that are used here, and `_point`.
    """

    target_embedding: nn.Embedding
    output_bias: nn.Parameter
    coverage: float
    _point: Callable[..., Any]

    @property
    def size(self) -> int:
        """The number of words in the vocabulary."""
        return self.target_embedding.num_embeddings

    def forward(
        self, source: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor, smoothing: float = 0.0
    ) -> Tensor:
        """The summed cross-entropy of the target tokens, in training with the coverage loss.

        Arguments as those of `regard.models.rnn.RNNTranslator.forward`; in source and target, words outside of the
        vocabulary have numbers from ``size`` on.
        """
        steps: Pointed = self._point(source, lengths, target[:, :-1])
        real = torch.arange(target.shape[1] - 1, device=target.device) < target_lengths[:, None] - 1
        pointed = steps.select(real)
        with torch.autocast(source.device.type, enabled=False):
            loss = mixed_loss(self.logits_of(pointed.features), pointed, target[:, 1:][real], smoothing)
            if self.training and self.coverage:
                loss = loss + self.coverage * coverage_loss(steps.weights, real)
        return loss

    def logits_of(self, features: Tensor) -> Tensor:
        """Logits of the vocabulary, at least in single precision."""
        features = features.to(self.output_bias.dtype)
        return F.linear(features, self.target_embedding.weight, self.output_bias)

    def copying(self, source: Tensor, lengths: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """For each target token the attention ``(B, Lt, Ls)`` and the part of its probability that is from copying,
        ``(B, Lt)``; ``target`` int64 ``(B, Lt + 1)`` with the first token, the others as in `forward`."""
        steps: Pointed = self._point(source, lengths, target[:, :-1])
        flat = Pointed(*(part.flatten(0, 1) for part in steps))
        share = mixture(self.logits_of(flat.features), flat, target[:, 1:].flatten()).share
        return steps.weights, share.view(target[:, 1:].shape)


class PointerState(NamedTuple):
    """The state of `PointerRNN`: the decoder's, the words of the source, and the sum of the weights so far."""

    decoder: DecoderState
    source: Tensor
    covered: Tensor


class PointerRNN(_Pointer, rnn.RNNTranslator):
    """The recurrent model with a pointer: it copies from where its attention is.

    Args:
        size: number of words in the vocabulary, which source and target share.
        unknown, outside: see `OpenEmbedding`.
        coverage: weight of the coverage loss. If it is not 0, the weights so far are also an input of the attention
            (See et al. 2017, equation 11).
        **options: of `regard.models.rnn.RNNTranslator`, with an attention.

    Raises:
        ValueError: as `regard.models.rnn.RNNTranslator`, and if ``attention`` is ``"none"``.
    """

    def __init__(
        self, size: int, *, unknown: int, outside: tuple[int, int] = _OUTSIDE, coverage: float = 0.0, **options: Any
    ):
        super().__init__(size, size, shared=True, **options)
        self.target_embedding = OpenEmbedding(size, self.target_embedding.embedding_dim, unknown, outside)
        if self.attend is None:
            raise ValueError("attention: a model that copies needs one, got 'none'")
        self.coverage = coverage
        dim = self.bridge.out_features
        self.gate = nn.Linear(dim + self.target_embedding.embedding_dim, 1)
        self.cover: nn.Parameter | None = None
        if coverage:
            self.cover = nn.Parameter(torch.zeros(dim))  # the keys of every score have this width

    def start(self, source: Tensor, lengths: Tensor) -> Any:
        """The decoder's state before the first token: ``source`` int64 ``(B, Ls)``, ``lengths`` int64 ``(B,)``."""
        decoder = super().start(source, lengths)
        return PointerState(decoder, source, decoder.hidden.new_zeros(source.shape))

    def step(self, tokens: Tensor, state: Any) -> Step:
        """One step of decoding: log-probabilities of the extended vocabulary."""
        embedded = self.target_embedding(tokens)
        state, weights = self._move(self.decoder.input(embedded), state, self._layers(), None)
        pointed = self._pointed(state.decoder.fed, embedded, weights, state.source)
        return Step(extended(self.logits_of(pointed.features), pointed), state, weights)

    def _point(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Pointed:
        state = self.start(source, lengths)
        embedded = self.dropout(self.target_embedding(inputs))
        mask, layers = self.dropout.mask(state.decoder.fed), self._layers()
        fed, rows = [], []
        for projected in self.decoder.input(embedded).to(state.decoder.hidden.dtype).unbind(1):
            state, weights = self._move(projected, state, layers, mask)
            fed.append(state.decoder.fed)
            rows.append(weights)
        sources = source[:, None].expand(-1, inputs.shape[1], -1)
        return self._pointed(torch.stack(fed, 1), embedded, torch.stack(rows, 1), sources)

    def _pointed(self, fed: Tensor, embedded: Tensor, weights: Tensor, source: Tensor) -> Pointed:
        gate = self.gate(torch.cat([fed, embedded.to(fed.dtype)], -1))[..., 0]
        return Pointed(self.output(fed), gate.to(weights.dtype), weights, source)

    def _move(
        self, projected: Tensor, state: PointerState, layers: Any, mask: Tensor | None
    ) -> tuple[PointerState, Tensor]:
        """The state after one step, and its attention ``(B, Ls)``."""
        decoder = state.decoder
        if self.cover is not None:
            memory = decoder.memory
            keys = memory.keys + (state.covered[..., None] * self.cover).to(memory.keys.dtype)
            decoder = decoder._replace(memory=memory._replace(keys=keys))
        decoder, view = self._advance(projected, decoder, layers, mask=mask, look=_ROWS)
        assert view is not None
        weights = view.rows[:, 0, 0].to(self.output_bias.dtype)
        covered = state.covered + weights.to(state.covered.dtype)
        return PointerState(decoder._replace(memory=state.decoder.memory), state.source, covered), weights


class PointerEncoded(NamedTuple):
    """The state of `PointerTransformer`: the decoder's, and the words of the source."""

    decoder: transformer.DecoderState
    source: Tensor


class PointerTransformer(_Pointer, transformer.TransformerTranslator):
    """The Transformer with a pointer: an attention with one head, above the decoder, over the encoder's output.

    Names and phrases are copied as a whole: the source positions that follow the word written last have a learned bias,
    and their mean is added to the decoder's output, like the selective read of Gu et al. 2016 (arXiv:1603.06393).

    The coverage loss is on the weights of this attention; they are no input of later steps, so that all steps of a
    target are computed in parallel.

    Args:
        size: number of words in the vocabulary, which source and target share.
        unknown, outside: see `OpenEmbedding`.
        coverage: weight of the coverage loss.
        dim: width of the features.
        **options: of `regard.models.transformer.TransformerTranslator`.
    """

    compiled_method = "forward"

    def __init__(
        self,
        size: int,
        *,
        unknown: int,
        outside: tuple[int, int] = _OUTSIDE,
        coverage: float = 0.0,
        dim: int = 256,
        **options: Any,
    ):
        super().__init__(size, size, shared=True, dim=dim, **options)
        self.target_embedding = OpenEmbedding(size, dim, unknown, outside)
        self.coverage = coverage
        self.pointer = MultiHeadAttention(dim, 1)
        self.gate = nn.Linear(2 * dim, 1)
        self.onward = nn.Parameter(torch.tensor(2.0))
        self.next = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.next.weight)

    def memories(self, features: Tensor) -> list[multihead.Memory]:
        """Keys and values of each decoder layer, and those of the pointer."""
        return [*super().memories(features), self.pointer.project(features)]

    def start(self, source: Tensor, lengths: Tensor) -> Any:
        """The decoder's state before the first token: ``source`` int64 ``(B, Ls)``, ``lengths`` int64 ``(B,)``."""
        return PointerEncoded(super().start(source, lengths), source)

    def step(self, tokens: Tensor, state: Any) -> Step:
        """One step of decoding: log-probabilities of the extended vocabulary."""
        decoder = state.decoder
        features, _ = self._write(tokens[:, None], decoder.encoded, decoder.caches)
        steps = self._pointed(features, decoder.encoded, state.source, tokens[:, None])
        pointed = Pointed(*(part[:, 0] for part in steps))
        return Step(extended(self.logits_of(pointed.features), pointed), state, pointed.weights)

    def following(self, source: Tensor, lengths: Tensor, written: Tensor) -> Tensor:
        """Log-probabilities ``(B, Lt, size + Ls)`` of the token after each token of ``written`` int64 ``(B, Lt)``.

        The first ``size`` are those that a word is written, the others those that the word at a source position is
        copied: what a word has in all is the sum of its probabilities. Arguments as in `forward`.
        """
        encoded = self.encode(source, lengths)
        memory, follow = encoded.layers[-1], _follow(source, written)
        features = self._next(self._write(written, encoded, None)[0], memory, follow)
        # With one-hot values, the outputs are the weights: the rows of a look cannot be exported for a single token.
        one_hot = torch.eye(source.shape[1], dtype=features.dtype, device=features.device)
        weights = attention(
            self.pointer.query(features)[:, None], memory.key, one_hot.expand(source.shape[0], 1, -1, -1),
            mask=Lengths(encoded.lengths), bias=self._bias(features, follow),
        )  # fmt: skip
        context = self.pointer.output((weights @ memory.value)[:, 0])
        steps = self._gated(features, context, weights[:, 0], source)
        gate = steps.gate[..., None]
        write = F.logsigmoid(gate) + self.logits_of(steps.features).log_softmax(-1)
        return torch.cat([write, F.logsigmoid(-gate) + steps.weights.clamp_min(TINY).log()], -1)

    def _point(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Pointed:
        encoded = self.encode(source, lengths)
        features, _ = self._write(inputs, encoded, None)
        return self._pointed(features, encoded, source, inputs)

    def _pointed(self, features: Tensor, encoded: transformer.Encoded, source: Tensor, written: Tensor) -> Pointed:
        memory, follow = encoded.layers[-1], _follow(source, written)
        features = self._next(features, memory, follow)
        output, view = attention(
            self.pointer.query(features)[:, None], memory.key, memory.value, mask=Lengths(encoded.lengths),
            bias=self._bias(features, follow), look=_ROWS,
        )  # fmt: skip
        context = self.pointer.output(output[:, 0])
        return self._gated(features, context, view.rows[:, 0].to(self.output_bias.dtype), source)

    def _next(self, features: Tensor, memory: multihead.Memory, follow: Tensor) -> Tensor:
        """``features`` ``(B, Lt, dim)`` with the mean of the pointer's values where ``follow`` ``(B, Lt, Ls)`` is."""
        shares = follow.to(features.dtype) / follow.sum(-1, keepdim=True).clamp_min(1)
        mean: Tensor = self.next(shares @ memory.value[:, 0])
        return features + mean

    def _bias(self, features: Tensor, follow: Tensor) -> Tensor:
        return (self.onward * follow[:, None]).to(features.dtype)

    def _gated(self, features: Tensor, context: Tensor, weights: Tensor, source: Tensor) -> Pointed:
        gate = self.gate(torch.cat([features, context], -1))[..., 0]
        sources = source[:, None].expand(-1, features.shape[1], -1)
        return Pointed(features, gate.to(weights.dtype), weights, sources)


def _follow(source: Tensor, written: Tensor) -> Tensor:
    """Which positions of ``source`` ``(B, Ls)`` follow each word of ``written`` ``(B, Lt)``: bool ``(B, Lt, Ls)``."""
    before = F.pad(source, (1, 0), value=-1)[:, : source.shape[1]]
    return before[:, None] == written[:, :, None]
