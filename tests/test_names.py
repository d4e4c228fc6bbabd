"""Every command with names of files and folders that are not UTF-8."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import run_command

BYTES = "\udcff"
"""Python's representation of the byte 0xff in a file name."""

Call = Callable[..., bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / f"folder{BYTES}"
    path.mkdir()
    return path


@pytest.fixture
def call(capfdbinary: pytest.CaptureFixture[bytes]) -> Call:
    """Runs a command line that has to succeed; returns its standard output."""

    def run(*arguments: object) -> bytes:
        status = run_command(*arguments)
        out, err = capfdbinary.readouterr()
        assert status == 0, err
        return out

    return run


def _path(name: str) -> bytes:
    return os.fsencode(name)


def test_commands_for_translation(folder: Path, call: Call) -> None:
    run, data = folder / "run", folder / f"{BYTES}.tsv"
    data.write_text("".join(f"a {one} cat\tun chat {one}\n" for one in "abcdef"))
    small = ["--model.kind", "transformer", "--model.dim", 16, "--transformer.heads", 2, "--transformer.hidden", 16]
    assert _path(f"{run}") in call("train", "translate", run, "--data.train", data, *small, "--train.epochs", 1)
    call("train", "translate", run, "--resume", "--train.epochs", 2)
    (folder / "in.txt").write_text("a red cat\n\n")
    out = folder / f"out{BYTES}.txt"
    call("translate", run, "--file", folder / "in.txt", "--beam", 1, "--output", out)
    assert out.read_bytes().count(b"\n") == 2
    call("eval", run, "--data", data, "--output", out)
    assert out.read_bytes().count(b"\n") == 6
    for ending in ("png", "svg", "html"):
        drawn = folder / f"{BYTES}.{ending}"
        output = call("look", run, "a cat", "--html" if ending == "html" else "--out", drawn)
        assert output.endswith(b"drawn in " + _path(f"{drawn}\n"))
        assert drawn.is_file()
    for form, ending in (("torch-export", "pt2"), ("onnx", "onnx")):
        exported = folder / f"{BYTES}.{ending}"
        assert call("export", run, exported, "--format", form).startswith(_path(f"{exported}  "))


def test_commands_for_generation(folder: Path, call: Call) -> None:
    run, data = folder / "run", folder / f"{BYTES}.txt"
    data.write_text("the fox jumps over the dog.\n" * 30)
    small = ["--model.dim", 16, "--model.layers", 1, "--model.heads", 2, "--train.epochs", 1]
    assert _path(f"{run}") in call("train", "generate", run, "--data.train", data, *small)
    assert call("generate", run, "the", "--tokens", 2, "--seed", 1).startswith(b"the")
    call("eval", run)
    drawn = folder / f"{BYTES}.png"
    assert call("look", run, "the", "--out", drawn).endswith(b"drawn in " + _path(f"{drawn}\n"))


def test_commands_for_images(folder: Path, call: Call) -> None:
    run, pixels = folder / "run", np.random.default_rng(0).integers(0, 255, (2, 5, 16, 16, 3), dtype=np.uint8)
    for name, arrays in zip(("cat", "dog"), pixels, strict=True):
        (folder / "data" / name).mkdir(parents=True)
        for at, array in enumerate(arrays):
            Image.fromarray(array).save(folder / "data" / name / f"{at}{BYTES}.png")
    small = ["--data.size", 16, "--model.width", 4, "--model.blocks", 1, "--model.attention", "query"]
    call("train", "classify-image", run, "--data.train", folder / "data", *small, "--train.epochs", 1)
    call("eval", run)
    image, drawn = folder / "data" / "cat" / f"0{BYTES}.png", folder / f"{BYTES}.png"
    output = call("look", run, image, "--out", drawn)
    assert output.startswith(_path(f"{image}: "))
    assert output.endswith(b"drawn in " + _path(f"{drawn}\n"))
    assert call("classify", run, image, "--look", drawn).startswith(_path(f"{image}\t"))
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_a_character_outside_the_terminals_encoding_gives_a_one_line_error(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        "←".encode("ascii")

    monkeypatch.setattr("regard.cli.main.build", lambda run_task, arguments: fail)
    assert run_command() == 2
    assert capfdbinary.readouterr().err == (
        b"regard: writing: the encoding ascii has no '\\u2190'; set PYTHONIOENCODING=utf-8\n"
    )
