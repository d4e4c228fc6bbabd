"""Metrics of which lower values are better, as the loop uses them: best checkpoint, early stopping, mean of weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from conftest import Result
from regard.errors import UserError
from regard.training import report
from regard.training.config import TrainConfig
from regard.training.distributed import World
from regard.training.log import Log
from regard.training.loop import fit
from regard.training.metric import Metric
from regard.training.progress import Progress
from regard.training.validation import Part

ERRORS = Metric("errors", unit="%")
ACCURACY = Metric("accuracy", higher_is_better=True)


class Scored:
    """A task with one weight, whose validations have given values of one metric and a constant loss."""

    validation_count = 1

    def __init__(self, metric: Metric, values: list[float]):
        self.model: Any = nn.Linear(1, 1, bias=False)
        self.metrics, self.values = (Metric("loss"), metric), values

    def batches(self, epoch: int) -> list[list[int]]:
        return [[1], [2]]

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[torch.Tensor, int]:
        return (model(torch.tensor(rows, dtype=torch.float32)[:, None]) ** 2).sum(), len(rows)

    def evaluate(self, part: Part) -> dict[str, float]:
        return {"loss": 1.0, self.metrics[1].name: self.values.pop(0)}


def _fit(folder: Path, task: Scored, **settings: Any) -> Progress:
    config = TrainConfig(**{"warmup": 0, "epochs": 9, **settings})  # type: ignore[arg-type]
    return fit(task, config, folder, World(0, 1, torch.device("cpu")), log=Log(folder))


def _best(folder: Path) -> str:
    return str(json.loads((folder / "best.json").read_text())["checkpoint"])


@pytest.mark.parametrize(("metric", "sign"), [(ERRORS, 1), (ACCURACY, -1)], ids=["lower", "higher"])
def test_the_best_checkpoint_follows_the_direction(tmp_path: Path, metric: Metric, sign: int) -> None:
    task = Scored(metric, [sign * value for value in (5.0, 3.0, 4.0)])
    progress = _fit(tmp_path, task, epochs=3, metric=metric.name)
    assert (progress.best, _best(tmp_path)) == (sign * 3.0, "step-0000004")


def test_patience_follows_the_direction(tmp_path: Path) -> None:
    progress = _fit(tmp_path, Scored(ERRORS, [5.0, 4.0, 3.0, 3.5, 3.2, 1.0]), patience=2, metric="errors")
    assert (progress.step, progress.best, progress.finished) == (10, 3.0, True)


@pytest.mark.parametrize("mean", [2.0, 6.0])
def test_the_mean_of_weights_follows_the_direction(tmp_path: Path, mean: float) -> None:
    progress = _fit(tmp_path, Scored(ERRORS, [5.0, 4.0, 3.0, mean]), epochs=3, average=2, metric="errors")
    assert (progress.best, _best(tmp_path)) == ((2.0, "mean-0000006") if mean == 2.0 else (3.0, "step-0000006"))


def test_an_unknown_metric_is_refused_before_the_first_step(tmp_path: Path) -> None:
    task = Scored(ERRORS, [])
    with pytest.raises(UserError, match=r"train\.metric: expected one of loss, errors, got 'bleu'"):
        _fit(tmp_path, task, metric="bleu")
    assert not list(tmp_path.iterdir())


def test_ties_and_values_that_are_not_numbers() -> None:
    assert ERRORS.rank(3.0, 1.0) > ERRORS.rank(3.0, 2.0) > ERRORS.rank(4.0, 1.0) > ERRORS.rank(math.nan, 0.0)
    assert ACCURACY.rank(3.0, 1.0) > ACCURACY.rank(3.0, 2.0) > ACCURACY.rank(2.0, 1.0) > ACCURACY.rank(math.nan, 0.0)


def test_the_report_marks_the_best_validation(tmp_path: Path) -> None:
    progress = _fit(tmp_path, task := Scored(ERRORS, [5.0, 3.0, 4.0]), epochs=3, metric="errors")
    (tmp_path / "config.yaml").write_text("")
    text = report.write(
        tmp_path, "toy", progress, parameters=1, unit="rows", metrics=task.metrics, best_by="errors", samples=[]
    ).read_text()
    assert "| 2 | 1 | 1 | 5 |\n| **4** | **2** | **1** | **3** |\n| 6 | 3 | 1 | 4 |" in text
    assert "- errors (%): lower is better" in text


def test_log_and_report_print_units_and_digits_of_the_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.data.progress._LINE_SECONDS", 0.0)
    metrics = (Metric("loss", unit="nats per row", digits=3), Metric("errors", unit="%", digits=2))
    with Log(None, unit="rows", metrics=metrics) as log:
        log.step(1, 0, 0.5, loss=1.23456, tokens=4, samples=2, seconds=2.0, rate=0.1, norm=1.0)
        log.evaluation(1, 0, {"loss": 2.34567, "errors": 12.345, "other": 0.123456}, better=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("epoch 1 · step 1 ·  50% · loss 1.23 · 2 rows/s · ")
    figures = "loss 2.35 · errors 12 % · other 0.1235"
    assert lines[1] == f"epoch 1 · step 1 · valid {figures} · training loss 1.23 · 2 rows/s · best so far"
    progress = Progress(figures={"loss": 2.34567, "errors": 12.345})
    (tmp_path / "config.yaml").write_text("")
    text = report.write(
        tmp_path, "toy", progress, parameters=1, unit="rows", metrics=metrics, best_by="errors", samples=[]
    ).read_text()
    assert "- last validation: loss 2.35, errors 12 %\n" in text


def test_generation_keeps_the_checkpoint_with_the_fewest_bits(tmp_path: Path, regard: Callable[..., Result]) -> None:
    (tmp_path / "tiny.txt").write_text("the quick brown fox jumps over the lazy dog. " * 18)
    run = tmp_path / "run"
    result = regard(
        "train", "generate", run, "--data.train", tmp_path / "tiny.txt", "--train.metric", "bits_per_byte",
        "--train.epochs", 4,
    )  # fmt: skip
    assert result.status == 0, result.err
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    bits = {line["step"]: line["valid_bits_per_byte"] for line in lines if "valid_bits_per_byte" in line}
    assert len(bits) == 4
    assert json.loads((run / "best.json").read_text())["step"] == min(bits, key=lambda step: bits[step])
