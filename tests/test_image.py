"""The image models, and the commands that train, use and score a classifier."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import Result, run_command
from regard.models.vision import Mirrored, ResNet, ViT
from regard.tasks.classify_image.settings import CLASSIFY_IMAGE
from stopping import assert_same, interrupting

MODELS: dict[str, dict[str, Any]] = {
    **{name: {"attention": name, "width": 8, "blocks": 1} for name in ("none", "se", "cbam", "self", "query")},
    "vit": {"size": 16, "width": 16, "layers": 2, "heads": 2},
}
SMALL = ["--data.size", 16, "--model.width", 8, "--model.blocks", 1, "--augment.flip", "--train.batch", 16]


def _model(name: str) -> ResNet | ViT:
    torch.manual_seed(0)
    return (ViT if name == "vit" else ResNet)(5, **MODELS[name]).eval()


@pytest.mark.parametrize("name", MODELS)
def test_look_gives_the_logits_and_the_weights_over_places(name: str) -> None:
    model, x = _model(name), torch.randn(3, 3, 16, 16)
    view = model.look(x)
    assert view.logits.shape == (3, 5)
    torch.testing.assert_close(model(x), view.logits)
    if name in ("none", "se"):
        assert view.places is None
    else:
        assert view.places is not None
        assert view.places.shape == ((3, 4, 4) if name in ("self", "vit") else (3, 2, 2))
        if name != "cbam":  # gates do not sum to one
            torch.testing.assert_close(view.places.sum((1, 2)), torch.ones(3))
    model.train()(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", ["query", "vit"])
def test_an_images_logits_do_not_depend_on_the_batch(name: str) -> None:
    model, x = _model(name), torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_mirrored_averages_an_image_and_its_mirror_image(name: str) -> None:
    model, x = _model(name), torch.randn(3, 3, 16, 16)
    averaged = Mirrored(model)
    assert averaged.output is model.output
    view, mirrored = averaged.look(x), averaged.look(x.flip(3))
    torch.testing.assert_close(view.logits, (model(x) + model(x.flip(3))) / 2)
    torch.testing.assert_close(view.logits, mirrored.logits)
    if view.places is not None and mirrored.places is not None:
        torch.testing.assert_close(view.places, mirrored.places.flip(2))
    assert (view.places is None) == (name in ("none", "se"))


def test_wrong_models_are_refused() -> None:
    with pytest.raises(ValueError, match="width, blocks and stride must be positive, got 0, 1, 1"):
        ResNet(5, width=0, blocks=1)
    with pytest.raises(ValueError, match="classes: must be positive, got 0"):
        ResNet(0)
    with pytest.raises(ValueError, match="size a multiple of 4; got 4, 18"):
        ViT(5, size=18)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of upright and level bars, in grey and with alpha."""
    folder, random = tmp_path_factory.mktemp("shapes"), np.random.default_rng(0)
    for name in ("level", "upright"):
        (folder / name).mkdir()
        for number in range(40):
            pixels = random.integers(0, 60, (20, 24), dtype=np.uint8)
            at = int(random.integers(4, 16))
            if name == "level":
                pixels[at : at + 3] = 220
            else:
                pixels[:, at + 2 : at + 5] = 220
            image = Image.fromarray(pixels)
            image = image if number % 2 else image.convert("RGBA")
            image.save(folder / name / f"{number}.png")
    return folder


def _train(run: Path, shapes: Path, *settings: object) -> Path:
    with redirect_stdout(StringIO()):
        assert run_command("train", "classify-image", run, "--data.train", shapes, *SMALL, *settings) == 0
    return run


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "bars"
    return _train(folder, shapes, "--model.attention", "query", "--train.epochs", 12, "--train.warmup", 10)


def test_a_trained_model_classifies_correctly(
    run: Path, shapes: Path, regard: Callable[..., Result], tmp_path: Path
) -> None:
    scores = json.loads(regard("eval", run, "--json").out)
    assert scores["accuracy"]["score"] == 100.0
    assert json.loads(regard("eval", run, "--data", shapes, "--json").out)["accuracy"]["score"] > 95
    result = regard("classify", run, shapes / "level" / "0.png", shapes / "upright" / "0.png", "--top", 1)
    assert [line.split("\t")[1].split()[0] for line in result.out.splitlines()] == ["level", "upright"]
    assert regard("classify", run, shapes / "level" / "0.png", "--look", tmp_path / "o.png").status == 0
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")
    result = regard("look", run, shapes / "upright" / "1.png", "--out", tmp_path / "p.svg")
    assert ("upright" in result.out, "<svg" in (tmp_path / "p.svg").read_text()) == (True, True)


def test_a_run_has_its_classes_and_a_report(run: Path) -> None:
    assert json.loads((run / "classes.json").read_text())["names"] == ["level", "upright"]
    report = (run / "report.md").read_text()
    assert "| step | epoch | loss | accuracy |" in report
    assert "Accuracy 100.00 % of 8." in report
    assert "images per second" in report


@pytest.mark.parametrize(
    "options",
    [
        ["--model.kind", "vit"],
        ["--augment.mixup", 0.4, "--train.ema", 0.9],
        ["--model.mirror", "--train.optimizer", "muon"],
    ],
    ids=["vit", "mixup", "mirror"],
)
def test_other_models_and_training_options(
    options: list[object], shapes: Path, tmp_path: Path, regard: Callable[..., Result]
) -> None:
    folder = _train(tmp_path / "run", shapes, "--train.epochs", 1, *options)
    scores = json.loads(regard("eval", folder, "--json").out)
    last = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()][-1]
    assert scores["loss"]["score"] == pytest.approx(last["valid_loss"], rel=1e-5)
    assert scores["accuracy"]["score"] == pytest.approx(last["valid_accuracy"])


def test_resuming_is_exact(shapes: Path, tmp_path: Path, regard: Callable[..., Result]) -> None:
    complete, stopped = _train(tmp_path / "complete", shapes, "--train.epochs", 3), tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regard.tasks.running.Log", interrupting(7, signal.SIGINT))
        assert (
            regard("train", "classify-image", stopped, "--data.train", shapes, *SMALL, "--train.epochs", 3).status
            == 130
        )
    assert regard("train", "classify-image", stopped, "--resume").status == 0
    assert_same(complete, stopped)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify", "{run}", "a.png", "b.png", "--look", "c.png"], "--look: draws a single image, got 2"),
        (["classify", "{run}", "a.png", "--top", 0], "--top: must be at least 1, got 0"),
        (["eval", "{run}", "--on-bad-line", "skip"], "Unknown option: --on-bad-line. Did you mean --on-bad?"),
        (["eval", "{run}", "--beam", 2], "Unknown option: --beam."),
        (["look", "{run}", "{shapes}/level/0.png", "--out", "a.gif"], "a.gif: expected a name that ends in .png"),
        (["train", "classify-image", "--data.size", 18], "data.size: must be a multiple of 4, at least 16, got 18"),
        (["train", "classify-image", "--data.size", 12], "data.size: must be a multiple of 4, at least 16, got 12"),
        (["train", "classify-image", "--model.kind", "vit", "--data.size", 4], "multiple of 4, at least 8, got 4"),
        (["train", "classify-image", "--augment.crop", 32], "augment.crop: must be below data.size, 32, got 32"),
        (["train", "classify-image", "--augment.cutout", -1], "augment.cutout: must not be below 0, got -1"),
        (["train", "classify-image", "--model.width", 0], "model.width: must be above 0, got 0"),
        (["train", "classify-image", "--model.kind", "vit", "--model.heads", 3], "model.heads: must divide 4 · "),
        (["train", "classify-image", "--model.kind", "vit", "--model.attention", "se"], "model.attention: only for"),
        (["train", "classify-image", "--train.batch", 0], "train.batch: must be above 0, got 0"),
        (["train", "classify-image", "--model.dropout", 1], "model.dropout: must be at least 0 and below 1, got 1"),
        (["train", "classify-image", "{new}", "--data.valid", "x"], "data.valid: needs --data.train"),
        (["train", "classify-image", "{new}", "--data.train", "nowhere"], "nowhere: no such file or folder"),
    ],
)  # fmt: skip
def test_a_mistake_gives_a_one_line_error(
    arguments: list[object], message: str, run: Path, shapes: Path, tmp_path: Path, regard: Callable[..., Result]
) -> None:
    names = {"run": run, "new": tmp_path / "new", "shapes": shapes}
    result = regard(*(str(argument).format(**names) for argument in arguments))
    assert result.status == 2
    assert message in result.err
    assert result.err.count("\n") == 1


def test_unreadable_files_are_reported_and_the_others_classified(
    run: Path, shapes: Path, tmp_path: Path, regard: Callable[..., Result]
) -> None:
    valid, truncated, missing = shapes / "level" / "0.png", tmp_path / "truncated.png", tmp_path / "missing.png"
    truncated.write_bytes(valid.read_bytes()[:60])
    result = regard("classify", run, truncated, valid, missing, __file__, tmp_path, valid)
    assert result.status == 1
    assert [line.split("\t")[0] for line in result.out.splitlines()] == [str(valid), str(valid)]
    errors = result.err.splitlines()
    assert errors[0].startswith(f"regard: {truncated}: not a usable image: cannot be read as PNG: ")
    assert errors[1:] == [
        f"regard: {missing}: No such file or directory",
        f"regard: {__file__}: not a usable image: its content is not an image",
        f"regard: {tmp_path}: Is a directory",
    ]
    assert regard("look", run, truncated).status == 2


def test_a_broken_tiff_file_gives_a_one_line_error(run: Path, tmp_path: Path) -> None:
    buffer = BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "TIFF")
    samples = b"\x15\x01\x03\x00\x01\x00\x00\x00"  # the tag SamplesPerPixel, which is 3
    (tmp_path / "a.tiff").write_bytes(buffer.getvalue().replace(samples + b"\3\0", samples + b"\xff\xff"))
    result = subprocess.run([sys.executable, "-m", "regard", "classify", run, tmp_path / "a.tiff"], capture_output=True)
    assert (result.returncode, result.stdout) == (1, b"")
    message = f"regard: {tmp_path / 'a.tiff'}: not a usable image: cannot be read as TIFF: "
    assert result.stderr.decode().startswith(message)
    assert result.stderr.count(b"\n") == 1


def test_file_names_that_are_not_utf8(run: Path, shapes: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    shutil.copy(os.fsencode(shapes / "level" / "0.png"), path)
    result = subprocess.run([sys.executable, "-m", "regard", "classify", run, path, "--top", "1"], capture_output=True)
    assert (result.returncode, result.stdout.split(b"\t")[0]) == (0, path), result.stderr


def test_eval_on_other_images(run: Path, shapes: Path, tmp_path: Path, regard: Callable[..., Result]) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [(path.read_bytes(), path.parent.name) for path in sorted(shapes.rglob("1?.png"))]
    table: dict[str, list[Any]] = {"scan": [content for content, _ in rows], "kind": [name for _, name in rows]}
    table["scan"][3] = b""
    parquet.write_table(pyarrow.table(table), tmp_path / "test.parquet")
    command = ["eval", run, "--json", "--data", tmp_path / "test.parquet"]
    assert "its columns are scan, kind; name one with --data.image-column" in regard(*command).err
    command += ["--data.image-column", "scan", "--data.label-column", "kind"]
    message = "record 4 (the file is empty); replace it, or leave such images out with --data.on-bad"
    assert message in regard(*command).err
    result = regard(*command, "--data.on-bad", "skip")
    assert "left out one image that is not usable" in result.err
    assert json.loads(result.out)["accuracy"]["how"] == "per cent of 19 images"
    shutil.copytree(shapes / "level", tmp_path / "set" / "levels")
    result = regard("eval", run, "--data", tmp_path / "set")
    assert (result.status, result.err) == (
        2,
        f"regard: {tmp_path / 'set'}: has the class 'levels', which is not in the training data; "
        "its classes are level, upright\n",
    )


def test_two_classes_and_two_images_per_class_are_needed(
    shapes: Path, tmp_path: Path, regard: Callable[..., Result]
) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "set" / "a" / "1.png")
    result = regard("train", "classify-image", tmp_path / "run", "--data.train", tmp_path / "set")
    assert "has one class, 'a', and needs at least two" in result.err
    (tmp_path / "set" / "b").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "set" / "b" / "1.png")
    result = regard("train", "classify-image", tmp_path / "run", "--data.train", tmp_path / "set")
    assert "the class 'a' has one image" in result.err


def test_look_needs_a_model_with_attention_over_places(
    shapes: Path, tmp_path: Path, regard: Callable[..., Result]
) -> None:
    folder = _train(tmp_path / "run", shapes, "--train.epochs", 1)
    result = regard("classify", folder, shapes / "level" / "0.png", "--look", tmp_path / "o.png")
    assert "has no attention over places" in result.err


def test_the_demo_is_a_valid_configuration() -> None:
    assert CLASSIFY_IMAGE.demo.settings().problem() is None
