"""The model that is fitted at once beside a classifier: which examples it is fitted to, and where each fit is used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.data.figures import figures
from regard.data.requests import requests
from regard.tasks.classify_text.task import ClassifyText
from regard.tasks.classify_video.task import ClassifyVideo
from regard.tasks.families.classify.labeller import Classified, Labeller
from regard.tasks.fitted.kernel import KernelClassifier
from regard.tasks.fitted.ngrams import NGramClassifier
from regard.tasks.running import evaluate, load, resume, settings_of, train
from torchrun import by_processes

COUNT = 40
MODELS: dict[str, dict[str, Any]] = {
    "classify-text": {"dim": 8, "width": 4, "buckets": 50, "ngrams": 0.5},
    "classify-video": {"width": 8, "heads": 2, "kernel": 0.5},
}
TASKS: dict[str, Any] = {"classify-text": ClassifyText(), "classify-video": ClassifyVideo()}
FILES = {"classify-text": "ngrams", "classify-video": "kernel"}

both = pytest.mark.parametrize("task", list(TASKS))


def _settings(task: str, data: Path, **others: Any) -> dict[str, Any]:
    return {
        "data": {"train": str(data), **others}, "model": MODELS[task], "train": {"steps": 3, "batch": 8},
    }  # fmt: skip


def _data(task: str, folder: Path, seed: int = 0) -> Path:
    if task == "classify-text":
        texts = requests(COUNT, seed=seed)
        path = folder / f"{seed}.tsv"
        lines = [f"{texts.names[label]}\t{text}" for label, text in zip(texts.labels, texts.texts, strict=True)]
    else:
        clips = figures(COUNT, seed=seed)
        path = folder / f"{seed}.jsonl"
        poses = [clips.values[row].round(3).tolist() for row in range(COUNT)]
        named = zip(clips.labels, poses, strict=True)
        lines = [json.dumps({"label": clips.names[label], "pose": pose}) for label, pose in named]
    path.write_text("\n".join(lines))
    return path


def _item(task: str, folder: Path) -> str:
    if task == "classify-text":
        return requests(COUNT, seed=2).texts[0]
    np.save(folder / "clip.npy", figures(COUNT, seed=2).values[0])
    return str(folder / "clip.npy")


def _classes(run: Path, item: str) -> dict[str, float]:
    (result,) = load(run).predict([item])
    assert isinstance(result, Classified)
    return dict(result.classes)


def _labeller(run: Path) -> Labeller[Any, Any]:
    labeller = load(run)
    assert isinstance(labeller, Labeller)
    return labeller


def _reverse(path: Path, kind: type[NGramClassifier] | type[KernelClassifier]) -> None:
    """Exchange the model for one with the opposite logits of the classes."""
    model: Any = kind.load(path)
    for name in ("weight", "bias", "prior"):
        if hasattr(model, name):
            getattr(model, name)[:] *= -1
    model.save(path)


@both
def test_new_inputs_have_the_fit_to_all_examples(task: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(task, _settings(task, _data(task, tmp_path)), run)
    companion = _labeller(run).companion
    assert companion is not None
    assert "fitted beside the network, whose share is 0.5" in _labeller(run).exportable().missing
    sets = TASKS[task].read(settings_of(run), lambda line: None)
    assert 0 < len(sets.valid.labels) < len(sets.train.labels) < COUNT
    for model, parts in ((companion.held_out, [sets.train]), (companion.model, [sets.train, sets.valid])):
        expected = TASKS[task].fitted(settings_of(run), parts)
        np.testing.assert_array_equal(model.weight, expected.weight)
    item = _item(task, tmp_path)
    before = _classes(run, item)
    _reverse(run / f"{FILES[task]}-complete.safetensors", type(companion.model))
    assert _classes(run, item) != before
    (run / f"{FILES[task]}-complete.safetensors").unlink()
    assert resume(run).step == 3
    assert _classes(run, item) == before


@both
def test_no_score_on_the_examples_that_were_set_aside_has_the_fit_to_them(task: str, tmp_path: Path) -> None:
    run, others = tmp_path / "run", str(_data(task, tmp_path, seed=1))
    train(task, _settings(task, _data(task, tmp_path)), run)
    code, config, companion = TASKS[task], settings_of(run), _labeller(run).companion
    sets = code.read(config, lambda line: None)

    def held_out() -> tuple[float, list[str]]:
        return evaluate(run, checkpoint="last")["loss"].value, list(code.samples(load(run), config, sets))

    before, on_others = held_out(), evaluate(run, others)["loss"].value
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    *_, validated = (line["valid_loss"] for line in lines if "valid_loss" in line)
    assert before[0] == pytest.approx(validated, rel=1e-4)
    assert all(line in (run / "report.md").read_text() for line in before[1])
    assert companion is not None
    _reverse(run / f"{FILES[task]}-complete.safetensors", type(companion.model))
    assert held_out() == before
    for name in ("one", "two"):  # as both held out the same examples, they are scored on them together
        shutil.copytree(run, tmp_path / "both" / name)
    assert evaluate(tmp_path / "both", checkpoint="last")["loss"].value == pytest.approx(before[0], rel=1e-4)
    assert evaluate(run, others)["loss"].value > on_others + 0.01
    # More steps of training are validated as the first ones were.
    trained = code.trainable(config, run, sets, lambda line: None)
    assert trained.labeller.companion.model is trained.labeller.companion.held_out


@both
def test_validation_examples_of_ones_own_are_not_fitted_to(task: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(task, _settings(task, _data(task, tmp_path), valid=str(_data(task, tmp_path, seed=1))), run)
    assert (run / f"{FILES[task]}.safetensors").exists()
    assert not (run / f"{FILES[task]}-complete.safetensors").exists()
    companion = _labeller(run).companion
    assert companion is not None
    assert companion.model is companion.held_out


def test_a_fold_is_fitted_to_in_the_end(tmp_path: Path) -> None:
    settings = _settings("classify-text", _data("classify-text", tmp_path), fold="2/4")
    train("classify-text", settings, tmp_path / "run")
    companion = _labeller(tmp_path / "run").companion
    assert companion is not None
    assert len(companion.model.weight) > len(companion.held_out.weight)


@pytest.mark.long
def test_two_processes_have_the_fits_of_one(tmp_path: Path) -> None:
    data, written = _data("classify-text", tmp_path), []
    options = ["--data.train", data, "--model.ngrams", "0.5", "--model.dim", "8", "--train.steps", "2"]
    for count in (1, 2):
        run = tmp_path / str(count)
        result = by_processes(count, "-m", "regard", "train", "classify-text", run, *options)
        assert result.returncode == 0, result.stderr
        written.append([(run / name).read_bytes() for name in ("ngrams.safetensors", "ngrams-complete.safetensors")])
    assert written[0] == written[1]
