"""Images that are decoded by worker processes and kept in the cache are those of a small set in memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from children import children, wait_for_end
from image_sets import TWO, WAYS, encoded
from regard.data import cache, decoding, known_files, workers
from regard.data.class_trees import Item
from regard.data.image_items import ImageCodec
from regard.data.images import Images, read_images
from regard.data.pixels import Rows
from regard.errors import UserError

COUNT = 24


def _content(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (9, 8, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels))


def _write(folder: Path, bad: tuple[int, ...] = ()) -> str:
    for number in range(COUNT):
        path = folder / "set" / f"{number % 2}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_content(number)[: 60 if number in bad else None])
    return str(folder / "set")


def _same(one: Images, other: Images) -> bool:
    assert np.array_equal(one.pixels, other.pixels)
    assert one.labels.tolist() == other.labels.tolist()
    assert (one.keys, one.names, one.notes) == (other.keys, other.names, other.notes)
    return True


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoding, "SECONDS", 60.0)  # on a busy machine, even a small set takes longer than usual
    return tmp_path / "cache"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every set of more than a few images is large."""
    monkeypatch.setattr(decoding, "BYTES", 3 * 3 * 8**2)
    monkeypatch.setattr(workers, "cores", lambda: 2)


def _files(place: Path) -> list[Path]:
    """The files of the cache but those of digests."""
    return sorted(one for one in place.iterdir() if one.name[:8] != "digests-") if place.exists() else []


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("bad", [(), (0, 7, COUNT - 1)], ids=["all good", "some bad"])
def test_images_of_a_large_set_are_those_in_memory(
    bad: tuple[int, ...], cores: int, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path, bad)
    memory = read_images(path, 8, on_bad="skip")
    assert isinstance(memory.pixels, np.ndarray)
    assert not _files(place)
    monkeypatch.setattr(workers, "cores", lambda: cores)
    monkeypatch.setattr(decoding, "BYTES", 3 * 3 * 8**2)
    large = read_images(path, 8, on_bad="skip")
    assert isinstance(large.pixels, Rows)
    assert _same(large, memory)
    (file,) = _files(place)
    monkeypatch.setattr(decoding, "decode_item", None)  # the next ones are not decoded
    assert _same(read_images(path, 8, on_bad="skip"), memory)
    assert _files(place) == [file]


@pytest.mark.parametrize("way", WAYS)
def test_every_source_is_kept(way: str, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if way in ("parquet", "hf"):
        pytest.importorskip("datasets" if way == "hf" else "pyarrow")
    names = {"cat": "red", "dog": "blue"}
    members = {f"{names[name[:3]]}{name[3:]}": content for name, content in TWO.items()}
    path = WAYS[way](dict(sorted(members.items())), tmp_path)
    memory = read_images(path, 4)
    monkeypatch.setattr(decoding, "SECONDS", 0.0)
    assert _same(read_images(path, 4), memory)
    assert len(_files(place)) == 1
    assert _same(read_images(path, 4), memory)


@pytest.mark.usefixtures("large")
def test_changed_images_are_decoded_again(tmp_path: Path, place: Path) -> None:
    path = _write(tmp_path)
    before = read_images(path, 8)
    changed = tmp_path / "set" / "0" / "04.png"
    changed.write_bytes(_content(99))
    after = read_images(path, 8)
    assert len(_files(place)) == 1
    assert [one != other for one, other in zip(before.keys, after.keys, strict=True)].count(True) == 1
    assert (np.asarray(before.pixels) != np.asarray(after.pixels)).any((1, 2, 3)).sum() == 1
    assert _same(read_images(path, 8), after)
    read_images(path, 12)
    assert len(_files(place)) == 2


def _loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on."""
    names, load = list[str](), Item.load

    def noted(item: Item) -> bytes | np.ndarray:
        names.append(Path(item.origin).name)
        return load(item)

    monkeypatch.setattr(Item, "load", noted)
    return names


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("bad", [(), (0, 7, COUNT - 1)], ids=["all good", "some bad"])
def test_files_are_read_again_only_if_they_have_changed(
    bad: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_files, "SETTLED", 0.0)
    path = _write(tmp_path, bad)
    before = read_images(path, 8, on_bad="skip")
    loaded = _loaded(monkeypatch)
    assert _same(read_images(path, 8, on_bad="skip"), before)
    assert not loaded
    first, second = tmp_path / "set" / "0" / "02.png", tmp_path / "set" / "0" / "04.png"
    # A change that leaves size and time of the content as they were: two files swap their contents.
    contents, times = [first.read_bytes(), second.read_bytes()], [first.stat(), second.stat()]
    assert len(contents[0]) == len(contents[1])
    for file, content, own in zip((second, first), contents, times, strict=True):
        file.write_bytes(content)
        os.utime(file, ns=(own.st_atime_ns, own.st_mtime_ns))
    after = read_images(path, 8, on_bad="skip")
    assert sorted(loaded) == ["02.png", "04.png"]
    assert sorted(after.keys) == sorted(before.keys)
    assert after.keys != before.keys
    loaded.clear()
    assert _same(read_images(path, 8, on_bad="skip"), after)
    assert not loaded


@pytest.mark.usefixtures("large")
def test_files_that_have_just_changed_are_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_files, "SETTLED", 600.0)
    path = _write(tmp_path)
    read_images(path, 8)
    loaded = _loaded(monkeypatch)
    read_images(path, 8)
    assert len(loaded) == COUNT


@pytest.mark.usefixtures("large")
def test_other_classes_and_fewer_images_need_no_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path)
    before = read_images(path, 8)
    monkeypatch.setattr(decoding, "decode_item", None)
    (tmp_path / "set" / "0").rename(tmp_path / "set" / "7")
    (tmp_path / "set" / "7" / "04.png").unlink()
    after = read_images(path, 8)
    assert after.names == ("1", "7")
    assert len(after.keys) == COUNT - 1
    rows = {key: row for row, key in enumerate(before.keys)}
    assert np.array_equal(after.pixels, before.pixels[[rows[key] for key in after.keys]])


@pytest.mark.usefixtures("large")
def test_a_bad_image_is_an_error_and_leaves_nothing(tmp_path: Path, place: Path) -> None:
    path = _write(tmp_path, (COUNT - 2,))
    with pytest.raises(UserError, match=rf"not a usable image: {path}/0/22.png \(cannot be read as PNG: "):
        read_images(path, 8)
    assert not _files(place)


@pytest.mark.usefixtures("large")
def test_a_cache_that_another_process_has_written_meanwhile_is_used(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, entry, others = _write(tmp_path), cache.entry, []

    def slower(name: str, write: Any) -> Path:
        monkeypatch.setattr(cache, "entry", entry)
        others.append(read_images(path, 8))
        return entry(name, write)

    monkeypatch.setattr(cache, "entry", slower)
    assert _same(read_images(path, 8), others[0])
    assert len(_files(place)) == 1


def test_without_a_cache_images_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(decoding, "SECONDS", 0.0)
    assert len(read_images(path, 8).pixels) == COUNT
    monkeypatch.setattr(workers, "cores", lambda: 2)
    monkeypatch.setattr(decoding, "_BYTES_IN_MEMORY", 3 * 3 * 8**2)
    with pytest.raises(UserError, match=r"the cache cannot be written .*REGARD_CACHE"):
        read_images(path, 8)


class _Killed(ImageCodec):
    def decode_group(self, path: str, numbered: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("large")
def test_a_worker_that_is_killed_is_an_error(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.data.images.ImageCodec", _Killed)
    with pytest.raises(UserError, match=r"a worker process ended unexpectedly \(exit status -9\)"):
        read_images(_write(tmp_path), 8)
    assert not _files(place)


_COMMAND = """
import sys
from regard.cli.main import main
from regard.data import decoding, workers
decoding.SECONDS, workers.cores = 0.0, lambda: 2
main(["train", "classify-image", sys.argv[1], "--data.train", sys.argv[2], "--data.size", "512"])
"""


def test_ctrl_c_ends_at_once_without_a_traceback(tmp_path: Path, place: Path) -> None:
    path = tmp_path / "set" / "a" / "0.jpg"
    path.parent.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (4000, 4000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    for number in range(1, 200):
        (path.parent / f"{number}.jpg").symlink_to(path)
    command = [sys.executable, "-c", _COMMAND, str(tmp_path / "run"), str(tmp_path / "set")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while len(started := children(process.pid)) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, errors = process.communicate(timeout=30)
    assert time.monotonic() - began < 6
    assert process.returncode == 130
    assert "Traceback" not in errors
    wait_for_end(started, 6)  # one that had just been started notices the end of its caller after its imports
    assert not _files(place)
