"""The distribution of a word that is written or copied (See et al. 2017), and embeddings of words of any source."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TINY = 1e-20
"""Instead of the probability 0, whose logarithm has no gradient."""


class Pointed(NamedTuple):
    """What decides each target token, ``N`` of them.

    ``features`` ``(N, E)``, the inputs of the output layer; ``gate`` ``(N,)``, the logit of g; ``weights`` ``(N, Ls)``,
    the attention; ``source`` int64 ``(N, Ls)``, the numbers of the words at each position.
    """

    features: Tensor
    gate: Tensor
    weights: Tensor
    source: Tensor

    def select(self, rows: Tensor) -> Pointed:
        """Some of its rows: indices or a mask."""
        return Pointed(*(part[rows] for part in self))


class Mixture(NamedTuple):
    """The log-probabilities of tokens, each ``(N,)``: that it is written, and that it is copied."""

    written: Tensor
    copied: Tensor

    @property
    def total(self) -> Tensor:
        """The log-probability of each token."""
        return torch.logaddexp(self.written, self.copied)

    @property
    def share(self) -> Tensor:
        """The part of a token's probability that is from copying."""
        return torch.sigmoid(self.copied - self.written)


def mixture(logits: Tensor, pointed: Pointed, tokens: Tensor) -> Mixture:
    """The log-probabilities of ``tokens`` int64 ``(N,)``; ``logits`` ``(N, size)``: those of the vocabulary."""
    size = logits.shape[1]
    known = tokens < size
    log = logits.gather(1, tokens.where(known, 0)[:, None])[:, 0] - logits.logsumexp(-1)
    mass = (pointed.weights * (pointed.source == tokens[:, None])).sum(1)
    return Mixture(
        F.logsigmoid(pointed.gate) + log.masked_fill(~known, -torch.inf),
        F.logsigmoid(-pointed.gate) + mass.clamp_min(TINY).log(),
    )


def mixed_loss(logits: Tensor, pointed: Pointed, tokens: Tensor, smoothing: float) -> Tensor:
    """The summed cross-entropy of the mixture; label smoothing is over the vocabulary's part."""
    total = -mixture(logits, pointed, tokens).total.sum()
    if smoothing:
        spread = logits.logsumexp(-1) - logits.mean(-1)
        total = (1 - smoothing) * total + smoothing * spread.sum()
    return total


def extended(logits: Tensor, pointed: Pointed) -> Tensor:
    """The log-probabilities ``(N, size + n)`` of the vocabulary and of n further words of the sources."""
    count = max(logits.shape[1], int(pointed.source.max()) + 1)
    gate = torch.sigmoid(pointed.gate)[:, None]
    probabilities = F.pad(gate * logits.softmax(-1), (0, count - logits.shape[1]))
    return probabilities.scatter_add(1, pointed.source, (1 - gate) * pointed.weights.to(gate.dtype)).log()


def coverage_loss(weights: Tensor, real: Tensor) -> Tensor:
    """The sum of ``min(a_t, c_t)`` (See et al. 2017, equation 12), where c_t is the sum of the weights before step t.

    Args:
        weights: ``(B, Lt, Ls)``.
        real: bool ``(B, Lt)``: which steps are no padding.
    """
    covered = weights.cumsum(1) - weights
    return (torch.minimum(weights, covered).sum(-1) * real).sum()


class OpenEmbedding(nn.Embedding):
    """Embeddings of the words of a vocabulary and of words outside of it.

    A word outside of it has the embedding of unknown words, and in addition that of its number and that of the group
    of its number. Thus a model can distinguish such words, and recognize the one that it has just copied.

    Args:
        size: number of words in the vocabulary.
        dim: width.
        unknown: the row of unknown words.
        outside: the number of groups, and of numbers in each, for words outside of the vocabulary; they have the
            numbers from ``size`` on, see `regard.data.words.outside`.
    """

    def __init__(self, size: int, dim: int, unknown: int, outside: tuple[int, int]):
        super().__init__(size, dim)
        self.unknown, (groups, self.together) = unknown, outside
        self.groups, self.others = nn.Embedding(groups, dim), nn.Embedding(groups * self.together, dim)
        for part in (self, self.groups, self.others):
            nn.init.normal_(part.weight, std=dim**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embeddings ``(…, dim)`` of int64 ``tokens``."""
        other = tokens >= self.num_embeddings
        rows = (tokens - self.num_embeddings).clamp_min(0)
        further = self.groups(rows // self.together) + self.others(rows)
        embedded: Tensor = super().forward(tokens.where(~other, self.unknown)) + further * other[..., None]
        return embedded
