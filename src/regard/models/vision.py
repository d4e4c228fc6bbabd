"""Image classifiers: a small residual network, with and without attention, and a compact Transformer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Dot, Look
from regard.models.layers import TransformerLayer
from regard.nn import (
    CBAM,
    AttentionPooling,
    Dropout,
    FeedForward,
    MultiHeadAttention,
    SelfAttention2d,
    SqueezeExcitation,
)
from regard.nn.batch_norm import BatchNorm2d
from regard.nn.optional_look import attend

AttentionKind = Literal["none", "se", "cbam", "self", "query"]

_GATES: dict[str, type[SqueezeExcitation] | type[CBAM]] = {"se": SqueezeExcitation, "cbam": CBAM}


class Seen(NamedTuple):
    """Logits ``(B, classes)``, and the weight of each position, ``(B, h, w)``; None: no such weights."""

    logits: Tensor
    places: Tensor | None


class Stage(nn.Module):
    """A convolution and a pooling by 2, then residual convolutions, each optionally with a gate.

    Args:
        inner: channels of the input.
        outer: channels of the result.
        blocks: the number of residual convolutions.
        attention: the gates, ``"se"`` or ``"cbam"``; others: none.
        norm: creates a normalization layer of so many channels.
    """

    def __init__(
        self,
        inner: int,
        outer: int,
        blocks: int,
        attention: AttentionKind = "none",
        norm: Callable[[int], nn.Module] = BatchNorm2d,
    ):
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inner if number == 0 else outer, outer, 3, 1, 1, bias=False) for number in range(1 + blocks)
        )
        self.norms = nn.ModuleList(norm(outer) for _ in range(1 + blocks))
        kind = _GATES.get(attention)
        self.gates = nn.ModuleList(kind(outer, reduction=8) for _ in range(blocks)) if kind else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """``(B, C, H, W)`` to ``(B, C', H / 2, W / 2)``, and the last gate of each position."""
        x, places = F.relu(self.norms[0](F.max_pool2d(self.convolutions[0](x), 2))), None
        for number, (convolution, norm) in enumerate(zip(self.convolutions[1:], self.norms[1:], strict=True)):
            y = F.relu(norm(convolution(x)))
            if self.gates is not None:
                y, (_, places) = self.gates[number](y)
            x = x + y
        return x, places


class ResidualMap(nn.Module):
    """The places of an image, with features: a convolution, then three stages, each of which halves the size.

    Args:
        width: channels of the first stage; the others have four times as many.
        blocks: residual convolutions of each stage.
        attention: as of `ResNet`, which pools the places.
        stride: of the first convolution, 1 or 2.

    Attributes:
        deep: the number of channels of the places.

    Raises:
        ValueError: a size is not positive.
    """

    def __init__(self, *, width: int = 32, blocks: int = 1, attention: AttentionKind = "none", stride: int = 1):
        super().__init__()
        if min(width, blocks, stride) < 1:
            raise ValueError(f"width, blocks and stride must be positive, got {width}, {blocks}, {stride}")
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, stride, 1, bias=False), BatchNorm2d(width), nn.ReLU())
        widths = [width, width, 4 * width, 4 * width]
        self.stages = nn.ModuleList(Stage(*pair, blocks, attention) for pair in pairwise(widths))
        self.deep = widths[-1]
        self.among: SelfAttention2d | None = None
        if attention == "self":
            self.among = SelfAttention2d(self.deep, heads=4, key_channels=self.deep // 2)

    def map(self, x: Tensor, look: Look | None = None) -> tuple[Tensor, Tensor | None]:
        """``(B, deep, h, w)`` of images ``(B, 3, H, W)``, and the weight of each place, if there are any."""
        # Convolutions on a CPU are faster with channels last. (But strided 1 × 1 ones then hang, in PyTorch 2.13.)
        x, places = self.stem(x.contiguous(memory_format=torch.channels_last)), None
        for number, stage in enumerate(self.stages):
            x, gated = stage(x)
            places = gated if gated is not None else places
            if self.among is not None and number == 1:
                x, view = self.among(x, look=look)
                # The mean attention that each position received, over all positions and heads.
                places = None if view is None else view.rows.mean((1, 2)).unflatten(-1, x.shape[2:])
        return x, places


class ResNet(ResidualMap):
    """A small residual network that classifies images; see `ResidualMap`.

    It is designed to learn in few epochs on a CPU: residual connections of He et al. 2016 (arXiv:1512.03385); widths,
    and pooling instead of strides, after Jordan 2024 (arXiv:2404.00498).

    Args:
        classes: the number of classes.
        width: channels of the first stage; the others have four times as many.
        blocks: residual convolutions of each stage.
        attention: ``"se"`` and ``"cbam"``: a gate in every block; ``"self"``: the positions of the second stage
            attend to each other; ``"query"``: the mean of the last features is a query that attends to their
            positions, as a decoder attends to an encoder's memory; ``"none"``.

    Raises:
        ValueError: a size is not positive.
    """

    def __init__(self, classes: int, *, width: int = 32, blocks: int = 1, attention: AttentionKind = "none"):
        super().__init__(width=width, blocks=blocks, attention=attention)
        if classes < 1:
            raise ValueError(f"classes: must be positive, got {classes}")
        self.query = nn.Linear(self.deep, self.deep) if attention == "query" else None
        self.output = nn.Linear(self.deep * (2 if attention == "query" else 1), classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of images ``(B, 3, H, W)``, sides of 8 at least, of 16 in training."""
        return self.look(x, None).logits

    def look(self, x: Tensor, look: Look | None = Look(rows=slice(None))) -> Seen:  # noqa: B008 - frozen
        """The same, and the weight of each position; ``look`` None: without the weights."""
        x, places = self.map(x, look)
        features = x.mean((2, 3))
        if self.query is not None:
            memory = x.flatten(2).transpose(1, 2)
            context, view = attend(self.query(features)[:, None], memory, memory, Dot(), None, look)
            places = None if view is None else view.rows[:, 0, 0].unflatten(-1, x.shape[2:])
            features = torch.cat([features, context[:, 0].to(features.dtype)], -1)
        return Seen(self.output(features), places)


class PatchMap(nn.Module):
    """The places of a small image, with features: patches, computed by convolutions, attend to each other.

    Dosovitskiy et al. 2021 (arXiv:2010.11929) for the Transformer; Hassani et al. 2021 (arXiv:2104.05704) for the
    convolutions before it, which make small training sets sufficient.

    Args:
        size: height and width of an image, in pixels; a multiple of 4.
        width: of the features; a multiple of ``heads``.
        layers: the number of layers.
        heads: of each attention.
        dropout: on the output of each sublayer, and on attention weights.

    Attributes:
        deep: the number of channels of the places, ``width``.

    Raises:
        ValueError: the sizes do not fit each other.
    """

    def __init__(self, *, size: int = 32, width: int = 128, layers: int = 4, heads: int = 4, dropout: float = 0.1):
        super().__init__()
        if layers < 1 or size < 4 or size % 4:
            raise ValueError(f"layers, size: must be positive, size a multiple of 4; got {layers}, {size}")
        self.stem = nn.Sequential(
            nn.Conv2d(3, width // 2, 3, 1, 1, bias=False), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(width // 2, width, 3, 1, 1, bias=False), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        )  # fmt: skip
        self.position = nn.Parameter(torch.randn(1, (size // 4) ** 2, width) * 0.02)

        def layer() -> TransformerLayer:
            attention = MultiHeadAttention(width, heads, dropout=dropout)
            feed = FeedForward(width, 2 * width, dropout=dropout, activation="gelu")
            return TransformerLayer(attention, feed, lambda: nn.LayerNorm(width), dropout=dropout)

        self.layers = nn.ModuleList(layer() for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        self.deep = width

    def map(self, x: Tensor) -> tuple[Tensor, None]:
        """``(B, width, size / 4, size / 4)`` of images ``(B, 3, size, size)``; the places have no weights yet."""
        patches = self.stem(x.contiguous(memory_format=torch.channels_last))
        y = self.dropout(patches.flatten(2).transpose(1, 2) + self.position)
        for layer in self.layers:
            y, _ = layer(y)
        return self.norm(y).transpose(1, 2).unflatten(2, patches.shape[2:]), None


class ViT(PatchMap):
    """A compact Transformer that classifies small images: attention pools the patches of a `PatchMap`.

    The pooling is that of Hassani et al. 2021 (arXiv:2104.05704).

    Args:
        classes: the number of classes.
        size: height and width of an image, in pixels; a multiple of 4.
        width: of the features; a multiple of ``heads``.
        layers: the number of layers.
        heads: of each attention.
        dropout: on the output of each sublayer, and on attention weights.

    Raises:
        ValueError: the sizes do not fit each other.
    """

    def __init__(
        self, classes: int, *, size: int = 32, width: int = 128, layers: int = 4, heads: int = 4, dropout: float = 0.1
    ):
        super().__init__(size=size, width=width, layers=layers, heads=heads, dropout=dropout)
        if classes < 1:
            raise ValueError(f"classes: must be positive, got {classes}")
        self.pool = AttentionPooling(width)
        self.output = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of images ``(B, 3, size, size)``."""
        return self.look(x, None).logits

    def look(self, x: Tensor, look: Look | None = Look(rows=slice(None))) -> Seen:  # noqa: B008 - frozen
        """The same, and the weight of each position; ``look`` None: without the weights."""
        patches, _ = self.map(x)
        pooled, view = self.pool(patches.flatten(2).transpose(1, 2), look=look)
        places = None if view is None else view.rows[:, 0, 0].unflatten(-1, patches.shape[2:])
        return Seen(self.output(pooled[:, 0]), places)


class Mirrored(nn.Module):
    """A trained classifier that is applied to each image and its mirror image; the logits are averaged.

    Args:
        model: a classifier of images whose class does not depend on left and right.
    """

    def __init__(self, model: ResNet | ViT):
        super().__init__()
        self.model = model

    @property
    def output(self) -> nn.Linear:
        """The layer that computes the logits."""
        return self.model.output

    def forward(self, x: Tensor) -> Tensor:
        """As `ResNet.forward`."""
        return self.look(x, None).logits

    def look(self, x: Tensor, look: Look | None = Look(rows=slice(None))) -> Seen:  # noqa: B008 - frozen
        """As `ResNet.look`."""
        (logits, places), (turned, turned_places) = self.model.look(x, look), self.model.look(x.flip(3), look)
        if places is not None and turned_places is not None:
            places = (places + turned_places.flip(2)) / 2
        return Seen((logits + turned) / 2, places)


Classifier = ResNet | ViT | Mirrored
