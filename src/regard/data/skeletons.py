"""The joints of a body as the usual detectors of poses number them: their names, and the bones between them."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

SkeletonName = Literal["auto", "coco", "openpose", "body25", "mediapipe", "jhmdb", "none"]


class Skeleton(NamedTuple):
    """The joints of a body.

    Attributes:
        joints: their names, in their order; those of a side begin with ``"left "`` or ``"right "``.
        bones: the numbers of the two joints of each bone.
    """

    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]

    @property
    def mirrored(self) -> list[int]:
        """For each joint, the number of the joint of the other side, or its own.

        >>> SKELETONS["coco"].mirrored[:5]
        [0, 2, 1, 4, 3]
        """
        sides = {"left": "right", "right": "left"}
        numbers = {name: number for number, name in enumerate(self.joints)}
        turned = (f"{sides[side]} {rest}" if (side := name.partition(" ")[0]) in sides else name
                  for name in self.joints for rest in [name.partition(" ")[2]])  # fmt: skip
        return [numbers.get(name, own) for own, name in enumerate(turned)]


def _skeleton(joints: str, bones: str) -> Skeleton:
    """A skeleton from its joints, separated by commas (l and r: left and right), and chains of bones by number."""
    sides = {"l": "left", "r": "right"}
    names = []
    for name in map(str.strip, joints.split(",")):
        side, _, rest = name.partition(" ")
        names.append(f"{sides[side]} {rest}" if side in sides and rest else name)
    chains = [[int(number) for number in chain.split("-")] for chain in bones.split()]
    return Skeleton(tuple(names), tuple((a, b) for chain in chains for a, b in pairwise(chain)))


SKELETONS: dict[str, Skeleton] = {
    "coco": _skeleton(
        "nose, l eye, r eye, l ear, r ear, l shoulder, r shoulder, l elbow, r elbow, l wrist, r wrist, l hip, r hip, "
        "l knee, r knee, l ankle, r ankle",
        "5-3-1-0-2-4-6 9-7-5-6-8-10 5-11-12-6 11-13-15 12-14-16",
    ),
    "openpose": _skeleton(
        "nose, neck, r shoulder, r elbow, r wrist, l shoulder, l elbow, l wrist, r hip, r knee, r ankle, l hip, "
        "l knee, l ankle, r eye, l eye, r ear, l ear",
        "16-14-0-15-17 0-1 4-3-2-1-5-6-7 1-8-9-10 1-11-12-13",
    ),
    "body25": _skeleton(
        "nose, neck, r shoulder, r elbow, r wrist, l shoulder, l elbow, l wrist, middle of the hips, r hip, r knee, "
        "r ankle, l hip, l knee, l ankle, r eye, l eye, r ear, l ear, l big toe, l small toe, l heel, r big toe, "
        "r small toe, r heel",
        "17-15-0-16-18 0-1-8 4-3-2-1-5-6-7 11-10-9-8-12-13-14 14-21 14-19-20 11-24 11-22-23",
    ),
    "mediapipe": _skeleton(
        "nose, l inner eye, l eye, l outer eye, r inner eye, r eye, r outer eye, l ear, r ear, l mouth, r mouth, "
        "l shoulder, r shoulder, l elbow, r elbow, l wrist, r wrist, l pinky, r pinky, l index finger, r index finger, "
        "l thumb, r thumb, l hip, r hip, l knee, r knee, l ankle, r ankle, l heel, r heel, l foot, r foot",
        "7-3-2-1-0-4-5-6-8 9-10 15-13-11-12-14-16 15-17-19-15-21 16-18-20-16-22 11-23-24-12 23-25-27-29-31-27 "
        "24-26-28-30-32-28",
    ),
    "jhmdb": _skeleton(
        "neck, belly, face, r shoulder, l shoulder, r hip, l hip, r elbow, l elbow, r knee, l knee, r wrist, l wrist, "
        "r ankle, l ankle",
        "2-0-1 11-7-3-0-4-8-12 13-9-5-1-6-10-14",
    ),
}  # fmt: skip
"""Setting → the skeleton: COCO (Lin et al. 2014), OpenPose's COCO and BODY_25 (Cao et al. 2019), MediaPipe's pose
landmarks, and the joints of JHMDB (Jhuang et al. 2013)."""


def skeleton_of(name: str, count: int) -> Skeleton:
    """The skeleton of a setting, for poses of ``count`` joints.

    Args:
        name: a key of `SKELETONS`; ``"auto"``: the one with this number of joints; ``"none"``: joints without names.
        count: the number of joints. Whoever calls has checked that it fits ``name``.

    >>> skeleton_of("auto", 3).joints
    ('joint 1', 'joint 2', 'joint 3')
    """
    unnamed = Skeleton(tuple(f"joint {number}" for number in range(1, count + 1)), ())
    return SKELETONS.get(automatic(count) if name == "auto" else name, unnamed)


def automatic(count: int) -> str:
    """The key of the skeleton with this number of joints; ``"none"``: there is none.

    >>> automatic(33), automatic(21)
    ('mediapipe', 'none')
    """
    return next((name for name, skeleton in SKELETONS.items() if len(skeleton.joints) == count), "none")
