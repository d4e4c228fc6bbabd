"""What a model of clips needs whatever it computes: how clips are decoded and changed, windows, normalization."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from regard.data.clips import ClipCodec, Clips
from regard.data.ragged import Ragged
from regard.explain.film import Film
from regard.models.video import Places
from regard.tasks.inputs.clip_settings import ClipAugmentConfig, LabelledClipsConfig
from regard.tasks.task import Notify


class ClipKind(ABC):
    """One kind of clips: as poses, or as frames.

    Args:
        data: the settings of the clips.
    """

    name: ClassVar[str]
    """The name of the input of an exported model."""
    use: ClassVar[str]
    """What an exported model takes."""
    advice: ClassVar[str]
    """What to do if there are no such clips."""
    limit: ClassVar[int]
    """The largest number of frames of a batch in validation, with its padding."""
    deciding: ClassVar[str]
    """The places of a frame that decide, for the scores."""

    def __init__(self, data: LabelledClipsConfig):
        self.data = data

    @abstractmethod
    def codec(self, shape: tuple[int, ...] | None = None) -> ClipCodec:
        """How clips are decoded; ``shape``: of a frame, if it is known."""

    @abstractmethod
    def builtin(self, seed: int) -> Clips:
        """The built-in clips."""

    @abstractmethod
    def facts(self, clips: Clips) -> dict[str, Any]:
        """What the model needs to know of the training clips, as JSON can represent it."""

    @abstractmethod
    def places(self, shape: tuple[int, ...], width: int, facts: Mapping[str, Any]) -> Places:
        """The part of the model that gives vectors of the places."""

    def check(self, clips: Clips, notify: Notify) -> None:  # noqa: B027
        """Notes about the clips for training go to ``notify``. Raises UserError: a setting does not fit them."""

    @abstractmethod
    def augment(self, how: ClipAugmentConfig, x: Tensor, lengths: Tensor) -> Tensor:
        """Change the places of clips ``(B, T, …)`` at random."""

    @abstractmethod
    def film(self, weights: np.ndarray, values: np.ndarray) -> Film:
        """A clip with the weights of its places, ``(frames, places)``."""

    @abstractmethod
    def save(self, values: np.ndarray, folder: Path, name: str) -> str:
        """Write a clip to a file, with an ending after ``name``; returns its path."""

    def notes(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """What else users of an exported model need to know."""
        return {}


def windows(values: Ragged, rows: Sequence[int], size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Windows of some clips: ``(W, T, …)``, padded; their lengths ``(W,)``; and the index in ``rows`` of each."""
    parts, owners = values.windows(rows, size)
    x, lengths = parts.padded(range(len(parts)))
    return torch.from_numpy(x), torch.from_numpy(lengths), torch.from_numpy(owners)


def one_of_each(owners: Tensor) -> Tensor:
    """The index of a random window of each clip ``(clips,)``; ``owners``: the clip of each window, in order."""
    counts = torch.bincount(owners)
    chosen = (torch.rand(len(counts), device=owners.device) * counts).long().clamp(max=counts - 1)
    return counts.cumsum(0) - counts + chosen


def joined(weights: np.ndarray, parts: Ragged, frames: int) -> np.ndarray:
    """The weights of the places of a clip, ``(frames, places)``: the mean of those of its windows.

    Args:
        weights: of each window, ``(windows, T, places)``, each with the sum 1.
        parts: the windows, all of one clip.
        frames: of the clip.

    >>> parts, _ = Ragged.of([np.zeros(3)]).windows([0], 2)
    >>> joined(np.array([[[0.5], [0.5]], [[1.0], [0.0]]]), parts, 3)[:, 0].tolist()
    [0.25, 0.75, 0.0]
    """
    total = np.zeros((frames, weights.shape[2]))
    for own, start, length in zip(weights, parts.starts - parts.starts[0], parts.lengths, strict=True):
        total[start : start + length] += own[:length] / len(weights)
    return total
