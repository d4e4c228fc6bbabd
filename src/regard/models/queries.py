"""Queries that are anchors: they attend to each other and to the places of an image, say a class and move.

Anchors that each layer moves: Liu et al. 2022 (arXiv:2201.12329). Attention that is concentrated around an anchor: Gao
et al. 2021 (arXiv:2101.07448).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Look, View
from regard.models.boxes import boxes_of, centres_along, waves
from regard.models.layers import Residual
from regard.nn import FeedForward, MultiHeadAttention
from regard.nn.optional_look import attend_heads

DetectAttention = Literal["cross", "none"]

_PRIOR = 0.01
"""The probability of each class that a new model gives."""
_EDGE = 1e-3


class Predictions(NamedTuple):
    """What a layer predicts: logits of the classes ``(B, Q, classes)``, and boxes ``(B, Q, 4)``; see `models.boxes`."""

    logits: Tensor
    boxes: Tensor


class Memory(NamedTuple):
    """The encoded image: ``keys`` are ``values`` ``(B, N, width)`` with the positions of the ``places`` ``(N, 2)``."""

    places: Tensor
    keys: Tensor
    values: Tensor
    side: tuple[int, int]


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
    ) -> tuple[Tensor, Tensor, Predictions, View | None]:
        """One layer over queries ``x`` ``(B, Q, width)`` with ``anchors`` ``(B, Q, 4)``.

        Returns:
            The queries, the moved anchors, the predictions, and the view of the attention to the image.
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
        return x, moved, Predictions(self.classes(y), boxes_of(moved)), view


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
