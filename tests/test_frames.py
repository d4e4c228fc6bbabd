"""Clips as folders of images, animations and video files become the same frames; bad ones are named."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regard.data.clips import read_clips
from regard.data.frames import FrameCodec
from regard.data.moving import DIRECTIONS, moving
from regard.data.packed import read_whole
from regard.errors import UserError
from regard.models.video import ClipClassifier, Patches
from regard.tasks.running import evaluate, load, train

CODEC = FrameCodec(size=16, shape=(3, 16, 16))
TINY = {"model": {"width": 8, "heads": 2}, "train": {"steps": 2, "batch": 8}}


def _clip(frames: int = 5, seed: int = 0) -> np.ndarray:
    """A clip of few colours, which a GIF keeps exactly, ``(frames, 16, 16, 3)``."""
    random = np.random.default_rng(seed)
    return random.integers(0, 2, (frames, 4, 4, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2) * np.uint8(255)


def _animation(clip: np.ndarray, kind: str) -> bytes:
    out = io.BytesIO()
    first, *others = map(Image.fromarray, clip)
    options: dict[str, Any] = {"lossless": True} if kind == "WebP" else {}
    first.save(out, kind, save_all=True, append_images=others, duration=50, **options)
    return out.getvalue()


def _video(clip: np.ndarray, kind: str) -> bytes:
    av = pytest.importorskip("av")
    out = io.BytesIO()
    with av.open(out, "w", format=kind) as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for frame in clip.repeat(4, 1).repeat(4, 2):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    return out.getvalue()


def _folder(folder: Path, clip: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for number, frame in enumerate(clip, 8):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return folder


def test_folders_and_animations_give_the_same_frames(tmp_path: Path) -> None:
    clip = _clip()
    (_folder(tmp_path / "clip", clip) / "notes.txt").write_text("not a frame")
    for content in (read_whole(str(tmp_path / "clip")), _animation(clip, "GIF"), _animation(clip, "WebP")):
        assert np.array_equal(CODEC.open(content), clip.transpose(0, 3, 1, 2))
    some = FrameCodec(size=16, every=2, longest=2)
    assert np.array_equal(some.open(_animation(clip, "GIF")), clip[[0, 2]].transpose(0, 3, 1, 2))


@pytest.mark.parametrize("kind", ["mp4", "matroska", "avi"])
def test_video_files_are_read(kind: str) -> None:
    clip = _clip(6)
    frames = CODEC.open(_video(clip, kind))
    assert frames.shape == (6, 3, 16, 16)
    assert np.abs(frames.astype(float) - clip.transpose(0, 3, 1, 2)).mean() < 40
    some = FrameCodec(size=16, every=2, longest=2).open(_video(clip, kind))
    assert np.array_equal(some, frames[[0, 2]])


@pytest.mark.parametrize(
    ("kind", "share"), [(kind, share) for kind in ("avi", "matroska", "mp4") for share in (0.4, 0.8)]
)
def test_a_video_file_that_is_cut_is_refused_by_name(kind: str, share: float, tmp_path: Path) -> None:
    content = _video(_clip(24), kind)
    path = tmp_path / f"clip.{kind}"
    path.write_bytes(content)
    assert np.array_equal(CODEC.read(str(path)), CODEC.open(content))
    assert len(CODEC.open(content)) == 24
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=rf"clip\.{kind}: not a usable clip: .*incomplete") as error:
        CODEC.read(str(path))
    assert not {"Errno", "<none>"} & set(str(error.value).replace("[", " ").split())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    content = _video(_clip(), "mp4")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(UserError, match=r"reading video files needs av: pip install 'regard\[video\]'"):
        CODEC.open(content)


def test_clips_are_trained_on_and_bad_ones_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for number in range(5):
        _folder(data / "still" / f"clip {number}", np.repeat(_clip(1, number), 6 + number, 0))
        (data / "moving" / f"{number}.gif").parent.mkdir(parents=True, exist_ok=True)
        (data / "moving" / f"{number}.gif").write_bytes(_animation(_clip(6 + number, number), "GIF"))
    archive = shutil.make_archive(str(tmp_path / "data"), "zip", data)
    assert [len(read_clips(one, CODEC).labels) for one in (str(data), archive)] == [10, 10]
    settings = {"data": {"train": str(data), "kind": "frames", "size": 16, "window": 4}}
    train("classify-video", {**TINY, **settings}, tmp_path / "run")
    shown = load(tmp_path / "run").look(str(data / "still" / "clip 4"))
    assert np.array(shown.to_dict(attention=True)["places"]).shape == (10, 4)
    shown.save(tmp_path / "look.png")
    bad = {
        "empty.mp4": (b"", "the file is empty"), "text.mp4": (b"once", "its content is not a video"),
        "cut.gif": (_animation(_clip(), "GIF")[:60], "cannot be read as GIF"),
        "cut.mp4": (b"\0\0\0\x18ftypmp42\0\0\0\0", "cannot be read as a video"),
    }  # fmt: skip
    for name, (content, reason) in bad.items():
        (data / "moving" / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"not a usable clip: .*/moving/{name} \({reason}"):
            evaluate(tmp_path / "run", str(data))
        (data / "moving" / name).unlink()
    (data / "still" / "clip 0" / "9.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UserError, match=r"/still/clip 0 \(9.png: cannot be read as PNG"):
        evaluate(tmp_path / "run", str(data))
    with pytest.raises(UserError, match=r"no clips in it; .*for images, animations and video files, use --data\.kind"):
        train("classify-video", {**TINY, "data": {"train": str(data)}}, tmp_path / "second")


def test_padding_changes_no_logit() -> None:
    torch.manual_seed(0)
    model = ClipClassifier(3, Patches(16, 8, ([0.4] * 3, [0.2] * 3)), 8, heads=2).eval()
    x, lengths = torch.randint(0, 256, (2, 9, 3, 16, 16)), torch.tensor([5, 9])
    both, alone = model.look(x, lengths), model.look(x[:1, :5], lengths[:1])
    torch.testing.assert_close(both.logits[:1], alone.logits)
    assert both.places is not None
    assert (both.places[0, :, 5:] == 0).all()


def test_equal_attention_is_equal_for_all_frames_of_a_clip() -> None:
    """Also for the last frame of an odd number, which has a step of its own."""
    model = ClipClassifier(3, Patches(16, 8, ([0.4] * 3, [0.2] * 3)), 8, heads=2).eval()
    assert model.pool is not None
    for weight in model.pool.parameters():
        torch.nn.init.zeros_(weight)
    lengths = torch.tensor([5, 8, 1])
    places = model.look(torch.randint(0, 256, (3, 9, 3, 16, 16)), lengths).places
    assert places is not None
    expected = (torch.arange(9) < lengths[:, None]) / lengths[:, None]
    torch.testing.assert_close(places.sum((1, 3)), expected)


def test_the_digit_of_a_built_in_clip_moves_where_it_says() -> None:
    clips = moving(40, 32)
    assert clips.moments is not None
    assert clips.places is not None
    for row, (start, end) in enumerate(clips.moments.tolist()):
        frames = clips.values[row].astype(float).mean(1)
        changes = np.abs(np.diff(frames, axis=0)).reshape(-1, 4, 8, 4, 8).mean((2, 4)).reshape(-1, 16)
        assert clips.places[row][changes[start - 1 : end - 1].argmax(1)].all()
        assert changes[start - 1 : end - 1].max() > 1.5 * np.delete(changes, range(start - 1, end - 1), 0).max()
        assert clips.names[clips.labels[row]] in DIRECTIONS
