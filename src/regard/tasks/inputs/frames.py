"""What a model of frames needs whatever it computes: the normalization of the pixels, the augmentation, an example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from regard.data import image_batches
from regard.data.clips import Clips
from regard.data.frames import FrameCodec
from regard.data.moving import moving
from regard.errors import require
from regard.explain.film import FrameFilm
from regard.models.video import Patches
from regard.tasks.inputs.clip_settings import ClipAugmentConfig
from regard.tasks.inputs.clips import ClipKind

_MEASURED = 20_000
"""The number of training frames from which the normalization is computed."""


class FrameClips(ClipKind):
    """See `ClipKind`."""

    name = "frames"
    use = "RGB from 0 to 255, cut to the middle square of each frame"
    advice = "for poses, use --data.kind poses"
    limit = 2_000
    deciding = "patches"

    def codec(self, shape: tuple[int, ...] | None = None) -> FrameCodec:
        """See `ClipKind`."""
        size = self.data.size
        return FrameCodec(every=self.data.every, longest=self.data.longest, shape=(3, size, size), size=size)

    def builtin(self, seed: int) -> Clips:
        """See `ClipKind`."""
        return moving(self.data.builtin_clips, self.data.size, seed=seed)

    def facts(self, clips: Clips) -> dict[str, Any]:
        """The mean and the standard deviation of each colour, from at most 20,000 frames."""
        flat = clips.values.flat
        return asdict(image_batches.Scale.of(flat[:: -(-len(flat) // _MEASURED)]))

    def places(self, shape: tuple[int, ...], width: int, facts: Mapping[str, Any]) -> Patches:
        """See `ClipKind`."""
        return Patches(shape[-1], width, (facts["mean"], facts["deviation"]))

    def augment(self, how: ClipAugmentConfig, x: Tensor, lengths: Tensor) -> Tensor:
        """See `ClipKind`. All frames of a clip are changed in the same way."""
        flip = how.mirror and self.data.train is not None
        return image_batches.augment(x.float().flatten(1, 2), crop=how.crop, flip=flip, cutout=0).view(x.shape)

    def film(self, weights: np.ndarray, values: np.ndarray) -> FrameFilm:
        """See `ClipKind`."""
        return FrameFilm(weights, values)

    def save(self, values: np.ndarray, folder: Path, name: str) -> str:
        """A GIF."""
        images: Any = require("PIL.Image", "image", "writing an animation")
        path = folder / f"{name}.gif"
        first, *others = (images.fromarray(frame.transpose(1, 2, 0)) for frame in values)
        first.save(path, save_all=True, append_images=others, duration=80, loop=0)
        return str(path)
