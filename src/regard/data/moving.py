"""Built-in frames to classify: two digits in noise, one of which moves for a while."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from regard.data.clips import Clips
from regard.data.codec import digest
from regard.data.glyphs import DIGITS, drawn
from regard.data.ragged import Ragged

DIRECTIONS: dict[str, tuple[int, int]] = {"down": (1, 0), "left": (0, -1), "right": (0, 1), "up": (-1, 0)}
"""Class → the rows and columns by which the digit moves in a frame."""

_FRAMES = (16, 25)
_MOMENT = (5, 8)
_SIDE = 8
"""About the height of a digit."""
_STEP = 2
_CELL = 8
"""The side of the places, in pixels of 32."""


@lru_cache(maxsize=1)
def moving(count: int, size: int, *, seed: int = 0) -> Clips:
    """``count`` clips of four classes, in an order that depends on the seed.

    Each has 16 to 24 frames of noise. A digit stays where it is, and for 5 to 7 frames, at a random time, moves
    straight in the direction that is the class. Another digit of the same colour never moves. Which digits they are is
    random. The frames have 32 × 32 pixels, scaled to ``size``.

    Args:
        count: their number.
        size: height and width of the frames, a multiple of 32.
        seed: of the clips.

    >>> clips = moving(2, 32)
    >>> clips.names, clips.shape
    (('down', 'left', 'right', 'up'), (3, 32, 32))
    """
    random = np.random.default_rng([seed, 37])
    labels = random.integers(0, len(DIRECTIONS), count)
    values, moments, places = [], [], []
    for label in labels:
        frames, moment, decide = _clip(list(DIRECTIONS.values())[label], random)
        values.append(frames.repeat(size // 32, 2).repeat(size // 32, 3))
        moments.append(moment)
        places.append(decide)
    return Clips(
        values=Ragged.of(values), labels=labels.astype(np.int64), names=tuple(DIRECTIONS),
        keys=tuple(digest(one) for one in values), moments=np.array(moments), places=np.array(places),
    )  # fmt: skip


def _clip(direction: tuple[int, int], random: np.random.Generator) -> tuple[np.ndarray, tuple[int, int], np.ndarray]:
    """The frames of a clip, the first frame of its moment and the one after its last, and which places decide."""
    count, size = int(random.integers(*_FRAMES)), int(random.integers(*_MOMENT))
    start = int(random.integers(2, count - size - 1))
    way = np.array(direction) * _STEP * size
    mover, stander = (drawn(name, _SIDE, random) for name in random.choice(list(DIGITS), 2))
    free = 32 - np.array(mover.shape)
    first = random.integers(np.maximum(0, -way), free - np.maximum(0, way) + 1)
    done = np.clip(np.arange(count) - start + 1, 0, size) / size
    at = (first + done[:, None] * way).round().astype(int)
    still = _placed(stander, random.integers(0, 33 - np.array(stander.shape)))
    frames = random.normal(90, 12, (count, 3, 32, 32))
    colour, touched = random.uniform(150, 255, 3), np.zeros((32, 32), dtype=bool)
    for number, (frame, corner) in enumerate(zip(frames, at, strict=True)):
        moved = _placed(mover, corner)
        frame[:, still | moved] = colour[:, None]
        if start - 1 <= number < start + size:  # it leaves the place of the frame before
            touched |= moved
    decide = touched.reshape(32 // _CELL, _CELL, 32 // _CELL, _CELL).any((1, 3)).ravel()
    return frames.clip(0, 255).astype(np.uint8), (start, start + size), decide


def _placed(mask: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """``mask`` in a frame, with its first row and column at the ``corner``."""
    frame = np.zeros((32, 32), dtype=bool)
    (top, left), (height, width) = corner, mask.shape
    frame[top : top + height, left : left + width] = mask
    return frame
