"""Clips as poses: the joints of one person in each frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regard.data import pose_files
from regard.data.clips import ClipCodec


@dataclass(frozen=True)
class PoseCodec(ClipCodec):
    """Clips as poses, float32 ``(frames, joints, dims)``: see `regard.data.pose_files.open_poses`.

    Attributes:
        dims: coordinates of a joint.
    """

    dtype = np.float32
    head = pose_files.HEAD

    dims: int = 2

    @property
    def depends_on(self) -> tuple[object, ...]:
        """See `regard.data.codec.Codec`."""
        return "poses", self.every, self.longest, self.shape, self.dims

    def open(self, content: bytes) -> np.ndarray:
        """See `ClipCodec`."""
        return pose_files.open_poses(content, dims=self.dims, every=self.every, longest=self.longest)

    def examine(self, name: str, head: bytes) -> bool:
        """See `ClipCodec`."""
        return pose_files.examine(name, head)

    def is_frame(self, name: str, head: bytes) -> bool:
        """See `ClipCodec`."""
        return pose_files.is_frame(name, head)

    def difference(self, shape: tuple[int, ...], other: tuple[int, ...]) -> str:
        """See `ClipCodec`."""
        return f"has {shape[0]} joints, where the others have {other[0]}"
