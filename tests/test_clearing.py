"""``regard cache``: it shows and removes the files that regard has written to the cache, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Result
from regard.data import cache
from regard.data.clearing import UNFINISHED, entries, remove

DAY = 86_400


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a cache with three files, of which one is 40 days old, and with files of others."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("REGARD_CACHE", str(folder))
    for kind, part, size in (("text", 1, 3_000_000), ("text", 2, 200_000), ("tokens", 1, 1_000)):
        path = cache.entry(cache.name(kind, part), lambda file, size=size: file.write(bytes(size)))  # type: ignore[misc]
    long_ago = time.time() - 40 * DAY - 60
    os.utime(path, (long_ago, long_ago))
    (folder / "notes.txt").write_text("the user's")
    (folder / "text-1").write_text("the user's")
    (folder / f"photos-{'0' * 32}").write_text("the user's")
    (folder / f"text-{'0' * 32}").mkdir()
    (folder / f"text-{'1' * 32}").symlink_to(folder / "notes.txt")
    return folder


def test_the_files_are_shown_by_kind(place: Path, regard: Callable[..., Result]) -> None:
    result = regard("cache")
    assert (result.status, result.err) == (0, "")
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[0] == [str(place)]
    assert [line[:3] for line in lines[2:]] == [["text", "2", "3.2"], ["tokens", "1", "0.0"], ["all", "3", "3.2"]]
    assert lines[3][3:5] == ["40", "days"]
    assert regard("cache", "--older-than", 39).out.splitlines()[2].startswith("tokens      1")


def test_only_files_of_regard_are_removed(place: Path, regard: Callable[..., Result]) -> None:
    others = {"notes.txt", "text-1", f"photos-{'0' * 32}", f"text-{'0' * 32}", f"text-{'1' * 32}"}
    old = regard("cache", "--clear", "--older-than", 30)
    assert old.out.splitlines()[-1] == "removed: 1 file, 1,000 bytes"
    assert {path.name for path in place.iterdir()} == others | {cache.name("text", part) for part in (1, 2)}
    assert regard("cache", "--clear").out.splitlines()[-1] == "removed: 2 files, 3,200,000 bytes"
    assert {path.name for path in place.iterdir()} == others
    assert regard("cache").out == f"{place}\nno files\n"


def test_a_folder_that_does_not_exist_is_empty_and_a_negative_age_is_refused(
    tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "none"))
    assert regard("cache", "--clear").out == f"{tmp_path / 'none'}\nno files\nremoved: 0 files, 0 bytes\n"
    assert not (tmp_path / "none").exists()
    assert "--older-than: expected a number of days" in regard("cache", "--older-than", -1).err


WRITER = """
import sys
from regard.data import cache
def write(file):
    print("writing", flush=True)
    sys.stdin.readline()
    file.write(b"content")
print(cache.entry(cache.name("tokens", "new"), write).read_bytes())
"""


def test_a_process_that_is_writing_is_not_disturbed(place: Path, regard: Callable[..., Result]) -> None:
    (place / f".{cache.name('images', 'killed')}.tmp").write_bytes(b"left by a killed process")
    writer = subprocess.Popen([sys.executable, "-c", WRITER], stdin=-1, stdout=-1, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    assert [entry.kind for entry in entries()].count(UNFINISHED) == 2
    lines = regard("cache", "--clear").out.splitlines()
    assert lines[-2].startswith("removed: 4 files, ")
    assert lines[-1] == "not removed: 1 file that another process is writing or has removed"
    assert writer.communicate("\n")[0] == "b'content'\n"
    assert [entry.path.name for entry in entries()] == [cache.name("tokens", "new")]


def test_a_removed_file_stays_readable_for_those_that_have_it(place: Path) -> None:
    with (place / cache.name("tokens", 1)).open("rb") as file:
        assert len(remove(entries())) == 3
        assert len(file.read()) == 1000
