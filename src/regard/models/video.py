"""Classifiers of clips: convolutions over time for each joint or patch, and attention over time and places."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Additive, Lengths, Look
from regard.models.layers import class_logits, real_places
from regard.nn import AttentionPooling, Dropout, Learned
from regard.nn.batch_norm import BatchNorm1d, BatchNorm2d, as_long_in_all

STEP = 2
"""The number of frames for each step of the attention over time."""

PATCH = 8
"""The side of a patch, in pixels."""

_SPAN = 5
"""The number of frames or steps of a convolution."""
_LIMIT = 5.0
"""The largest normalized feature."""


class Watched(NamedTuple):
    """Logits ``(B, classes)``, and the weight of each place of each frame ``(B, Q, T, places)``.

    The weights of a clip have the sum 1. Q is 1, or the number of classes if each has a query of its own. They are None
    if the model has no attention.
    """

    logits: Tensor
    places: Tensor | None


class Places(nn.Module):
    """Vectors of the places of each frame, such as joints."""

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``(B, T, places, dim)`` from clips ``(B, T, …)`` of these lengths ``(B,)``."""


class ClipClassifier(nn.Module):
    """Classifies clips of any length.

    Convolutions over time, the same for all places (joints or patches), read the vectors of each place; a step covers
    two frames. A learned query attends to all places of all steps with the additive score (Bahdanau et al. 2015; Lin et
    al. 2017, arXiv:1703.03130), and the result is classified. If a clip can have several labels, each label has a query
    of its own.

    Args:
        classes: the number of classes.
        places: gives the vectors of the places.
        dim: their width.
        heads: of the attention.
        attention: False: the mean over places and steps in place of the attention, as a baseline.
        dropout: probability, on the vectors of places and of the clip.
        several: whether a clip can have several labels, or none: each logit is for a label of its own.

    Attributes:
        thresholds: with several labels, the probability from which each applies, ``(classes,)``, which validation
            chooses; otherwise None.

    Raises:
        ValueError: ``heads`` does not divide ``dim``.
    """

    thresholds: Tensor | None

    def __init__(
        self,
        classes: int,
        places: Places,
        dim: int,
        *,
        heads: int = 4,
        attention: bool = True,
        dropout: float = 0.3,
        several: bool = False,
    ):
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads: must divide the width {dim}, got {heads}")
        self.places = places
        self.pool: AttentionPooling | None = None
        if attention:
            score = Learned(Additive, v=torch.randn(heads, dim // heads) * (dim // heads) ** -0.5)
            self.pool = AttentionPooling(dim, seeds=classes if several else 1, heads=heads, score=score)
        self.blocks = nn.ModuleList(_Block(dim, step) for step in (1, STEP, 1))
        self.drop = Dropout(dropout)
        self.output = nn.Linear(dim, classes)
        self.register_buffer("thresholds", torch.full((classes,), 0.5) if several else None)

    def forward(self, x: Tensor, lengths: Tensor, owners: Tensor | None = None) -> Tensor:
        """Logits ``(clips, classes)``: see `look`.

        Args:
            x: clips, or windows of clips.
            lengths: of each.
            owners: int64 ``(B,)``, for windows, the number of the clip of each; the logits of a clip are the mean of
                those of its windows.
        """
        logits = self.look(x, lengths, None).logits
        if owners is None:
            return logits
        clips = int(owners.max()) + 1
        sums = logits.new_zeros(clips, logits.shape[1]).index_add(0, owners, logits)
        return sums / torch.bincount(owners, minlength=clips)[:, None]

    def look(self, x: Tensor, lengths: Tensor, look: Look | None = Look(rows=slice(None))) -> Watched:  # noqa: B008
        """Classify.

        Args:
            x: clips ``(B, T, …)``, as the places take them, padded at the end.
            lengths: int64 ``(B,)``, the number of frames of each.
            look: what to report about the weights; None: nothing.

        Returns:
            The logits, and the weights, each the mean over the heads.
        """
        if self.training:
            x = as_long_in_all(x)
        vectors = self.places(x, lengths)
        frames, places = vectors.shape[1:3]
        states, steps = self._over_time(vectors, lengths)
        if self.pool is None:
            clip, view = states.sum(1, keepdim=True) / (steps * places)[:, None, None], None
        else:
            clip, view = self.pool(states, mask=Lengths(steps * places), look=look)
        logits = class_logits(self.output, self.drop(clip.to(states.dtype)))
        if view is None:
            return Watched(logits, None)
        weights = view.rows.mean(1).unflatten(2, (-1, places))
        return Watched(logits, _by_frame(weights, lengths, frames))

    def _over_time(self, vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The states of the places of all steps ``(B, steps · places, dim)``, those of padding 0; the steps of each."""
        batch, frames, places, dim = vectors.shape
        x = self.drop(vectors * real_places(frames, lengths)[:, :, None, None])
        x = x.permute(0, 2, 3, 1).reshape(batch * places, dim, frames)
        own = lengths.repeat_interleave(places)
        for block in self.blocks:
            x, own = block(x, own)
        x = x.reshape(batch, places, dim, -1).permute(0, 3, 1, 2)
        return x.reshape(batch, -1, dim), own[::places]


class _Block(nn.Module):
    """A convolution over time, batch normalization and ReLU, added to its input; padding stays 0."""

    def __init__(self, dim: int, stride: int):
        super().__init__()
        self.convolution = nn.Conv1d(dim, dim, _SPAN, stride=stride, padding=_SPAN // 2, bias=False)
        self.norm = BatchNorm1d(dim)
        self.stride = stride

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, dim, T)`` to ``(B, dim, T / stride)``, rounded up, and the lengths likewise."""
        y = F.relu(self.norm(self.convolution(x)))
        lengths = (lengths + self.stride - 1) // self.stride
        y = y + F.avg_pool1d(x, 1, self.stride)  # each n-th step; a slice has another size for the exporter
        return y * real_places(y.shape[2], lengths)[:, None], lengths


class Joints(Places):
    """Vectors of joints from their positions, distances and motion, as in DD-Net (Yang et al. 2019, arXiv:1907.09658).

    The features of a joint are its position around the middle of the joints of its frame, its motion to the next frame
    (slow) and to the one after it (fast), and its distances to all joints, each divided by the size of the body, so
    that neither the place nor the size of a body makes a difference. Each joint has weights of its own.

    Args:
        joints: the number of joints.
        dims: coordinates of a joint.
        dim: width of the vectors.
        scale: the mean and the standard deviation of each feature of each joint over the training clips,
            ``(joints, 3 · dims + joints)``; None: 0 and 1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        joints: int,
        dims: int,
        dim: int,
        scale: tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]] | None = None,
    ):
        super().__init__()
        count = 3 * dims + joints
        mean, deviation = scale or ([[0.0] * count] * joints, [[1.0] * count] * joints)
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation), persistent=False)
        self.weight = nn.Parameter(torch.randn(joints, count, dim) * (2 / count) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(joints, dim))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``(B, T, joints, dim)`` from joints ``(B, T, joints, dims)``."""
        features = ((joint_features(x, lengths) - self.mean) / self.deviation).clamp(-_LIMIT, _LIMIT)
        return F.relu(torch.einsum("btjf,jfd->btjd", features, self.weight) + self.bias)


def joint_features(x: Tensor, lengths: Tensor) -> Tensor:
    """Position, slow and fast motion, and distances of joints: see `Joints`.

    Args:
        x: joints ``(B, T, joints, dims)``, padded at the end.
        lengths: int64 ``(B,)``.

    Returns:
        ``(B, T, joints, 3 · dims + joints)``.
    """
    around = x - x.mean(2, keepdim=True)
    real = real_places(x.shape[1], lengths)[:, :, None, None]
    squares = (around.square() * real).sum((1, 2, 3), keepdim=True)
    size = (squares / (lengths[:, None, None, None] * x.shape[2])).sqrt().clamp(min=1e-6)
    times, last = torch.arange(x.shape[1], device=x.device), lengths[:, None] - 1
    motions = []
    for later in (1, 2):
        at = torch.minimum(times + later, last)[:, :, None, None].expand_as(x)
        motions.append((x.gather(1, at) - x) * real)
    distances = (around[:, :, :, None] - around[:, :, None]).square().sum(-1).clamp(min=1e-12).sqrt()
    return torch.cat([around, *motions, distances], -1) / size


class Patches(Places):
    """Vectors of the patches of frames, from their pixels and the changes since the frame before, by convolutions.

    Args:
        size: height and width of a frame, a multiple of `PATCH`.
        dim: width of the vectors.
        scale: the mean and the standard deviation of each colour, from 0 to 1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int, dim: int, scale: tuple[Sequence[float], Sequence[float]]):
        super().__init__()
        for name, colours in (("mean", scale[0]), ("deviation", scale[1])):
            self.register_buffer(name, torch.tensor(colours)[:, None, None], persistent=False)
        widths = (6, max(8, dim // 4), max(8, dim // 2), dim)
        self.convolutions = nn.Sequential()
        for before, after in pairwise(widths):
            layer = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            self.convolutions.extend((layer, BatchNorm2d(after), nn.ReLU()))
        self.positions = nn.Parameter(torch.randn((size // PATCH) ** 2, dim) * 0.02)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``(B, T, patches, dim)`` from frames ``(B, T, 3, size, size)``, from 0 to 255."""
        x = (x.float() / 255 - self.mean) / self.deviation
        changes = F.pad(x[:, 1:] - x[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
        y = self.convolutions(torch.cat([x, changes], 2).flatten(0, 1))
        vectors: Tensor = y.flatten(2).transpose(1, 2).unflatten(0, x.shape[:2]) + self.positions
        return vectors


class OneLength(nn.Module):
    """A classifier of clips without padding.

    Args:
        model: the classifier.
    """

    def __init__(self, model: ClipClassifier):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, classes)`` from clips ``(B, T, …)``."""
        lengths = torch.full_like(x.flatten(1)[:, 0], x.shape[1], dtype=torch.int64)
        logits: Tensor = self.model(x, lengths)
        return logits


def _by_frame(weights: Tensor, lengths: Tensor, frames: int) -> Tensor:
    """The weights of frames ``(B, Q, frames, places)``, each in proportion to that of its step, of ``weights``.

    A last step of fewer frames has a smaller share, so that equal weights of steps are equal weights of frames.
    """
    step = torch.arange(frames, device=weights.device) // STEP
    shares = weights[:, :, step] * real_places(frames, lengths)[:, None, :, None]
    return shares / shares.sum((2, 3), keepdim=True)
