"""SASRec: a causal Transformer over the items of a history, which scores every item as the next one."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Causal, Look, Mask, View
from regard.models.layers import TransformerLayer
from regard.nn import Dropout, FeedForward, KVCache, LearnedPositions, MultiHeadAttention, Rotary, linear_cross_entropy

AttentionKind = Literal["self", "none"]
PositionKind = Literal["learned", "rotary"]


class PastMean(nn.Module):
    """The mean of all features up to each position, in place of attention: ``W_o mean_{j ≤ i} W_v x_j``.

    As in Zhang, Xiong and Su 2018 (arXiv:1805.00631), without a gate.

    Args:
        width: of the features.
    """

    def __init__(self, width: int):
        super().__init__()
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)

    def forward(
        self, query: Tensor, *, mask: Mask | None = None, cache: KVCache | None = None, look: Look | None = None
    ) -> tuple[Tensor, None]:
        """``(B, L, width)`` to the same shape; the other arguments are those of an attention, and have no effect."""
        counts = torch.arange(1, query.shape[1] + 1, device=query.device, dtype=query.dtype)
        mean: Tensor = self.output(self.value(query).cumsum(1) / counts[:, None])
        return mean, None


class SequentialModel(nn.Module):
    """A causal Transformer over items; the score of an item is the product of its embedding and the last state.

    Kang and McAuley 2018 (arXiv:1808.09781), with normalization before each sublayer, and optionally gated feed-forward
    layers. If items have titles, the embedding of an item is the sum of a vector of its own and of those of the words
    of its title, so that the score of a new item is known from its title.

    Args:
        size: the number of items.
        dim: width of the features.
        layers: the number of layers.
        heads: of each attention.
        length: the largest number of items of a history.
        words: of the titles of all items, one title after the other, int64 ``(n,)``; None: no titles.
        offsets: where the title of each item begins, int64 ``(size,)``.
        vocabulary: the number of words.
        attention: ``"self"``, or ``"none"``: the mean of the past in its place.
        positions: ``"learned"``: a vector for each place, counted from the end of the history; ``"rotary"``.
        gated: SwiGLU instead of GELU; see `regard.nn.FeedForward`.
        dropout: on embeddings, on the output of each sublayer, on attention weights and hidden features.
        item_dropout: the probability that an item has in training only the vectors of its title.

    Raises:
        ValueError: a size is not positive or does not fit, or a probability is not in [0, 1).
    """

    words: Tensor
    offsets: Tensor

    def __init__(
        self,
        size: int,
        *,
        dim: int = 64,
        layers: int = 2,
        heads: int = 2,
        length: int = 50,
        words: Tensor | None = None,
        offsets: Tensor | None = None,
        vocabulary: int = 0,
        attention: AttentionKind = "self",
        positions: PositionKind = "learned",
        gated: bool = True,
        dropout: float = 0.2,
        item_dropout: float = 0.0,
    ):
        super().__init__()
        if min(size, layers, length) < 1:
            raise ValueError(f"size, layers and length must be positive, got {size}, {layers}, {length}")
        self.length, self.size = length, size
        self.embedding = nn.Embedding(size, dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.titles = nn.EmbeddingBag(vocabulary, dim, mode="sum") if words is not None and vocabulary else None
        if self.titles is not None:
            nn.init.normal_(self.titles.weight, std=0.02)
        for name, tensor in (("words", words), ("offsets", offsets)):
            self.register_buffer(
                name, torch.zeros(0, dtype=torch.int64) if tensor is None else tensor, persistent=False
            )
        self.position = LearnedPositions(length, dim) if positions == "learned" else None
        turn = Rotary(dim // heads) if positions == "rotary" else None

        def layer() -> TransformerLayer:
            attend = (
                MultiHeadAttention(dim, heads, position=turn, dropout=dropout)
                if attention == "self" else PastMean(dim)
            )  # fmt: skip
            feed = FeedForward(dim, 2 * dim, gated=gated, dropout=dropout, activation="gelu")
            return TransformerLayer(attend, feed, lambda: nn.LayerNorm(dim), dropout=dropout)

        self.layers = nn.ModuleList(layer() for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.dropout, self.item_dropout = Dropout(dropout), item_dropout

    @property
    def attends(self) -> bool:
        """Whether the model has attention."""
        return not isinstance(self.layers[0].attend, PastMean)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.embedding.weight.device

    def forward(
        self, items: Tensor, lengths: Tensor, wanted: Tensor, negatives: Tensor | None = None, smoothing: float = 0.0
    ) -> Tensor:
        """The summed cross-entropy of the items that come next.

        Args:
            items: int64 ``(B, L)``, padded on the right.
            lengths: of the histories, int64 ``(B,)``.
            wanted: the item after each, int64 ``(B, L)``; −1 where none is to be learned.
            negatives: int64 ``(B, n)``: each next item is compared with those of its row only (sampled softmax; Petrov
                and Macdonald 2023, arXiv:2308.07192); one that equals it does not count. None: with all items
                (Klenitskiy and Vasilev 2023, arXiv:2309.07602).
            smoothing: label smoothing, with all items only.
        """
        table = self.table()
        states, _ = self.read(items, lengths, table)
        if negatives is None:
            bias = table.new_zeros(len(table))
            return linear_cross_entropy(states.flatten(0, 1), table, bias, wanted.flatten(), smoothing)
        chosen = wanted >= 0
        right = (states * F.embedding(wanted.clamp(min=0), table)).sum(-1, keepdim=True)
        others = states @ F.embedding(negatives, table).mT
        others = others.masked_fill(negatives[:, None] == wanted[..., None], -torch.inf)
        logits = torch.cat([right, others], -1).float()[chosen]
        return (logits.logsumexp(-1) - logits[:, 0]).sum()

    def scores(self, items: Tensor, lengths: Tensor, table: Tensor | None = None) -> Tensor:
        """The score of each item after each history, ``(B, size)``; arguments as of `forward` and `read`."""
        table = self.table() if table is None else table
        states, _ = self.read(items, lengths, table)
        last = states.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, states.shape[2]))
        return last[:, 0] @ table.T

    def table(self, words: Tensor | None = None, offsets: Tensor | None = None) -> Tensor:
        """The embeddings of all items, ``(size, dim)``; those of new items with these titles follow, if given."""
        own = self.embedding.weight
        if self.titles is not None:
            if self.training and self.item_dropout:
                own = own * (torch.rand(len(own), 1, device=own.device) >= self.item_dropout)
            own = own + self.titles(self.words, self.offsets)
            if words is not None:
                own = torch.cat([own, self.titles(words, offsets)])
        return own

    def look(self, items: Tensor, lengths: Tensor, table: Tensor | None = None) -> Tensor:
        """The weights of the last item of each history over all of it, ``(B, L)``: the mean over layers and heads.

        Raises:
            ValueError: the model has no attention.
        """
        if not self.attends:
            raise ValueError("look: the model has no attention")
        last = torch.arange(len(items), device=items.device)
        _, views = self.read(items, lengths, self.table() if table is None else table, Look(rows=slice(None)))
        rows = torch.stack([view.rows.float().mean(1)[last, lengths - 1] for view in views])
        return rows.mean(0)

    def read(
        self, items: Tensor, lengths: Tensor, table: Tensor, look: Look | None = None
    ) -> tuple[Tensor, list[View]]:
        """States ``(B, L, dim)`` of histories of items with the embeddings ``table``, and the views of the layers."""
        x = F.embedding(items, table) * table.shape[1] ** 0.5
        if self.position is not None:
            places = torch.arange(items.shape[1], device=items.device)[None] + (self.length - lengths)[:, None]
            x = x + F.embedding(places.clamp(max=self.length - 1), self.position.weight)
        x, views = self.dropout(x), []
        for layer in self.layers:
            x, view = layer(x, Causal(), look=look)
            views += [] if view is None else [view]
        return self.norm(x), views
