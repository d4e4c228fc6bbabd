"""A detector of objects: a Transformer whose queries are anchors, which attend to the places of the image.

Detection as the prediction of a set: Carion et al. 2020 (arXiv:2005.12872). Queries are anchors that each layer moves:
Liu et al. 2022 (arXiv:2201.12329). The first anchors are the best places of the encoder: Zhu et al. 2021
(arXiv:2010.04159). Attention is concentrated around an anchor: Gao et al. 2021 (arXiv:2101.07448). Known boxes with
noise as further queries in training: Li et al. 2022 (arXiv:2203.01305).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Look, View
from regard.models.boxes import anchors_of, boxes_of, centres, waves
from regard.models.layers import TransformerLayer
from regard.models.queries import (
    DetectAttention,
    Memory,
    Predictions,
    QueryLayer,
    box_layer,
    class_layer,
    inverse_sigmoid,
)
from regard.models.vision import Stage
from regard.nn import FeedForward, MultiHeadAttention

_SIDE = 0.2
"""The width and height of the boxes of a new model, as parts of the image."""

_BESIDE = 100.0
"""By how much the logit of a place beside a more probable one is lowered."""


class Noised(NamedTuple):
    """Known objects as queries of a batch in training: ``groups`` times the same places, one after the other.

    Attributes:
        labels: int64 ``(B, G · N)``, of which some are changed.
        anchors: ``(B, G · N, 4)``, with noise.
        real: boolean ``(B, G · N)``; False: padding.
        groups: G.
    """

    labels: Tensor
    anchors: Tensor
    real: Tensor
    groups: int


class Detected(NamedTuple):
    """The output in training.

    Attributes:
        layers: the predictions of each layer of the decoder for the queries.
        noised: likewise for the known objects; empty without them.
        places: the predictions of the encoder at each place of its map.
    """

    layers: list[Predictions]
    noised: list[Predictions]
    places: Predictions


class Detector(nn.Module):
    """Boxes and classes of the objects of an image.

    Args:
        classes: their number.
        width: of the features, a multiple of 8 and of ``heads``.
        halvings: how often the convolutions halve the image; at least 1.
        blocks: residual convolutions after each halving but the first.
        encoder_layers: Transformer layers over the places.
        decoder_layers: Transformer layers of the queries; at least 1.
        heads: of each attention.
        queries: the largest number of objects in an image.
        attention: ``"cross"``: queries attend to the image; ``"none"``: each gets the features at its anchor's centre.
        dropout: on the output of each sublayer.

    Example:
        >>> model = Detector(3, width=16, queries=5).eval()
        >>> predictions = model(torch.zeros(2, 3, 32, 32)).layers[-1]
        >>> predictions.logits.shape, predictions.boxes.shape
        (torch.Size([2, 5, 3]), torch.Size([2, 5, 4]))
    """

    def __init__(
        self,
        classes: int,
        *,
        width: int = 64,
        halvings: int = 2,
        blocks: int = 1,
        encoder_layers: int = 1,
        decoder_layers: int = 2,
        heads: int = 4,
        queries: int = 20,
        attention: DetectAttention = "cross",
        dropout: float = 0.0,
    ):
        super().__init__()
        self.queries, self.attends = queries, attention == "cross"
        # Normalized in groups, since batches are small, and so that several processes compute what one does.
        self.stem = nn.Sequential(nn.Conv2d(3, width // 2, 5, 2, 2, bias=False), _groups(width // 2), nn.ReLU())
        self.stages = nn.ModuleList(
            Stage(width // 2 if number == 0 else width, width, blocks, norm=_groups) for number in range(halvings - 1)
        )
        self.project = nn.Linear(width if halvings > 1 else width // 2, width)
        self.place = nn.Linear(width, width)

        def layer() -> TransformerLayer:
            feed = FeedForward(width, 2 * width)
            return TransformerLayer(
                MultiHeadAttention(width, heads), feed, lambda: nn.LayerNorm(width), dropout=dropout
            )

        self.encoder = nn.ModuleList(layer() for _ in range(encoder_layers))
        self.norm = nn.LayerNorm(width)
        self.classes, self.move = class_layer(width, classes), box_layer(width)
        self.content = nn.Parameter(torch.randn(width) * 0.02)
        self.known = nn.Embedding(classes, width)
        self.decoder = nn.ModuleList(
            QueryLayer(classes, width, heads, attention, dropout) for _ in range(decoder_layers)
        )

    def forward(self, x: Tensor, noised: Noised | None = None) -> Detected:
        """What all layers find in images ``(B, 3, H, W)``; in training with known objects as further queries."""
        memory = self.encode(x)
        places = self.propose(memory)
        content, anchors = self._start(places, memory.side)
        if noised is None:
            return Detected(self._decode(content, anchors, memory, None, None)[0], [], places)
        count, mask = noised.labels.shape[1], _apart(noised, content.shape[1])
        content = torch.cat([self.known(noised.labels), content], 1)
        layers, _ = self._decode(content, torch.cat([noised.anchors, anchors], 1), memory, mask, None)
        known = [Predictions(one.logits[:, :count], one.boxes[:, :count]) for one in layers]
        own = [Predictions(one.logits[:, count:], one.boxes[:, count:]) for one in layers]
        return Detected(own, known, places)

    def look(self, x: Tensor, look: Look | None = Look(rows=slice(None))) -> tuple[Predictions, View | None]:  # noqa: B008
        """What the last layer finds, and the view of its attention to the places of the image."""
        memory = self.encode(x)
        layers, view = self._decode(*self._start(self.propose(memory), memory.side), memory, None, look)
        return layers[-1], view

    def encode(self, x: Tensor) -> Memory:
        """The places of images ``(B, 3, H, W)``."""
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        for stage in self.stages:
            x, _ = stage(x)
        side = (x.shape[2], x.shape[3])
        places = centres(*side, x.device)
        y = self.project(x.flatten(2).transpose(1, 2))
        position = self.place(waves(places, y.shape[-1]))
        y = y + position
        for layer in self.encoder:
            y, _ = layer(y)
        y = self.norm(y)
        return Memory(places, y + position, y, side)

    def propose(self, memory: Memory) -> Predictions:
        """A class and a box for each place; the box is near the place."""
        sides = torch.full_like(memory.places, _SIDE)
        start = inverse_sigmoid(torch.cat([memory.places, sides], -1))
        return Predictions(self.classes(memory.values), boxes_of((self.move(memory.values) + start).sigmoid()))

    def _start(self, places: Predictions, side: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The first content and the anchors of the queries: the boxes of the most probable places.

        A place beside a more probable one comes after all others, since its box would be almost the same, and queries
        that begin in the same way cannot divide objects among them (Zhou et al. 2019, arXiv:1904.07850).
        """
        count = min(self.queries, places.logits.shape[1])
        scores = places.logits.amax(-1)
        around = F.max_pool2d(scores.unflatten(1, side)[:, None], 3, 1, 1).flatten(1)
        best = torch.where(scores == around, scores, scores - _BESIDE).topk(count, dim=1).indices
        boxes = places.boxes.detach().gather(1, best[..., None].expand(-1, -1, 4))
        return self.content.expand(*best.shape, -1), anchors_of(boxes)

    def _decode(
        self, x: Tensor, anchors: Tensor, memory: Memory, mask: Tensor | None, look: Look | None
    ) -> tuple[list[Predictions], View | None]:
        layers, view = [], None
        for number, layer in enumerate(self.decoder):
            last = number == len(self.decoder) - 1
            x, moved, predictions, view = layer(x, anchors, memory, mask, look if last else None)
            layers.append(predictions)
            anchors = moved.detach()
        return layers, view


def _groups(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, channels // 8), channels)


def _apart(noised: Noised, queries: int) -> Tensor:
    """What queries see: the noised ones their own group and the queries, the queries only each other.

    Returns:
        Boolean ``(B, 1, G · N + queries, G · N + queries)``.
    """
    count = noised.labels.shape[1]
    device = noised.labels.device
    group = torch.arange(count, device=device) // (count // noised.groups)
    group = torch.cat([group, torch.full((queries,), noised.groups, device=device)])
    same = (group[:, None] == group) | (group == noised.groups)
    real = F.pad(noised.real, (0, queries), value=True)
    return (same & real[:, None])[:, None]
