"""One vector for a clip of poses, from statistics of its positions, distances and motion over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LEAST = 4
"""The last frame of a shorter clip is repeated up to this number of frames, so that each third of it has motion."""
_PERIOD = 80
"""The number of frames of the longest period in the spectrum."""
_BANDS = 4
_BAND = 3
"""The number of bands of the spectrum, and of frequencies in each, in multiples of 1 / `_PERIOD`."""
_FAINT = 0.05
"""Is added to the amplitudes before their logarithm, so that what hardly moves makes no large differences."""


def pooled_poses(joints: np.ndarray) -> np.ndarray:
    """Statistics of a clip, in which neither the place nor the size of the body makes a difference.

    Of the positions of the joints around their middle, of the distances between them, and of their motion to the next
    frame and its speed, each divided by the size of the body: the mean, the standard deviation, the smallest and the
    largest value, the mean of each third of the clip, and the logarithm of the mean amplitude in four bands of
    frequency, which end at 3, 6, 9 and 12 periods in 80 frames.

    Args:
        joints: ``(frames, joints, dims)``.

    Returns:
        float32 ``(features,)``.

    >>> pooled_poses(np.random.default_rng(0).normal(size=(30, 15, 2))).shape
    (1980,)
    """
    joints = joints.astype(np.float64)
    joints = np.concatenate([joints, np.repeat(joints[-1:], max(0, _LEAST - len(joints)), axis=0)])
    around = joints - joints.mean(1, keepdims=True)
    size = max(float(np.sqrt(np.square(around).sum(2).mean())), 1e-6)
    motion = np.diff(joints, axis=0) / size
    one, other = np.triu_indices(joints.shape[1], 1)
    sequences = (
        around.reshape(len(joints), -1) / size,
        np.linalg.norm(joints[:, one] - joints[:, other], axis=2) / size,
        motion.reshape(len(motion), -1),
        np.linalg.norm(motion, axis=2),
    )
    return np.concatenate([statistic for sequence in sequences for statistic in _statistics(sequence)]).astype(
        np.float32
    )


def mirrored_poses(joints: np.ndarray, mirrored: Sequence[int]) -> np.ndarray:
    """The mirror image of a clip ``(frames, joints, dims)``; each joint takes the place of the one with this number."""
    turned: np.ndarray = joints[:, list(mirrored)] * np.array([-1, *[1] * (joints.shape[2] - 1)], joints.dtype)
    return turned


def _statistics(x: np.ndarray) -> list[np.ndarray]:
    """Of a sequence ``(frames, features)``."""
    times = -(-len(x) // _PERIOD)
    spectrum = np.abs(np.fft.rfft(x - x.mean(0), n=times * _PERIOD, axis=0))[1 : 1 + times * _BANDS * _BAND]
    bands = spectrum.reshape(_BANDS, times * _BAND, -1).mean(1) / len(x) ** 0.5
    thirds = [third.mean(0) for third in np.array_split(x, 3)]
    return [x.mean(0), x.std(0), x.min(0), x.max(0), *thirds, np.log(_FAINT + bands).ravel()]
