"""Poses of every format become the same joints of one person; bad ones are named."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clip_sets import openpose, poses, scored, write_clips, write_openpose
from regard.data import decoding, workers
from regard.data.clips import Clips, read_clips
from regard.data.figures import ACTIONS, figures
from regard.data.packed import read_whole
from regard.data.pose_files import open_poses
from regard.data.poses import PoseCodec
from regard.data.skeletons import SKELETONS
from regard.errors import UserError

CLIP = poses()


def _open(content: bytes, **options: Any) -> np.ndarray:
    return open_poses(content, **{"dims": 2, "every": 1, "longest": 100, **options})


def _saved(array: np.ndarray, **others: Any) -> bytes:
    out = io.BytesIO()
    if others:
        np.savez(out, array, **others)
    else:
        np.save(out, array)
    return out.getvalue()


def _landmarks(frame: np.ndarray) -> list[dict[str, float]]:
    return [{"x": x, "y": y, "z": 0.5, "visibility": 0.0 if np.isnan(x) else 0.9} for x, y in frame.tolist()]


def _with_confidences(clip: np.ndarray) -> np.ndarray:
    """Rows of x, y and the confidence, which is 0 for a joint that was not seen, whatever its x and y."""
    return np.concatenate([np.nan_to_num(clip, nan=77.0), np.where(np.isnan(clip[..., :1]), 0.0, 0.8)], 2)


def _coco(clip: np.ndarray) -> list[dict[str, Any]]:
    return [{"image_id": f"{at}.jpg", "keypoints": scored(one), "score": 1.0} for at, one in enumerate(clip, 8)]


FORMATS: dict[str, Callable[[np.ndarray], Any]] = {
    "arrays": lambda clip: clip.tolist(),
    "pose": lambda clip: {"pose": clip.tolist()},
    "OpenPose": lambda clip: {"frames": [json.loads(openpose([frame])) for frame in clip]},
    "COCO's results": lambda clip: _coco(clip)[::-1],
    "COCO's annotations": lambda clip: {
        "images": [{"id": 90 - at, "file_name": f"{at}.jpg"} for at in range(len(clip))],
        "annotations": [{"image_id": 90 - at, "keypoints": scored(frame)} for at, frame in enumerate(clip)],
    },
    "MediaPipe": lambda clip: [{"pose_landmarks": [_landmarks(frame)]} for frame in clip],
    "MediaPipe, one person": lambda clip: {"frames": [{"poseLandmarks": _landmarks(frame)} for frame in clip]},
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_joints(form: str) -> None:
    joints = _open(json.dumps(FORMATS[form](CLIP)).encode())
    assert joints.dtype == np.float32
    np.testing.assert_allclose(joints, CLIP, atol=1e-4)


def test_lines_arrays_and_folders_give_the_same_joints(tmp_path: Path) -> None:
    lines = "".join(f"{json.dumps({'keypoints': frame.tolist()})}\n" for frame in CLIP).encode()
    folder = write_openpose(tmp_path / "clip", CLIP)
    (folder / "notes.txt").write_text("not a frame")
    for content in (lines, _saved(CLIP), _saved(CLIP[:1], pose=CLIP), read_whole(str(folder))):
        np.testing.assert_allclose(_open(content), CLIP, atol=1e-4)
    assert np.array_equal(_open(lines, every=2, longest=2), _open(lines)[[0, 2]])
    deep = np.concatenate([CLIP, CLIP[..., :1]], 2)
    assert _open(_saved(deep), dims=3).shape == (6, 17, 3)
    assert _open(json.dumps([_landmarks(one) for one in CLIP]).encode(), dims=3)[0, 0, 2] == 0.5


def test_the_largest_person_is_followed() -> None:
    small, other = 0.5 * CLIP + 200, CLIP + 40
    frames = [[small[0], CLIP[0]], [], [CLIP[2], small[2]], [other[3], CLIP[3], small[3]], [small[4], CLIP[4]]]
    clip = {"frames": [json.loads(openpose(people)) for people in frames]}
    joints = _open(json.dumps(clip).encode())
    np.testing.assert_allclose(joints[[0, 2, 3, 4]], CLIP[[0, 2, 3, 4]], atol=1e-4)
    np.testing.assert_allclose(joints[1], (CLIP[0] + CLIP[2]) / 2, atol=1e-4)


def test_joints_that_were_not_seen_are_filled() -> None:
    clip = CLIP.copy()
    clip[1:3, 5] = np.nan
    clip[:, 7] = np.nan
    for content in (
        json.dumps([json.loads(openpose([frame])) for frame in clip]).encode(),
        _saved(np.nan_to_num(clip)),
        json.dumps(np.where(np.isnan(clip), None, clip.astype(object)).tolist()).encode(),  # type: ignore[call-overload]
        json.dumps({"frames": [_landmarks(frame) for frame in clip]}).replace("NaN", "77.0").encode(),
        json.dumps(_with_confidences(clip).tolist()).encode(),
        _saved(_with_confidences(clip)),
    ):
        joints = _open(content)
        np.testing.assert_allclose(joints[1, 5], (2 * CLIP[0, 5] + CLIP[3, 5]) / 3, atol=1e-3)
        np.testing.assert_allclose(joints[:, 7], joints[:, np.arange(17) != 7].mean(1), atol=1e-3)


@pytest.mark.parametrize("column", [0.0, 7.0, "depth"])
def test_a_further_column_that_is_no_confidence_hides_no_joint(column: float | str) -> None:
    """Zeros alone say nothing, and coordinates are not from 0 to 1."""
    depths = np.linspace(-1, 1, 17) if column == "depth" else np.full(17, column)
    depths[3] = 0.0
    clip = np.concatenate([CLIP, np.broadcast_to(depths[:, None], (len(CLIP), 17, 1))], 2)
    records = [[dict(zip(("x", "y", "visibility"), joint, strict=True)) for joint in frame] for frame in clip.tolist()]
    for content in (_saved(clip), json.dumps(clip.tolist()).encode(), json.dumps(records).encode()):
        np.testing.assert_allclose(_open(content), CLIP, atol=1e-4)


@pytest.mark.parametrize("content", [b"GIF89a\1\0\1\0", b"\0\0\0\x18ftypmp42\0\0\0\0", b"\x89PNG\r\n\x1a\n"])
def test_pictures_that_are_given_as_poses_are_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "clip.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"clip\.bin: not a usable clip: is an image or a video, and this model takes"):
        PoseCodec().read(str(tmp_path / "clip.bin"))


BAD: dict[str, tuple[str | bytes, str]] = {
    "empty.json": ("", "the file is empty"),
    "text.json": ("once", "its content is not JSON"),
    "cut.json": (json.dumps(CLIP.tolist())[:900], "line 1: not JSON"),
    "cut.jsonl": ("[[1, 2], [3, 4]]\n[[1, 2], [3,\n", "line 2: not JSON"),
    "none.json": ("[[], [], null]", "no person in 3 frames"),
    "one.json": ('[[[1, 2], [3, 4]], {"x": 1, "y": 2}]', "frame 2: expected a list of joints, got one joint"),
    "joints.json": ("[[[1, 2], [3, 4]], [[1, 2], [3, 4], [5, 6]]]", "frame 2: has 3 joints, where the first has 2"),
    "flat.json": ("[[[1], [2]]]", "frame 1: expected 2 coordinates for each joint, got 1"),
    "ragged.json": ("[[[1, 2], [3]]]", "frame 1: expected the same number of coordinates"),
    "words.json": ('[[["a", "b"]]]', "frame 1: expected the same number of coordinates for each joint, as numbers"),
    "keys.json": ('[{"hand": 1}]', "frame 1: has no key such as people, keypoints or landmarks, but hand"),
    "triples.json": ('{"frames": [{"people": [{"pose_keypoints_2d": [1, 2]}]}]}', "frame 1: expected 3 numbers"),
    "point.json": ("[[[1, 1], [1, 1]]]", "all joints are in one place"),
    "text.npy": ("once", "its content is not an array of NumPy"),
    "pickle.npy": (_saved(np.array([{}], dtype=object)), "cannot be read as an array of NumPy"),
    "two.npz": (_saved(CLIP, other=CLIP), "has 2 arrays, none of them called pose or keypoints"),
    "image.npy": (_saved(CLIP[0]), r"expected numbers, frames × joints × coordinates, got float64 of shape 17 × 2"),
    "infinite.npy": (_saved(np.full_like(CLIP, np.inf)), "not finite"),
    "far.npy": (_saved(CLIP * 1e32), r"has a coordinate of .*e\+\d\d; expected at most 1e\+12"),
    "farther.json": ("[[[1e308, 2], [1, 2]], [[0, 0], [1, 2]], [[-1e308, 2], [1, 2]]]", "has a coordinate of 1e\\+308"),
    "other.npy": (_saved(CLIP[:, :15]), "has 15 joints, where the others have 17"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_poses_are_named(name: str, tmp_path: Path) -> None:
    content, reason = BAD[name]
    folder = write_clips(tmp_path, 2)
    bad = folder / "moving" / name
    bad.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError, match=rf"not a usable clip: .*/moving/{name} \(.*{reason}.*--data.on-bad skip"):
        read_clips(str(folder), PoseCodec())
    assert len(read_clips(str(folder), PoseCodec(), on_bad="skip").labels) == 4


def _same(one: Clips, other: Clips) -> None:
    assert (one.names, one.labels.tolist()) == (other.names, other.labels.tolist())
    assert len(one.values) == len(other.values)
    for row in range(len(one.values)):
        np.testing.assert_allclose(one.values[row], other.values[row], atol=1e-4)


def test_folders_archives_and_tables_give_the_same_clips(tmp_path: Path) -> None:
    folder = write_clips(tmp_path, 2)
    expected = read_clips(str(folder), PoseCodec())
    assert expected.names == ("moving", "still")
    frames = tmp_path / "frames"
    for path in folder.rglob("*.json"):
        write_openpose(frames / path.parent.name / path.stem, np.array(json.loads(path.read_text())["frames"]))
    (frames / ".hidden").mkdir()
    for data in (
        frames,
        shutil.make_archive(str(tmp_path / "a"), "tar", frames),
        shutil.make_archive(str(tmp_path / "b"), "zip", folder),
    ):
        _same(read_clips(str(data), PoseCodec()), expected)
    rows = [(path, path.parent.name) for path in sorted(folder.rglob("*.json"))]
    (tmp_path / "set.csv").write_text(
        "class,path\n" + "".join(f"{label},clips/{label}/{path.name}\n" for path, label in rows)
    )
    (tmp_path / "set.tsv").write_text("".join(f"frames/{label}/{path.stem}\t{label}\n" for path, label in rows))
    records = [{"label": label, "pose": json.loads(path.read_text())["frames"]} for path, label in rows]
    (tmp_path / "set.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))
    for name in ("set.csv", "set.tsv", "set.jsonl"):
        _same(read_clips(str(tmp_path / name), PoseCodec()), expected)
    records[1]["pose"] = [[[1, 2], [3]]]
    (tmp_path / "set.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))
    with pytest.raises(UserError, match=r"set.jsonl: line 2 \(frame 1: expected the same number of coordinates"):
        read_clips(str(tmp_path / "set.jsonl"), PoseCodec())


def test_frames_outside_the_folder_of_a_clip_are_refused(tmp_path: Path) -> None:
    write_openpose(tmp_path / "data" / "still", CLIP)
    write_openpose(tmp_path / "data" / "moving", CLIP)
    with pytest.raises(UserError, match=r"is not in the folder of a class; expected .*/CLASS/"):
        read_clips(str(tmp_path / "data"), PoseCodec())


def test_a_large_set_is_decoded_by_workers_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoding, "SECONDS", 60.0)
    folder = write_clips(tmp_path, 5)
    write_openpose(folder / "still" / "folder", CLIP)
    memory = read_clips(str(folder), PoseCodec())
    monkeypatch.setattr(workers, "cores", lambda: 2)
    monkeypatch.setattr(decoding, "SECONDS", 0.0)
    _same(read_clips(str(folder), PoseCodec()), memory)
    monkeypatch.setattr(decoding, "decode_item", None)  # the next ones are not decoded
    _same(read_clips(str(folder), PoseCodec()), memory)


@pytest.mark.parametrize("name", SKELETONS)
def test_the_two_sides_of_a_skeleton_are_mirrored(name: str) -> None:
    skeleton = SKELETONS[name]
    mirrored = skeleton.mirrored
    assert [mirrored[other] for other in mirrored] == list(range(len(skeleton.joints)))
    assert len(set(skeleton.joints)) == len(skeleton.joints)
    moved = [joint for joint, other in zip(skeleton.joints, mirrored, strict=True) if skeleton.joints[other] != joint]
    assert moved == [joint for joint in skeleton.joints if joint.startswith(("left ", "right "))]
    bones = {frozenset(bone) for bone in skeleton.bones}
    assert {frozenset(mirrored[joint] for joint in bone) for bone in bones} == bones
    assert set().union(*bones) == set(range(len(skeleton.joints)))


def test_a_built_in_figure_moves_where_it_says() -> None:
    clips = figures(60)
    assert clips.moments is not None
    assert clips.places is not None
    assert set(clips.labels.tolist()) == set(range(len(ACTIONS)))
    for row, (start, end) in enumerate(clips.moments.tolist()):
        speed = np.linalg.norm(np.diff(clips.values[row].astype(float), axis=0), axis=2)[:, clips.places[row]].mean(1)
        inside = np.zeros(len(speed), dtype=bool)
        inside[start:end] = True
        assert speed[inside].mean() > 1.5 * speed[~inside].mean()
