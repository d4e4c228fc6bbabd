"""A detector of objects: a Transformer whose queries are anchors, which attend to the places of the image.

Detection as the prediction of a set: Carion et al. 2020 (arXiv:2005.12872). Queries are anchors that each layer moves:
Liu et al. 2022 (arXiv:2201.12329). The first anchors are the best places of the encoder: Zhu et al. 2021
(arXiv:2010.04159). Attention is concentrated around an anchor: Gao et al. 2021 (arXiv:2101.07448). Known boxes with
noise as further queries in training: Li et al. 2022 (arXiv:2203.01305).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Look, View
from regard.models.boxes import anchors_of, boxes_of, centres, centres_along, waves
from regard.models.layers import Residual, TransformerLayer
from regard.models.vision import Stage
from regard.nn import FeedForward, MultiHeadAttention
from regard.nn.optional_look import attend_heads

DetectAttention = Literal["cross", "none"]

_PRIOR = 0.01
"""The probability of each class that a new model gives."""
_SIDE = 0.2
"""The width and height of the boxes of a new model, as parts of the image."""
_EDGE = 1e-3


class Found(NamedTuple):
    """What a layer found: logits of the classes ``(B, Q, classes)``, and boxes ``(B, Q, 4)``; see `models.boxes`."""

    logits: Tensor
    boxes: Tensor


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
        layers: what each layer of the decoder found for the queries.
        noised: likewise for the known objects; empty without them.
        places: what the encoder found at each place of its map.
    """

    layers: list[Found]
    noised: list[Found]
    places: Found


class AnchorAttention(nn.Module):
    """Multi-head attention of queries to the places of an image, with a Gaussian around the anchor of each query.

    The score of a place is the dot product of query and key, minus half of its squared distance from a point, in units
    of the size of the anchor times a learned number. The point is the centre of the anchor, moved as the query says.
    Gao et al. 2021 (arXiv:2101.07448).

    Args:
        width: of queries and places.
        heads: of the attention.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.shift = nn.Linear(width, 2 * heads)
        self.sharpness = nn.Parameter(torch.zeros(heads))
        nn.init.zeros_(self.shift.weight)
        turns = torch.arange(heads) * (2 * math.pi / heads)
        with torch.no_grad():  # the heads begin at different sides of the centre
            self.shift.bias.copy_(0.5 * torch.stack([turns.cos(), turns.sin()], -1).flatten())

    def forward(
        self, queries: Tensor, anchors: Tensor, side: tuple[int, int], keys: Tensor, values: Tensor, look: Look | None
    ) -> tuple[Tensor, View | None]:
        """Attend.

        Args:
            queries: ``(B, Q, width)``.
            anchors: ``(B, Q, 4)``.
            side: the height and width of the map of places, whose product is N.
            keys: ``(B, N, width)``.
            values: ``(B, N, width)``.
            look: what to report about the weights.

        Returns:
            ``(B, Q, width)``, and the view, None without ``look``.
        """
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, queries), (self.key, keys), (self.value, values))
        )
        shift = self.shift(queries).unflatten(-1, (self.heads, 2)).transpose(1, 2)
        size = anchors[:, None, :, 2:].clamp(min=_EDGE)
        point = anchors[:, None, :, :2] + shift * size / 2
        height, width = side
        # The two directions are computed apart, since most of the time is for numbers per query and place.
        right, down = (
            ((centres_along(count, queries.device) - point[..., axis, None]) / (size[..., axis, None] / 2)).square()
            for axis, count in ((0, width), (1, height))
        )
        sharpness = -0.5 * self.sharpness.exp()[:, None, None]
        bias = (sharpness * down)[..., :, None] + (sharpness * right)[..., None, :]
        context, view = attend_heads(q, k, v, look, bias=bias.flatten(-2))
        return self.output(context.transpose(1, 2).flatten(2)), view


class CentreSample(nn.Module):
    """In place of `AnchorAttention`, without attention: the features at the centre of each anchor, interpolated."""

    def __init__(self, width: int):
        super().__init__()
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, anchors: Tensor, values: Tensor, side: tuple[int, int]) -> Tensor:
        """``(B, Q, width)``, from the places ``(B, N, width)`` of a map of this height and width."""
        image = self.value(values).transpose(1, 2).unflatten(-1, side)
        at = F.grid_sample(image, anchors[:, :, None, :2] * 2 - 1, align_corners=False, padding_mode="border")
        output: Tensor = self.output(at[..., 0].transpose(1, 2))
        return output


class QueryLayer(nn.Module):
    """Queries attend to each other and to the image; each then says its class, and moves its anchor."""

    def __init__(self, classes: int, width: int, heads: int, attention: DetectAttention, dropout: float):
        super().__init__()
        self.among = MultiHeadAttention(width, heads)
        self.cross = AnchorAttention(width, heads) if attention == "cross" else None
        self.sample = None if attention == "cross" else CentreSample(width)
        self.feed = FeedForward(width, 2 * width)
        self.around_among, self.around_cross, self.around_feed = (
            Residual(nn.LayerNorm(width), "pre", dropout) for _ in range(3)
        )
        self.position = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.classes, self.move = class_layer(width, classes), box_layer(width)

    def forward(
        self,
        x: Tensor,
        anchors: Tensor,
        memory: Memory,
        mask: Tensor | None,
        look: Look | None,
    ) -> tuple[Tensor, Tensor, Found, View | None]:
        """One layer over queries ``x`` ``(B, Q, width)`` with ``anchors`` ``(B, Q, 4)``.

        Returns:
            The queries, the moved anchors, what was found, and the view of the attention to the image.
        """
        position, view = self.position(waves(anchors, x.shape[-1])), None
        y = self.around_among.enter(x)
        x = self.around_among.leave(x, self.among(y + position, y + position, y, mask=mask)[0])
        y = self.around_cross.enter(x)
        if self.cross is not None:
            y, view = self.cross(y + position, anchors, memory.side, memory.keys, memory.values, look)
        elif self.sample is not None:
            y = self.sample(anchors, memory.values, memory.side)
        x = self.around_cross.leave(x, y)
        x = self.around_feed.leave(x, self.feed(self.around_feed.enter(x)))
        y = self.norm(x)
        moved = (self.move(y) + inverse_sigmoid(anchors)).sigmoid()
        return x, moved, Found(self.classes(y), boxes_of(moved)), view


class Memory(NamedTuple):
    """The encoded image: ``keys`` are ``values`` ``(B, N, width)`` with the positions of the ``places`` ``(N, 2)``."""

    places: Tensor
    keys: Tensor
    values: Tensor
    side: tuple[int, int]


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
        >>> found = model(torch.zeros(2, 3, 32, 32)).layers[-1]
        >>> found.logits.shape, found.boxes.shape
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
        content, anchors = self._start(places)
        if noised is None:
            return Detected(self._decode(content, anchors, memory, None, None)[0], [], places)
        count, mask = noised.labels.shape[1], _apart(noised, content.shape[1])
        content = torch.cat([self.known(noised.labels), content], 1)
        layers, _ = self._decode(content, torch.cat([noised.anchors, anchors], 1), memory, mask, None)
        known = [Found(one.logits[:, :count], one.boxes[:, :count]) for one in layers]
        own = [Found(one.logits[:, count:], one.boxes[:, count:]) for one in layers]
        return Detected(own, known, places)

    def look(self, x: Tensor, look: Look | None = Look(rows=slice(None))) -> tuple[Found, View | None]:  # noqa: B008
        """What the last layer finds, and the view of its attention to the places of the image."""
        memory = self.encode(x)
        layers, view = self._decode(*self._start(self.propose(memory)), memory, None, look)
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

    def propose(self, memory: Memory) -> Found:
        """A class and a box for each place; the box is near the place."""
        sides = torch.full_like(memory.places, _SIDE)
        start = inverse_sigmoid(torch.cat([memory.places, sides], -1))
        return Found(self.classes(memory.values), boxes_of((self.move(memory.values) + start).sigmoid()))

    def _start(self, places: Found) -> tuple[Tensor, Tensor]:
        """The first content and the anchors of the queries: the boxes of the most probable places."""
        count = min(self.queries, places.logits.shape[1])
        best = places.logits.amax(-1).topk(count, dim=1).indices
        boxes = places.boxes.detach().gather(1, best[..., None].expand(-1, -1, 4))
        return self.content.expand(*best.shape, -1), anchors_of(boxes)

    def _decode(
        self, x: Tensor, anchors: Tensor, memory: Memory, mask: Tensor | None, look: Look | None
    ) -> tuple[list[Found], View | None]:
        layers, view = [], None
        for number, layer in enumerate(self.decoder):
            last = number == len(self.decoder) - 1
            x, moved, found, view = layer(x, anchors, memory, mask, look if last else None)
            layers.append(found)
            anchors = moved.detach()
        return layers, view


def _groups(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, channels // 8), channels)


def class_layer(width: int, classes: int) -> nn.Linear:
    """The logits of the classes, at first of a small probability (Lin et al. 2017, arXiv:1708.02002)."""
    layer = nn.Linear(width, classes)
    nn.init.constant_(layer.bias, -math.log((1 - _PRIOR) / _PRIOR))
    return layer


def box_layer(width: int) -> nn.Sequential:
    """How a box moves, at first not at all."""
    layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))
    for parameter in layers[2].parameters():
        nn.init.zeros_(parameter)
    return layers


def inverse_sigmoid(x: Tensor) -> Tensor:
    """``log(x / (1 - x))`` of numbers from 0 to 1, kept finite."""
    x = x.clamp(_EDGE, 1 - _EDGE)
    return (x / (1 - x)).log()


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
