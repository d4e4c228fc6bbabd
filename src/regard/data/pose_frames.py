"""The persons in the frames of a clip, from the JSON of the usual detectors of poses: OpenPose, COCO, MediaPipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from regard.data.file_trees import BadItem
from regard.data.packed import natural

Person = np.ndarray
"""The joints of a person, ``(joints, columns)``: x, y, and for three dimensions z; NaN where a joint was not seen."""

_CLIPS = ("frames", "pose", "poses", "keypoints", "landmarks")
"""Keys of the frames of a clip."""
_FRAMES = ("pose_landmarks", "poseLandmarks", "landmarks", "keypoints", "pose", "pose_keypoints_2d", "people")
"""Keys of the persons of a frame, or of the joints of a person."""
_FLAT = ("pose_keypoints_3d", "pose_keypoints_2d", "keypoints")
_CONFIDENCES = ("visibility", "presence", "score", "confidence")
"""Keys of the confidence of a joint."""


def frames_of(clip: Any, dims: int) -> list[list[Person]]:
    """The persons of each frame of a clip.

    Args:
        clip: what a JSON file of a clip contains: a list of frames, a dictionary that has it, or COCO's annotations.
        dims: coordinates of a joint, 2 or 3.

    Raises:
        BadItem: it is none of these; the frame is named.

    >>> len(frames_of({"frames": [[[0, 1], [2, 3]], []]}, 2))
    2
    """
    if isinstance(clip, dict):
        if isinstance(clip.get("annotations"), list):
            return _coco(clip["annotations"], clip.get("images") or (), dims)
        key = next((key for key in _CLIPS if isinstance(clip.get(key), list)), None)
        frames = [clip] if key is None or "people" in clip else clip[key]
    else:
        frames = clip
    if not isinstance(frames, list):
        raise BadItem(f"expected a list of frames, got {_kind(frames)}")
    if frames and isinstance(frames[0], dict) and "image_id" in frames[0]:
        return _coco(frames, (), dims)
    return [numbered(frame, dims, f"frame {number:,}") for number, frame in enumerate(frames, 1)]


def numbered(frame: Any, dims: int, name: str) -> list[Person]:
    """The persons of a frame. Raises BadItem: it cannot be used; the message begins with ``name``."""
    try:
        return persons_of(frame, dims)
    except BadItem as error:
        raise BadItem(f"{name}: {error}") from error


def persons_of(frame: Any, dims: int) -> list[Person]:
    """The persons of a frame: a list of joints, a list of persons, or a dictionary that has one. Raises BadItem."""
    if isinstance(frame, dict):
        flat = next((key for key in _FLAT if _is_numbers(frame.get(key))), None)
        if flat is not None:
            return [_scored(frame[flat], dims, 3 + flat.endswith("3d"))]
        if {"x", "y"} <= frame.keys():
            raise BadItem("expected a list of joints, got one joint")
        key = next((key for key in reversed(_FRAMES) if key in frame), None)
        if key is None:
            raise BadItem(f"has no key such as people, keypoints or landmarks, but {', '.join(list(frame)[:3])}")
        return persons_of(frame[key], dims)
    if frame is None or frame == []:
        return []
    if not isinstance(frame, list):
        raise BadItem(f"expected a list of joints, got {_kind(frame)}")
    if isinstance(frame[0], dict) and {"x", "y"} <= frame[0].keys():
        return [_of_records(frame, dims)]
    if isinstance(frame[0], list) and frame[0] and not isinstance(frame[0][0], list | dict):
        return [_of_rows(frame, dims)]
    return [person for one in frame for person in persons_of(one, dims)]


def _coco(annotations: list[Any], images: Iterable[Any], dims: int) -> list[list[Person]]:
    """The persons of each image, in the order of their file names or of the numbers of the images."""
    frames: dict[str, list[Person]] = {}
    try:
        names = {str(image["id"]): str(image.get("file_name", image["id"])) for image in images}
        frames = {name: [] for name in names.values()}
        for number, one in enumerate(annotations, 1):
            frame = str(one["image_id"])
            persons = numbered({"keypoints": one["keypoints"]}, dims, f"annotation {number:,}")
            frames.setdefault(names.get(frame, frame), []).extend(persons)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadItem(f"not COCO's annotations with image_id and keypoints ({error})") from error
    return [frames[name] for name in sorted(frames, key=natural)]


def _scored(values: list[Any], dims: int, columns: int) -> Person:
    """Joints one after the other, the last number of each its confidence, which is 0 for one that was not seen."""
    if len(values) % columns or columns <= dims:
        raise BadItem(f"expected {max(columns, dims + 1)} numbers for each joint, got {len(values)} numbers")
    joints = _numbers(values).reshape(-1, columns)
    return np.where(joints[:, -1:] > 0, joints[:, :dims], np.nan)


def _of_records(joints: list[Any], dims: int) -> Person:
    """Joints as ``{"x": …, "y": …, "z": …}``; those of the confidence 0: not seen."""
    try:
        own = [next((joint[key] for key in _CONFIDENCES if joint.get(key) is not None), 1) for joint in joints]
        return _seen(_numbers([[joint[axis] for axis in "xyz"[:dims]] for joint in joints]), _numbers(own))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadItem(f"a joint without {error}" if isinstance(error, KeyError) else "not a joint") from error


def _of_rows(joints: list[Any], dims: int) -> Person:
    """Joints as ``[x, y, …]``; all 0 or null, or of the confidence 0: not seen."""
    if not all(isinstance(joint, list) for joint in joints):
        raise BadItem("expected a list of numbers for each joint")
    return rows_of(_numbers(joints), dims)


def rows_of(joints: np.ndarray, dims: int) -> np.ndarray:
    """The first ``dims`` columns of joints ``(…, columns)``; NaN where a joint was not seen.

    It was not if all are 0, or the last of more columns, if that is a confidence. Raises BadItem: there are fewer.
    """
    if joints.shape[-1] < dims:
        raise BadItem(f"expected {dims} coordinates for each joint, got {joints.shape[-1]}")
    own = joints[..., :dims]
    own = np.where((own == 0).all(-1, keepdims=True), np.nan, own)
    return own if joints.shape[-1] == dims else _seen(own, joints[..., -1])


def _seen(joints: np.ndarray, confidences: np.ndarray) -> np.ndarray:
    """Joints with NaN for those of the confidence 0.

    Numbers that are not from 0 to 1 are no confidences but further coordinates; only zeros say nothing, because some
    detectors, such as that of hands in MediaPipe, write no other.
    """
    known = confidences[~np.isnan(confidences)]
    if not known.any() or known.min() < 0 or known.max() > 1:
        return joints
    return np.where((confidences == 0)[..., None], np.nan, joints)


def _numbers(values: list[Any]) -> np.ndarray:
    try:
        return np.array(values, dtype=np.float64)  # null becomes NaN
    except (TypeError, ValueError) as error:
        raise BadItem("expected the same number of coordinates for each joint, as numbers") from error


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and not isinstance(value[0], list | dict)


def _kind(value: Any) -> str:
    names = {dict: "an object", str: "text", int: "a number", float: "a number", bool: "true or false"}
    return names.get(type(value), "null" if value is None else "a list")
