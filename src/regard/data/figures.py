"""Built-in poses to classify: stick figures that stand, and do one thing for a while."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from regard.data.clips import Clips
from regard.data.codec import digest
from regard.data.ragged import Ragged
from regard.data.skeletons import SKELETONS

ACTIONS: dict[str, tuple[str, ...]] = {
    "jump": ("knee", "ankle"),
    "kick": ("knee", "ankle"),
    "sit": ("hip", "knee"),
    "throw": ("elbow", "wrist"),
    "walk": ("knee", "ankle"),
    "wave": ("elbow", "wrist"),
}
"""Class → the joints that decide it; of both sides, or, if it is done by one arm or leg, of that side."""

_ONE_SIDED = ("kick", "throw", "wave")
_FRAMES = (32, 56)
_MOMENT = (12, 18)
_JOINTS = SKELETONS["coco"].joints


class _Angles(NamedTuple):
    """The angles of a body in each frame, in radians; 0: straight down, or upright. Positive ones turn to its front.

    Attributes:
        lean: of the trunk ``(frames,)``.
        upper: of both upper arms ``(frames, 2)``, left and right.
        lower: of both lower arms.
        thigh: of both thighs.
        shin: of both shins.
        rise: how far the body is above the ground ``(frames,)``.
        along: where it is ``(frames,)``.
    """

    lean: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    thigh: np.ndarray
    shin: np.ndarray
    rise: np.ndarray
    along: np.ndarray


@lru_cache(maxsize=1)
def figures(count: int, *, seed: int = 0) -> Clips:
    """``count`` clips of six classes, with COCO's 17 joints in two dimensions, in an order that depends on the seed.

    Each has 32 to 56 frames. A figure stands, sways, and moves its arms, its legs and its head. For 12 to 18 frames, at
    a random time, it does what its class is: it jumps, kicks, sits down and up again, throws, walks, or waves. It is
    seen from a side or from the front between them, is large or small, thin or stout, and looks to the left or to the
    right. Positions have noise.

    Args:
        count: their number.
        seed: of the clips.

    >>> clips = figures(3)
    >>> clips.names, clips.shape
    (('jump', 'kick', 'sit', 'throw', 'walk', 'wave'), (17, 2))
    """
    random = np.random.default_rng([seed, 31])
    labels = random.integers(0, len(ACTIONS), count)
    values, moments, places = [], [], []
    for label in labels:
        poses, moment, decide = _clip(list(ACTIONS)[label], random)
        values.append(poses)
        moments.append(moment)
        places.append(decide)
    return Clips(
        values=Ragged.of(values), labels=labels.astype(np.int64), names=tuple(ACTIONS),
        keys=tuple(digest(one) for one in values), moments=np.array(moments), places=np.array(places),
    )  # fmt: skip


def _clip(name: str, random: np.random.Generator) -> tuple[np.ndarray, tuple[int, int], list[bool]]:
    """The poses of a clip, the first frame of its moment and the one after its last, and which joints decide."""
    frames, size = int(random.integers(*_FRAMES)), int(random.integers(*_MOMENT))
    start, side = int(random.integers(2, frames - size - 1)), int(random.integers(2))
    angles = _standing(frames, random)
    _act(name, angles, slice(start, start + size), side, random)
    poses = _joints(angles, random)
    sides = ("left", "right") if name not in _ONE_SIDED else (("left", "right")[side],)
    decide = [joint in {f"{one} {part}" for one in sides for part in ACTIONS[name]} for joint in _JOINTS]
    return poses, (start, start + size), decide


def _standing(frames: int, random: np.random.Generator) -> _Angles:
    """Angles that change slowly and little."""
    pair = (frames, 2)
    return _Angles(
        lean=_drift(frames, 0.08, random), upper=0.1 + _drift(pair, 0.3, random),
        lower=0.2 + _drift(pair, 0.4, random), thigh=_drift(pair, 0.08, random), shin=_drift(pair, 0.08, random),
        rise=_drift(frames, 0.01, random), along=_drift(frames, 0.03, random),
    )  # fmt: skip


def _act(name: str, body: _Angles, when: slice, side: int, random: np.random.Generator) -> None:
    """Change the angles in these frames."""
    u = np.linspace(0, 1, when.stop - when.start)
    strong, bell = random.uniform(0.8, 1.2), np.sin(np.pi * u) ** 2
    turns = 2 * np.pi * random.uniform(1.5, 2.5) * u
    fade = np.minimum(1, 6 * np.minimum(u, 1 - u))  # in the first and last sixth, arms and legs move to their places
    if name == "wave":
        body.upper[when, side] += fade * (2.0 - body.upper[when, side])
        body.lower[when, side] += fade * (2.9 + 0.5 * strong * np.sin(turns) - body.lower[when, side])
    elif name == "throw":
        arm = np.interp(u, (0, 0.45, 0.75, 1), (0.1, -2.2, 2.0 * strong, 0.1))
        body.upper[when, side] += fade * (arm - body.upper[when, side])
        body.lower[when, side] += fade * (arm + np.interp(u, (0, 0.45, 0.75, 1), (0.2, -1.0, 0, 0.2)))
    elif name == "kick":
        leg = np.interp(u, (0, 0.35, 0.65, 1), (0, -0.5, 1.3 * strong, 0))
        body.thigh[when, side] += leg
        body.shin[when, side] += leg - np.interp(u, (0, 0.35, 0.65, 1), (0, 0.9, 0, 0))
    elif name == "walk":
        for number, phase in enumerate((0, np.pi)):
            body.thigh[when, number] += fade * 0.5 * strong * np.sin(turns + phase)
            body.shin[when, number] += fade * (
                0.5 * strong * np.sin(turns + phase) - 0.35 * (1 + np.cos(turns + phase))
            )
        body.along[when] += 0.8 * strong * u
        body.along[when.stop :] += 0.8 * strong
    else:
        bend = bell if name == "sit" else np.interp(u, (0, 0.25, 0.45, 0.75, 0.9, 1), (0, 0.7, 0, 0, 0.5, 0))
        body.thigh[when] += (1.4 * strong * bend)[:, None]
        body.shin[when] -= ((0.2 if name == "sit" else 1.2) * strong * bend)[:, None]
        if name == "jump":
            body.rise[when] += 0.6 * strong * np.interp(u, (0, 0.35, 0.55, 0.8, 1), (0, 0, 1, 0, 0))


def _joints(body: _Angles, random: np.random.Generator) -> np.ndarray:
    """The joints ``(frames, 17, 2)``, y downwards, as a camera sees them."""
    turn, lengths = random.uniform(0.2, 0.9) * random.choice([-1, 1]), random.uniform(0.9, 1.1, 6)
    trunk, upper, lower, thigh, shin, wide = lengths * (0.5, 0.28, 0.26, 0.42, 0.4, 0.17)

    def along(angle: np.ndarray, length: float) -> np.ndarray:
        """A limb of this angle, which turns in the direction that the figure looks: ``(…, 3)``."""
        return length * np.stack([np.sin(angle), 0 * angle, np.cos(angle)], -1)

    across = np.array([[0, wide, 0], [0, -wide, 0]])
    knees = along(body.thigh, thigh)
    ankles = knees + along(body.shin, shin)
    # The lower foot is on the ground, so bent legs lower the hips.
    hips = np.stack([body.along, 0 * body.along, -ankles[..., 2].max(1) - body.rise], -1)
    neck = hips - along(-body.lean, trunk)
    head = neck - along(-body.lean, 0.22) + [[0.06, 0, 0]] * np.ones((len(neck), 1))
    head = head + np.stack([_drift(len(neck), 0.015, random)] * 3, -1)
    shoulders = neck[:, None] + across
    elbows = shoulders + along(body.upper, upper)
    wrists = elbows + along(body.lower, lower)
    both = hips[:, None] + 0.6 * across
    eyes, ears = (head[:, None] + [[x, w, z], [x, -w, z]] for x, w, z in ((-0.01, 0.03, -0.03), (-0.08, 0.07, -0.01)))
    pairs = (eyes, ears, shoulders, elbows, wrists, both, both + knees, both + ankles)
    space = np.concatenate([head[:, None], *pairs], 1)
    # The camera sees the direction in which the figure looks, and some of its breadth.
    seen = np.stack([np.cos(turn) * space[..., 0] + np.sin(turn) * space[..., 1], space[..., 2]], -1)
    seen[..., 0] *= random.choice([-1, 1])
    seen = random.uniform(60, 140) * (seen + random.normal(size=seen.shape) * 0.008) + random.uniform(200, 300, 2)
    return np.asarray(seen, dtype=np.float32)


def _drift(shape: int | tuple[int, int], size: float, random: np.random.Generator) -> np.ndarray:
    """Numbers that change slowly along the first axis, around 0 with this standard deviation."""
    frames = shape if isinstance(shape, int) else shape[0]
    time = np.linspace(0, 1, frames).reshape(-1, *[1] * (0 if isinstance(shape, int) else 1))
    more = () if isinstance(shape, int) else shape[1:]
    waves = [
        random.normal(size=more) * np.sin(2 * np.pi * rate * time + random.uniform(0, 2 * np.pi, more))
        for rate in (0.7, 1.6, 3.1)
    ]
    return np.asarray(size * np.sum(waves, axis=0))
