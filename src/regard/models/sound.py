"""A classifier of sounds: log-mel energies, convolutions, and attention pooling over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Additive, Lengths, Look
from regard.models.layers import class_logits, real_places
from regard.nn import Dropout, Learned, LogMel, MultiHeadAttention
from regard.nn.batch_norm import BatchNorm2d, as_long_in_all

STEP = 4
"""The number of frames of features for each step that has a weight."""

_CONTEXT = 5
"""The number of steps of the last convolution."""
_LIMIT = 5.0
"""The largest normalized feature; those of digital silence would be far out."""


class Heard(NamedTuple):
    """Logits ``(B, classes)``, the weight of each step ``(B, Q, steps)``, and the features ``(B, T, F)``.

    Q is 1, or the number of classes if each has a query of its own. The weights are None if the model has no attention.
    """

    logits: Tensor
    places: Tensor | None
    features: Tensor


class SoundClassifier(nn.Module):
    """Classifies sounds of any length.

    Convolutions over time and frequency read the features, of which each step covers four frames. Learned queries
    attend to the steps with the additive score (Bahdanau et al. 2015; Lin et al. 2017, arXiv:1703.03130). If a sound
    can have several labels, each label has a query of its own.

    Args:
        classes: the number of classes.
        rate: samples per second.
        width: the number of features of a frame, if the inputs are features; 0: they are samples.
        bands: of the log-mel energies of samples.
        channels: of the first convolution; the others have two and four times as many.
        heads: of the pooling.
        attention: False: the mean over the steps in place of the attention, as a baseline.
        dropout: probability, on the steps and on the vector of a sound.
        scale: the mean and the standard deviation of each feature over the training sounds; None: 0 and 1.
        several: whether a sound can have several labels, or none: each logit is for a label of its own.

    Attributes:
        thresholds: with several labels, the probability from which each applies, ``(classes,)``, which validation
            chooses; otherwise None.

    Raises:
        ValueError: a size is not positive, or they do not fit each other.
    """

    mean: Tensor
    deviation: Tensor
    thresholds: Tensor | None

    def __init__(
        self,
        classes: int,
        *,
        rate: int = 16_000,
        width: int = 0,
        bands: int = 64,
        channels: int = 16,
        heads: int = 4,
        attention: bool = True,
        dropout: float = 0.2,
        scale: tuple[Sequence[float], Sequence[float]] | None = None,
        several: bool = False,
    ):
        super().__init__()
        if min(classes, channels, heads) < 1:
            raise ValueError("classes, channels and heads must be positive")
        self.mel = LogMel(rate, bands=bands) if width == 0 else None
        features, dim = width or bands, 4 * channels
        mean, deviation = scale or ([0.0] * features, [1.0] * features)
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation), persistent=False)
        widths = (1, channels, 2 * channels, dim)
        strides = ((1, 2), (2, 2), (2, 2))
        self.blocks = nn.ModuleList(
            Block(before, after, stride) for before, after, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.project = nn.Conv2d(dim, dim, (1, (features + 7) // 8))
        self.context = nn.Conv1d(dim, dim, _CONTEXT, padding=_CONTEXT // 2)
        self.drop = Dropout(dropout)
        self.pool: MultiHeadAttention | None = None
        if attention:
            score = Learned(Additive, v=torch.randn(heads, dim // heads) * (dim // heads) ** -0.5)
            self.pool = MultiHeadAttention(dim, heads, score=score)
            self.seed = nn.Parameter(torch.randn(classes if several else 1, dim) * dim**-0.5)
        self.output = nn.Linear(dim, classes)
        self.register_buffer("thresholds", torch.full((classes,), 0.5) if several else None)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits ``(B, classes)``; see `look`."""
        return self.look(x, lengths, None).logits

    def look(self, x: Tensor, lengths: Tensor, look: Look | None = Look(rows=slice(None))) -> Heard:  # noqa: B008
        """Classify.

        Args:
            x: samples ``(B, N)``, at least a frame, or features ``(B, T, width)``; padded at the end.
            lengths: int64 ``(B,)``, the number of samples or frames of each.
            look: what to report about the weights; None: nothing.

        Returns:
            The logits, the weight of each step, the mean over the heads, and the features.
        """
        features = x if self.mel is None else self.mel(x)
        lengths = lengths if self.mel is None else self.mel.frames(lengths)
        states, lengths = self._encode(features, lengths)
        if self.pool is None:
            vectors, view = states.sum(1, keepdim=True) / lengths[:, None, None], None
        else:
            queries = self.seed.expand(states.shape[0], -1, -1)
            vectors, view = self.pool(queries, states, mask=Lengths(lengths), look=look)
        places = None if view is None else view.rows.mean(1)
        return Heard(class_logits(self.output, self.drop(vectors.to(states.dtype))), places, features)

    def _encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The states of the steps ``(B, steps, dim)``, those of padding 0, and the number of steps of each sound."""
        x = ((features - self.mean) / self.deviation).clamp(-_LIMIT, _LIMIT)
        x = x * real_places(x.shape[1], lengths)[..., None]
        if self.training:
            x = as_long_in_all(x)
        x = x[:, None]
        for block in self.blocks:
            x, lengths = block(x, lengths)
        states = F.relu(self.project(x)[..., 0])  # a linear layer over channels and bands
        real = real_places(states.shape[2], lengths)[:, None]
        states = self.drop(states * real)
        states = (states + F.relu(self.context(states))) * real
        return states.transpose(1, 2), lengths


class Block(nn.Module):
    """A convolution of 3 × 3 frames and bands, batch normalization and ReLU; padding stays 0.

    Args:
        before: channels of the input.
        after: channels of the output.
        stride: over frames and bands.
    """

    def __init__(self, before: int, after: int, stride: tuple[int, int]):
        super().__init__()
        self.convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm = BatchNorm2d(after)
        self.stride = stride[0]

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, before, T, F)`` to ``(B, after, T / stride, F / stride)``, rounded up, and the lengths likewise."""
        x = F.relu(self.norm(self.convolution(x)))
        lengths = (lengths + self.stride - 1) // self.stride
        return x * real_places(x.shape[2], lengths)[:, None, :, None], lengths


class OneLength(nn.Module):
    """A classifier of sounds without padding.

    Args:
        model: the classifier.
    """

    def __init__(self, model: SoundClassifier):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, classes)`` from samples ``(B, N)`` or features ``(B, T, width)``."""
        logits: Tensor = self.model(x, torch.full_like(x.flatten(1)[:, 0], x.shape[1], dtype=torch.int64))
        return logits
