"""What a model of poses needs whatever it computes: the features' normalization, the skeleton, augmentation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.data.clips import Clips
from regard.data.figures import figures
from regard.data.pooled_poses import mirrored_poses, pooled_poses
from regard.data.pose_batches import augment
from regard.data.poses import PoseCodec
from regard.data.ragged import Ragged
from regard.data.skeletons import automatic, skeleton_of
from regard.errors import UserError
from regard.explain.film import PoseFilm
from regard.models.video import Joints, joint_features
from regard.tasks.inputs.clip_settings import ClipAugmentConfig
from regard.tasks.inputs.clips import ClipKind
from regard.tasks.task import Notify

_MEASURED = 500
"""The number of training clips from which the normalization is computed."""


class PoseClips(ClipKind):
    """See `ClipKind`."""

    name = "poses"
    use = "joints of one person in each frame, in any unit, y downwards"
    advice = "for images, animations and video files, use --data.kind frames"
    limit = 20_000
    deciding = "joints"

    def codec(self, shape: tuple[int, ...] | None = None) -> PoseCodec:
        """See `ClipKind`."""
        return PoseCodec(every=self.data.every, longest=self.data.longest, shape=shape, dims=self.data.dims)

    def builtin(self, seed: int) -> Clips:
        """See `ClipKind`."""
        return figures(self.data.builtin_clips, seed=seed)

    def facts(self, clips: Clips) -> dict[str, Any]:
        """The mean and the standard deviation of each feature of each joint, from at most 500 clips, evenly spaced."""
        total, squares, count = torch.zeros(1), torch.zeros(1), 0
        for row in range(0, len(clips.values), -(-len(clips.values) // _MEASURED)):
            x, lengths = clips.values.padded([row])
            features = joint_features(torch.from_numpy(x), torch.from_numpy(lengths))[0].double()
            total, squares, count = total + features.sum(0), squares + features.square().sum(0), count + len(features)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp(min=1e-4).sqrt()
        return {"mean": mean.tolist(), "deviation": deviation.tolist()}

    def places(self, shape: tuple[int, ...], width: int, facts: Mapping[str, Any]) -> Joints:
        """See `ClipKind`."""
        return Joints(shape[0], shape[1], width, (facts["mean"], facts["deviation"]))

    def check(self, clips: Clips, notify: Notify) -> None:
        """See `ClipKind`. The skeleton that the joints are taken for is a note."""
        count, setting = clips.shape[0], self.data.skeleton
        expected = len(skeleton_of(setting, count).joints)
        if expected != count:
            raise UserError(
                f"data.skeleton: {setting} has {expected} joints, and the clips have {count}; use auto, or none for "
                "other joints"
            )
        if setting == "auto" and self.data.train is not None:
            kind = automatic(count)
            unknown = "joints without names, so clips are not mirrored"
            known = unknown if kind == "none" else f"joints in the order of {kind}"
            notify(f"{self.data.train}: {count} {known}; see --data.skeleton")

    def augment(self, how: ClipAugmentConfig, x: Tensor, lengths: Tensor) -> Tensor:
        """See `ClipKind`."""
        mirrored = self._mirrored(x.shape[2]) if how.mirror else None
        return augment(x, lengths, mirrored=mirrored, rotate=how.rotate, stretch=how.stretch, noise=how.noise)

    def pooled(self, clips: Clips, *, mirror: bool) -> np.ndarray:
        """Statistics of each clip and, with ``mirror``, if its joints have sides, of its mirror image.

        Returns:
            float32 ``(1 or 2, n, features)``: see `pooled`.
        """
        every = range(len(clips.values))
        mirrored = self._mirrored(clips.shape[0]) if mirror else None
        copies = [pooled(clips.values, every, self.data.window)]
        if mirrored is not None:
            copies.append(pooled(clips.values, every, self.data.window, mirrored))
        return np.stack(copies)

    def _mirrored(self, joints: int) -> list[int] | None:
        """See `regard.data.skeletons.Skeleton.mirrored`; None: the joints have no sides."""
        mirrored = skeleton_of(self.data.skeleton, joints).mirrored
        return None if mirrored == sorted(mirrored) else mirrored

    def film(self, weights: np.ndarray, values: np.ndarray) -> PoseFilm:
        """See `ClipKind`."""
        return PoseFilm(weights, values, *skeleton_of(self.data.skeleton, values.shape[1]))

    def save(self, values: np.ndarray, folder: Path, name: str) -> str:
        """A JSONL file with a frame per line."""
        path = folder / f"{name}.jsonl"
        path.write_text("".join(f"{json.dumps(frame)}\n" for frame in values.round(2).tolist()))
        return str(path)

    def notes(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """The names of the joints."""
        return {"joints": skeleton_of(self.data.skeleton, shape[0]).joints}


def pooled(values: Ragged, rows: Sequence[int], window: int, mirrored: Sequence[int] | None = None) -> np.ndarray:
    """Statistics of clips of poses, the mean over the windows of each: float32 ``(len(rows), features)``.

    Args:
        values: clips.
        rows: which of them.
        window: the largest number of frames of a window.
        mirrored: of the mirror images, in which each joint takes the place of the one with this number.
    """
    parts, owners = values.windows(rows, window)
    clips = (parts[part] if mirrored is None else mirrored_poses(parts[part], mirrored) for part in range(len(parts)))
    features = np.array([pooled_poses(clip) for clip in clips])
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    means: np.ndarray = np.add.reduceat(features, starts) / np.bincount(owners)[:, None].astype(np.float32)
    return means
