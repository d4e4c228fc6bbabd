"""The poses of a clip as one array, from a file of any format, or from the files of a folder."""

from __future__ import annotations

import io
import json
import re
import zipfile
from functools import partial
from typing import Any

import numpy as np

from regard.data import packed
from regard.data.file_trees import BadItem
from regard.data.frames import is_video
from regard.data.image_files import image_format
from regard.data.pose_frames import Person, frames_of, numbered, rows_of

HEAD = 512
"""The number of bytes of a file from which its format is recognized."""

_NPY, _NPZ = b"\x93NUMPY", b"PK\x03\x04"
_FRAME = re.compile(rb'\s*\{\s*("version"\s*:[^,]*,\s*)?"people"')
_ENDINGS = (".json", ".jsonl", ".ndjson", ".npy", ".npz")
_ARRAYS = ("pose", "poses", "keypoints", "joints")
_LARGEST = 10_000
"""The largest number of joints."""
_FURTHEST = 1e12
"""The largest coordinate: the features of a model are sums of squares of differences, which must be finite numbers."""


def is_frame(name: str, head: bytes) -> bool:
    """Whether a file has a single frame of a clip, as OpenPose writes it."""
    return name.endswith("_keypoints.json") or (name.endswith(".json") and _FRAME.match(head) is not None)


def examine(name: str, head: bytes) -> bool:
    """Whether a file has poses, or is a folder with them, packed. Raises BadItem: it has poses only by its name."""
    if head.startswith(packed.HEAD):
        return True
    ending = name[name.rfind(".") :].lower() if "." in name else ""
    if ending not in _ENDINGS:
        return False
    text = ending not in (".npy", ".npz")
    if not head.strip():
        raise BadItem("the file is empty")
    if not (head.lstrip()[:1] in (b"[", b"{") if text else head.startswith((_NPY, _NPZ))):
        raise BadItem(f"its content is not {'JSON' if text else 'an array of NumPy'}")
    return True


def open_poses(content: bytes, *, dims: int, every: int, longest: int) -> np.ndarray:
    """The joints of one person in each frame, float32 ``(frames, joints, dims)``.

    Of several persons in a frame, it is the one that is next to that of the frame before, and in the first frame the
    largest. Joints that were not seen are between those of the frames before and after; joints that are never seen are
    in the middle of the others.

    Args:
        content: JSON of a clip, JSON lines with a frame each, an array of NumPy (frames × joints × coordinates), or
            packed JSON files with a frame each.
        dims: coordinates of a joint, 2 or 3; others are left out.
        every: use each n-th frame.
        longest: of more frames, only the first ones are used.

    Raises:
        BadItem: it cannot be read, or no frame has a person; the frame, line or file is named.
    """
    if content.startswith((_NPY, _NPZ)):
        return _filled(rows_of(_array(content), dims)[::every][:longest])
    if content.startswith(packed.HEAD):
        files = [(name, one) for name, one in packed.unpack(content) if name.endswith(".json")]
        if not files:
            raise BadItem("a folder without .json files")
        frames = [numbered(_json(one, name), dims, name) for name, one in files]
    elif image_format(content[:HEAD]) or is_video(content[:HEAD]):
        raise BadItem("is an image or a video, and this model takes poses; one of --data.kind frames takes them")
    elif content.strip():
        frames = _of_text(content, dims)
    else:
        raise BadItem("the file is empty")
    return one_person(frames[::every][:longest])


def _of_text(content: bytes, dims: int) -> list[list[Person]]:
    """The persons of each frame, from JSON or JSON lines."""
    try:
        return frames_of(json.loads(content), dims)
    except (ValueError, RecursionError):
        lines = content.splitlines()
    frames = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            name = f"line {number:,}"
            frames.append(numbered(_json(line, name), dims, name))
    return frames


def _json(content: bytes, name: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadItem(f"{name}: not JSON") from error


def _array(content: bytes) -> np.ndarray:
    """The array of a ``.npy`` or ``.npz`` file, as float64. Nothing is unpickled."""
    try:
        loaded: Any = np.load(io.BytesIO(content), allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            name = next((name for name in _ARRAYS if name in loaded.files), None)
            if name is None and len(loaded.files) != 1:
                raise BadItem(f"has {len(loaded.files)} arrays, none of them called pose or keypoints")
            loaded = loaded[name or loaded.files[0]]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, MemoryError) as error:
        raise BadItem(f"cannot be read as an array of NumPy: {str(error).splitlines()[0]}") from error
    if loaded.ndim != 3 or loaded.dtype.kind not in "fiu" or not loaded.size:
        shape = " × ".join(map(str, loaded.shape))
        raise BadItem(f"expected numbers, frames × joints × coordinates, got {loaded.dtype} of shape {shape}")
    return np.asarray(loaded, dtype=np.float64)


def one_person(frames: list[list[Person]]) -> np.ndarray:
    """One person of each frame, ``(frames, joints, dims)``: see `open_poses`. Raises BadItem: there is none."""
    first = next((person for persons in frames for person in persons), None)
    if first is None:
        raise BadItem(f"no person in {len(frames):,} frames" if frames else "has no frames")
    chosen, last = np.full((len(frames), *first.shape), np.nan), None
    for number, (place, persons) in enumerate(zip(chosen, frames, strict=True), 1):
        for person in persons:
            if person.shape != first.shape:
                raise BadItem(f"frame {number:,}: has {len(person)} joints, where the first has {len(first)}")
        if persons:
            last = max(persons, key=_size) if last is None else min(persons, key=partial(_distance, last))
            place[:] = last
    return _filled(chosen)


def _size(person: Person) -> float:
    known = person[~np.isnan(person).any(1)]
    return float(np.ptp(known, axis=0).sum()) if len(known) else 0.0


def _distance(last: Person, person: Person) -> float:
    """The mean distance of the joints of two persons."""
    distances = np.linalg.norm(person - last, axis=1)
    return float(np.nanmean(distances)) if not np.isnan(distances).all() else np.inf


def _filled(poses: np.ndarray) -> np.ndarray:
    """Poses ``(frames, joints, dims)`` with a position for each joint: see `open_poses`."""
    if poses.shape[1] > _LARGEST:
        raise BadItem(f"has {poses.shape[1]:,} joints; expected frames × joints × coordinates")
    if np.isinf(poses).any():
        raise BadItem("has numbers that are not finite")
    known = ~np.isnan(poses).any(2)
    if not known.any():
        raise BadItem(f"no person in {len(poses):,} frames")
    if (furthest := np.nanmax(np.abs(poses))) > _FURTHEST:
        raise BadItem(f"has a coordinate of {furthest:.3g}; expected at most {_FURTHEST:.0e}")
    filled, frames = poses.copy(), np.arange(len(poses))
    for joint in np.flatnonzero(known.any(0) & ~known.all(0)):
        seen = known[:, joint]
        for axis in range(poses.shape[2]):
            filled[:, joint, axis] = np.interp(frames, frames[seen], poses[seen, joint, axis])
    never = ~known.any(0)
    filled[:, never] = filled[:, ~never].mean(1, keepdims=True)
    if np.ptp(filled) == 0:
        raise BadItem("all joints are in one place")
    return np.ascontiguousarray(filled, dtype=np.float32)
