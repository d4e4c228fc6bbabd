"""Small clips as poses in every format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def poses(frames: int = 6, joints: int = 17, seed: int = 0) -> np.ndarray:
    """Joints of one person, ``(frames, joints, 2)``."""
    random = np.random.default_rng(seed)
    return (100 + 20 * random.normal(size=(1, joints, 2)) + random.normal(size=(frames, joints, 2))).round(3)


def scored(person: np.ndarray) -> list[float]:
    """Joints as x, y and confidence, one after the other."""
    known = ~np.isnan(person).any(1, keepdims=True)
    return [float(x) for x in np.concatenate([np.nan_to_num(person), 0.9 * known], 1).ravel()]


def openpose(people: list[np.ndarray]) -> str:
    """A file of OpenPose for a frame."""
    return json.dumps({"version": 1.3, "people": [{"pose_keypoints_2d": scored(one)} for one in people]})


def write_openpose(folder: Path, clip: np.ndarray) -> Path:
    """A folder with a file for each frame."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(clip):
        (folder / f"clip_{number:012}_keypoints.json").write_text(openpose([frame]))
    return folder


def write_clips(folder: Path, count: int = 4, joints: int = 17) -> Path:
    """A folder with two classes of clips: still, and moving to the right."""
    for label in ("still", "moving"):
        for number in range(count):
            clip = poses(8 + number, joints, seed=number)
            if label == "moving":
                clip = clip + 5 * np.arange(len(clip))[:, None, None]
            path = folder / "clips" / label / f"{number}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"frames": clip.tolist()}))
    return folder / "clips"
