"""Transformers as they are written with PyTorch alone, which benchmarks of training compare with regard's.

`PlainGPT` is the model of nanoGPT (https://github.com/karpathy/nanoGPT), and `PlainTranslator` one with
`torch.nn.Transformer`. Both can be loaded with the weights of regard's model of the same sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard import Causal, attention
from regard.models.language import TransformerLM
from regard.models.transformer import TransformerTranslator
from regard.nn import SinusoidalPositions

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Causal attention over ``(B, H, L, E)``."""

by_pytorch: Attend = partial(F.scaled_dot_product_attention, is_causal=True)
by_regard: Attend = partial(attention, mask=Causal())


class _Block(nn.Module):
    """Attention and a feed-forward layer with GELU, each after a normalization, without biases."""

    def __init__(self, dim: int, heads: int, norm: Callable[[], nn.Module], attend: Attend):
        super().__init__()
        self.heads, self.attend = heads, attend
        self.norms = nn.ModuleList((norm(), norm()))
        self.joined = nn.Linear(dim, 3 * dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)
        self.inner = nn.Linear(dim, 4 * dim, bias=False)
        self.outer = nn.Linear(4 * dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.joined(self.norms[0](x)).split(width, dim=2)
        query, key, value = (part.view(batch, length, self.heads, -1).transpose(1, 2) for part in parts)
        attended = self.attend(query, key, value).transpose(1, 2).contiguous().view(batch, length, width)
        x = x + self.output(attended)
        return x + self.outer(F.gelu(self.inner(self.norms[1](x))))


class PlainGPT(nn.Module):
    """nanoGPT's model without dropout.

    Args:
        size: the number of tokens.
        dim: width of the features.
        layers: the number of layers.
        heads: of each attention.
        context: the number of positions.
        norm: makes a normalization layer; nanoGPT has LayerNorm without bias, regard's model RMSNorm.
        attend: the attention.
    """

    def __init__(
        self,
        size: int,
        dim: int,
        layers: int,
        heads: int,
        context: int,
        *,
        norm: Callable[[], nn.Module],
        attend: Attend,
    ):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(size, dim), nn.Embedding(context, dim)
        self.blocks = nn.ModuleList(_Block(dim, heads, norm, attend) for _ in range(layers))
        self.norm = norm()
        self.head = nn.Linear(dim, size, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of ``targets`` ``(B, L)``."""
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def load(self, model: TransformerLM) -> PlainGPT:
        """Copy the weights of regard's model of the same sizes, whose biases are 0."""
        assert model.position is not None
        pairs = [(self.tokens.weight, model.embedding.weight), (self.positions.weight, model.position.weight)]
        block: Any
        own: Any
        for block, own in zip(self.blocks, model.layers, strict=True):
            joined = torch.cat([own.attend.query.weight, own.attend.key.weight, own.attend.value.weight])
            pairs += [
                (block.joined.weight, joined), (block.output.weight, own.attend.output.weight),
                (block.inner.weight, own.feed.inner.weight), (block.outer.weight, own.feed.outer.weight),
            ]  # fmt: skip
        return _copied(self, pairs)


class PlainTranslator(nn.Module):
    """A translator with `torch.nn.Transformer`: sinusoidal positions, pre-normalization, tied embeddings.

    Args:
        sizes: the numbers of source and target tokens.
        dim: width of the features.
        heads: of each attention.
        layers: of encoder and decoder.
        hidden: width of the hidden features in the feed-forward layers.
        dropout: everywhere.
        pad: the token that fills up sequences.
    """

    def __init__(
        self, sizes: tuple[int, int], dim: int, heads: int, layers: int, hidden: int, dropout: float, pad: int
    ):
        super().__init__()
        self.source, self.target = (nn.Embedding(size, dim) for size in sizes)
        self.body = nn.Transformer(dim, heads, layers, layers, hidden, dropout, batch_first=True, norm_first=True)
        self.bias = nn.Parameter(torch.zeros(sizes[1]))
        self.dropout, self.scale, self.pad = nn.Dropout(dropout), dim**0.5, pad
        self.positions = SinusoidalPositions(dim)(torch.zeros(256, dim))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """The mean loss of the target tokens after the first; both ``(B, L)``."""
        inputs, wanted = target[:, :-1], target[:, 1:]
        padding = source == self.pad
        causal = nn.Transformer.generate_square_subsequent_mask(inputs.shape[1])
        features = self.body(
            self._embed(self.source, source), self._embed(self.target, inputs), tgt_mask=causal, tgt_is_causal=True,
            src_key_padding_mask=padding, memory_key_padding_mask=padding,
        )  # fmt: skip
        logits = F.linear(features, self.target.weight, self.bias)
        return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=self.pad)

    def _embed(self, embedding: nn.Embedding, tokens: Tensor) -> Tensor:
        return self.dropout(embedding(tokens) * self.scale + self.positions[: tokens.shape[1]])

    def load(self, model: TransformerTranslator) -> PlainTranslator:
        """Copy the weights of regard's model of the same sizes."""
        assert model.source_embedding is not None
        embeddings = (self.source, model.source_embedding), (self.target, model.target_embedding)
        pairs: list[tuple[Tensor, Tensor]] = [(one.weight, other.weight) for one, other in embeddings]
        for theirs, ours in ((self.body.encoder, model.encoder), (self.body.decoder, model.decoder)):
            for layer, own in zip(theirs.layers, ours, strict=True):
                pairs += _layer_pairs(layer, own)
        return _copied(self, pairs)


def _layer_pairs(layer: Any, own: Any) -> list[tuple[Tensor, Tensor]]:
    """Each weight of a layer of `torch.nn.Transformer`, and regard's; normalizations are 1 and 0 in both."""
    pairs = [
        (layer.linear1.weight, own.feed.inner.weight), (layer.linear1.bias, own.feed.inner.bias),
        (layer.linear2.weight, own.feed.outer.weight), (layer.linear2.bias, own.feed.outer.bias),
    ]  # fmt: skip
    attentions = [(layer.self_attn, own.attend)]
    if own.cross is not None:
        attentions.append((layer.multihead_attn, own.cross))
    for theirs, ours in attentions:
        inputs = ours.query, ours.key, ours.value
        pairs += [
            (theirs.in_proj_weight, torch.cat([part.weight for part in inputs])),
            (theirs.in_proj_bias, torch.cat([part.bias for part in inputs])),
            (theirs.out_proj.weight, ours.output.weight), (theirs.out_proj.bias, ours.output.bias),
        ]  # fmt: skip
    return pairs


def _copied(module: Any, pairs: list[tuple[Tensor, Tensor]]) -> Any:
    with torch.no_grad():
        for own, other in pairs:
            own.copy_(other)
    return module
