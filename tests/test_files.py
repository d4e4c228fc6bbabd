"""Everything that writes a file which a user names, with every kind of target: files, links, pipes, devices."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from regard.cli.verbs import _write
from regard.data.tokenizer import Tokenizer
from regard.errors import UserError
from regard.explain.alignment import Alignment
from regard.explain.draw import save_picture
from regard.explain.overlay import save_overlay
from regard.files import write_whole
from regard.tasks.exporting import Exportable, export
from regard.tasks.families.language.results import Continuation
from regard.tasks.families.seq2seq.evaluation import write_lines
from regard.training import checkpoint
from regard.training import run as runs
from regard.training.log import Log
from regard.viewer.page import write_page

ALIGNMENT = Alignment(("a",), ("b",), np.ones((1, 1)))
IMAGE = np.zeros((3, 4, 4), dtype=np.uint8)


def _export(path: Path) -> None:
    exportable = Exportable(nn.Linear(2, 2), {"x": ("batch", 2)}, lambda sizes: (torch.ones(sizes["batch"], 2),))
    export(exportable, path, "torch-export")


class Writer(NamedTuple):
    """The suffix of a file, the function that writes it, and the first bytes of its content."""

    suffix: str
    write: Callable[[Path], object]
    start: bytes


WRITERS = {
    "translate --output": Writer(
        ".txt", lambda path: _write([Continuation("", "un\nchat")], path, json=False), b"un chat\n"
    ),
    "eval --output": Writer(".txt", lambda path: write_lines(["un\nchat"], path), b"un chat\n"),
    "page": Writer(".html", lambda path: write_page(ALIGNMENT.document("x"), path), b"<!doctype html>"),
    "picture": Writer(".svg", lambda path: save_picture(ALIGNMENT, path), b"<?xml"),
    "overlay": Writer(".png", lambda path: save_overlay(IMAGE, np.ones((2, 2)), path, title="x"), b"\x89PNG"),
    "tokenizer": Writer(".json", lambda path: Tokenizer.train(["a b"], kind="char").save(path), b"{"),
    "export": Writer(".pt2", _export, b"PK"),
    "settings": Writer(".json", lambda path: checkpoint.write_json(path, {}), b"{}"),
}
each_writer = pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)


@each_writer
def test_a_file_is_created_and_replaced(tmp_path: Path, writer: Writer) -> None:
    path = tmp_path / f"{'a' * (255 - len(writer.suffix))}{writer.suffix}"
    writer.write(path)
    assert path.read_bytes().startswith(writer.start)
    path.write_bytes(b"old")
    path.chmod(0o640)
    writer.write(path)
    assert path.read_bytes().startswith(writer.start)
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("exists", [True, False])
@each_writer
def test_links_are_kept(tmp_path: Path, writer: Writer, exists: bool) -> None:
    (tmp_path / "far").mkdir()
    path, real = tmp_path / f"a{writer.suffix}", tmp_path / "far" / "real"
    path.symlink_to(Path("far") / "real")
    if exists:
        real.write_bytes(b"old")
    writer.write(path)
    assert path.is_symlink()
    assert real.read_bytes().startswith(writer.start)
    assert list(real.parent.iterdir()) == [real]


@each_writer
def test_pipes_get_the_content(tmp_path: Path, writer: Writer) -> None:
    path = tmp_path / f"a{writer.suffix}"
    os.mkfifo(path)
    contents: list[bytes] = []
    reader = threading.Thread(target=lambda: contents.append(path.read_bytes()), daemon=True)
    reader.start()
    writer.write(path)
    reader.join(10)
    assert contents[0].startswith(writer.start)
    assert list(tmp_path.iterdir()) == [path]
    assert path.is_fifo()


@each_writer
def test_devices_are_kept(tmp_path: Path, writer: Writer) -> None:
    path = tmp_path / f"null{writer.suffix}"
    path.symlink_to("/dev/null")
    writer.write(path)
    assert path.is_symlink()
    assert path.is_char_device()


@each_writer
def test_an_open_file_descriptor_is_appended_to(tmp_path: Path, writer: Writer) -> None:
    path = tmp_path / f"a{writer.suffix}"
    with (tmp_path / "out").open("wb") as file:
        file.write(b"before")
        file.flush()
        path.symlink_to(f"/dev/fd/{file.fileno()}")
        writer.write(path)
        assert os.fstat(file.fileno()).st_nlink == 1
    assert (tmp_path / "out").read_bytes().startswith(b"before" + writer.start)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs /dev/shm")
@each_writer
def test_a_regular_file_below_dev_is_replaced(writer: Writer) -> None:
    path = Path("/dev/shm") / f"regard-test-{os.getpid()}{writer.suffix}"
    try:
        path.write_bytes(b"old")
        writer.write(path)
        assert path.read_bytes().startswith(writer.start)
    finally:
        path.unlink(missing_ok=True)


@each_writer
def test_missing_folders_folders_and_circular_links_are_errors(tmp_path: Path, writer: Writer) -> None:
    (tmp_path / f"folder{writer.suffix}").mkdir()
    (tmp_path / f"circle{writer.suffix}").symlink_to(f"circle{writer.suffix}")
    for name in ("none/a", "folder", "circle"):
        path = tmp_path / f"{name}{writer.suffix}"
        with pytest.raises(UserError, match=r"cannot be written|there is no folder") as error:
            writer.write(path)
        assert "\n" not in str(error.value)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_metrics_are_truncated_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("far.jsonl")
    (tmp_path / "far.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    Log(tmp_path).resumed(1)
    assert (tmp_path / "metrics.jsonl").is_symlink()
    assert (tmp_path / "far.jsonl").read_text() == '{"step": 1}\n'


@pytest.mark.parametrize("exists", [True, False])
def test_a_run_is_created_at_the_target_of_a_link(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "run").symlink_to("far")
    if exists:
        (tmp_path / "far").mkdir()
    runs.create(tmp_path / "run", "translate", lambda folder: None)
    assert (tmp_path / "run").is_symlink()
    assert runs.kind(tmp_path / "far") == "translate"
    assert len(list(tmp_path.iterdir())) == 2
