"""A model that finds the answer to a question as a span of a context, or that there is none.

The context and the question attend to each other (Seo et al. 2017, arXiv:1611.01603): each token of the context to the
question, and, as in Xiong et al. 2017 (arXiv:1611.01604), each token of the question to the context, so that there is a
row of weights for each word of the question. Then the context attends to itself (Wang et al. 2017, ACL, section 3.3).
At last each token of the question points to a place of the context: the mean of these attention scores is a part of the
score of a start (Wang and Jiang 2017, arXiv:1608.07905), and what the attention returns decides about the end and about
"no answer". All spans and "no answer" share one softmax.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from regard.attend import Lengths, Look, attention
from regard.models.masked import TokenEncoder
from regard.nn import GRU, Dropout, MultiHeadAttention, SequenceDropout

HIDDEN = -1e4
"""The logit of spans that do not exist, as they end in padding."""

Encoder = Literal["gru", "conv"]


class SpanReader(nn.Module):
    """Scores the spans of a context as answers to a question.

    Args:
        size: number of tokens.
        matches: number of different match features, see `regard.data.matching.match_features`; 0: the model has none.
        dim: width of the layers; even, and a multiple of ``heads``.
        kind: ``"gru"``: bidirectional GRUs encode both texts and what the attention makes of the context; ``"conv"``:
            residual layers of convolutions do, which is faster.
        layers: number of convolutions of each encoder.
        attention: without it, the model gets the mean of the question's encoded tokens in place of both attentions, and
            the context does not attend to itself.
        heads: number of heads of the self-attention.
        longest: the largest number of tokens of an answer.
        dropout: probability, on embeddings, the encoders' outputs and the result of the self-attention.
        word_dropout: the probability that a token is hidden in training, in the question and in the context.

    Raises:
        ValueError: a size does not fit.

    Attributes:
        recurrent: whether it has GRUs.
        threshold: an answer is given if its probability, divided by the sum of it and that of no answer, is at least
            this; chosen on validation data.
    """

    threshold: Tensor

    def __init__(
        self,
        size: int,
        *,
        matches: int = 26,
        dim: int = 128,
        kind: Encoder = "gru",
        layers: int = 4,
        attention: bool = True,
        heads: int = 4,
        longest: int = 30,
        dropout: float = 0.2,
        word_dropout: float = 0.0,
    ):
        super().__init__()
        if dim % 2 or dim % heads:
            raise ValueError(f"dim: must be even and a multiple of {heads} heads, got {dim}")
        self.longest, self.recurrent = longest, kind == "gru"
        self.embedding = nn.Embedding(size, dim)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.matches = nn.Embedding(matches, dim) if matches else None
        self.encoder = _encoder(kind, dim, layers, dropout)
        self.between = _Between(dim) if attention else None
        self.combine = nn.Linear((4 if attention else 3) * dim, dim)
        self.itself = MultiHeadAttention(dim, heads) if attention else None
        self.norm = nn.LayerNorm(dim) if attention else None
        self.read = _encoder(kind, dim, layers, dropout)
        self.pointer = _Pointer(dim, attention=attention)
        self.end, self.first, self.last = nn.Linear(dim, 1), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.absent = nn.Sequential(nn.Linear(2 * dim, dim), nn.Tanh(), nn.Linear(dim, 1))
        self.dropout, self.word_dropout = SequenceDropout(dropout), word_dropout
        self.register_buffer("threshold", torch.tensor(0.5))

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.embedding.weight.device

    def forward(
        self,
        context: Tensor,
        context_lengths: Tensor,
        question: Tensor,
        question_lengths: Tensor,
        context_matches: Tensor,
        question_matches: Tensor,
    ) -> Tensor:
        """The logits of "no answer" and of all spans.

        Args:
            context: tokens, int64 ``(B, Lc)``, padded.
            context_lengths: int64 ``(B,)``.
            question: tokens, int64 ``(B, Lq)``, padded.
            question_lengths: int64 ``(B,)``.
            context_matches: the match feature of each token, int64 ``(B, Lc)``.
            question_matches: the same ``(B, Lq)``.

        Returns:
            ``(B, 1 + Lc · longest)``: no answer, and the span from token i to token i + k at ``1 + i · longest + k``.
        """
        logits, _ = self.look(
            context, context_lengths, question, question_lengths, context_matches, question_matches, weights=False
        )
        return logits

    def look(
        self,
        context: Tensor,
        context_lengths: Tensor,
        question: Tensor,
        question_lengths: Tensor,
        context_matches: Tensor,
        question_matches: Tensor,
        *,
        weights: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """The logits, and the weights of each token of the question over the context ``(B, Lq, Lc)``.

        Arguments as of `forward`; the weights are None for a model without attention, and without ``weights``.
        """
        real, asked = _real(context, context_lengths), _real(question, question_lengths)
        shown = self._shown(context)
        c = self._encode(context, context_matches, real, shown)
        q = self._encode(question, question_matches, asked, shown)
        mean = _mean(q, asked)
        if self.between is not None and self.itself is not None and self.norm is not None:
            m = torch.relu(self.combine(self.between(c, context_lengths, q, question_lengths)))
            own, _ = self.itself(self.norm(m), mask=Lengths(context_lengths))
            m = m + self.dropout(own)
        else:
            wide = mean[:, None].expand_as(c)
            m = torch.relu(self.combine(torch.cat([c, wide, c * wide], -1)))
        m = self.read(self.dropout(m), real)
        start, pointed, rows = self.pointer(m, context_lengths, q, asked, weights=weights)
        highest = m.masked_fill(~real[..., None], -torch.inf).amax(1)
        absent = self.absent(torch.cat([highest, pointed], -1))
        spans = self._spans(m, start, pointed, real)
        return torch.cat([absent.float(), spans.flatten(1)], 1), rows

    def token_encoder(self) -> TokenEncoder:
        """The embedding and the encoder of both texts, to be pretrained: it takes what `states` does."""
        return TokenEncoder(
            self.states, self.embedding.embedding_dim, "embedding", embedding=self.embedding, encoder=self.encoder,
            dropout=self.dropout,
        )  # fmt: skip

    def states(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """The encoder's outputs ``(B, L, dim)`` for texts without match features: int64 ``(B, L)`` and ``(B,)``."""
        return self._encode(tokens, None, _real(tokens, lengths), None)

    def _shown(self, tokens: Tensor) -> Tensor | None:
        """Which tokens of the vocabulary each example shows in training, ``(B, size)``; None: all."""
        if not self.training or not self.word_dropout:
            return None
        shape = len(tokens), self.embedding.num_embeddings
        return torch.rand(shape, device=tokens.device) >= self.word_dropout

    def _encode(self, tokens: Tensor, matches: Tensor | None, real: Tensor, shown: Tensor | None) -> Tensor:
        embedded = self.embedding(tokens)
        if shown is not None:
            embedded = embedded * shown.gather(1, tokens)[..., None]
        if self.matches is not None and matches is not None:
            embedded = embedded + self.matches(matches)
        encoded: Tensor = self.encoder(self.dropout(embedded), real)
        return encoded

    def _spans(self, m: Tensor, start: Tensor, pointed: Tensor, real: Tensor) -> Tensor:
        """The scores of all spans, ``(B, Lc, longest)``."""
        scale = m.shape[-1] ** -0.5
        first = self.first(m) + pointed[:, None]  # the end depends on the start, and on what the question points to
        pairs = first @ self.last(m).mT * scale + start[..., None] + self.end(m).mT
        places = torch.arange(m.shape[1], device=m.device)
        ends = places[:, None] + torch.arange(self.longest, device=m.device)
        inside = ends.clamp(max=m.shape[1] - 1)
        spans = pairs.gather(2, inside.expand(m.shape[0], -1, -1))
        exists = (ends < m.shape[1]) & real[:, inside]
        scores: Tensor = spans.float().masked_fill(~exists, HIDDEN)
        return scores


class _Between(nn.Module):
    """Attention both ways between context and question, with the score ``(w ∘ c) · q`` + a term of the key."""

    def __init__(self, dim: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))
        self.of_question, self.of_context = nn.Linear(dim, 1), nn.Linear(dim, 1)

    def forward(self, c: Tensor, context_lengths: Tensor, q: Tensor, question_lengths: Tensor) -> Tensor:
        """What each token of the context gets, ``(B, Lc, 4·dim)``."""
        one, other = c[:, None], q[:, None]
        summary = attention(
            other * self.scale, one, one, bias=self.of_context(c).mT[:, None], mask=Lengths(context_lengths)
        )
        values = torch.cat([other, summary.to(other.dtype)], -1)
        attended = attention(
            one * self.scale, other, values, bias=self.of_question(q).mT[:, None], mask=Lengths(question_lengths)
        )
        a, back = attended[:, 0].chunk(2, -1)
        return torch.cat([c, a, c * a, c * back], -1)


class _Pointer(nn.Module):
    """Attention of the question's tokens over the context after it was read: each points to where the answer may be."""

    def __init__(self, dim: int, attention: bool):
        super().__init__()
        self.attention = attention
        self.query, self.of_context, self.joined = nn.Linear(dim, dim), nn.Linear(dim, 1), nn.Linear(2 * dim, dim)

    def forward(
        self, m: Tensor, context_lengths: Tensor, q: Tensor, asked: Tensor, *, weights: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The mean score of each token of the context ``(B, Lc)``, what is there ``(B, dim)``, and the weights.

        Without attention, the score is the same, and the question alone decides what is there.
        """
        queries, bias = self.query(q), self.of_context(m).mT
        mean, rows = _mean(q, asked), None
        scores = (m @ _mean(queries, asked)[..., None])[..., 0] * m.shape[-1] ** -0.5 + bias[:, 0]
        values = torch.zeros_like(mean)
        if self.attention:
            attended, view = attention(
                queries[:, None], m[:, None], m[:, None], bias=bias[:, None], mask=Lengths(context_lengths),
                look=Look(rows=slice(None) if weights else None),
            )  # fmt: skip
            values, rows = _mean(attended[:, 0].to(m.dtype), asked), view.rows[:, 0] if weights else None
        return scores, torch.relu(self.joined(torch.cat([mean, values], -1))), rows


class _Recurrent(nn.Module):
    """A bidirectional GRU, half of the width from each direction."""

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        self.forwards, self.backwards = GRU(dim, dim // 2), GRU(dim, dim // 2)
        self.dropout = SequenceDropout(dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        ahead, _ = self.forwards(x, real)
        back, _ = self.backwards(x, real, reverse=True)
        encoded: Tensor = self.dropout(torch.cat([ahead, back], -1))
        return encoded


class _Convolutions(nn.Module):
    """Residual layers, each a convolution for each channel and a product over the channels (Yu et al. 2018)."""

    def __init__(self, dim: int, layers: int, dropout: float, width: int = 7):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(layers))
        # Over images of one row, whose layout with the channels last is that of a sequence: nothing is copied.
        self.along = nn.ModuleList(
            nn.Conv2d(dim, dim, (1, width), padding=(0, width // 2), groups=dim) for _ in range(layers)
        )
        self.across = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
        self.last, self.dropout = nn.LayerNorm(dim), Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        for norm, along, across in zip(self.norms, self.along, self.across, strict=True):
            y = norm(x) * real[..., None]  # padding has no influence
            x = x + self.dropout(torch.relu(across(along(y.mT[:, :, None])[:, :, 0].mT)))
        encoded: Tensor = self.last(x)
        return encoded


def _encoder(kind: Encoder, dim: int, layers: int, dropout: float) -> nn.Module:
    return _Recurrent(dim, dropout) if kind == "gru" else _Convolutions(dim, layers, dropout)


def _real(tokens: Tensor, lengths: Tensor) -> Tensor:
    return torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]


def _mean(x: Tensor, real: Tensor) -> Tensor:
    """The mean over the real steps, ``(B, width)``."""
    return (x * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
