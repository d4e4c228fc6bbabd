"""A process's part of the validation set: its rows, sums, progress, and the sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from job import Reverse, run
from regard.training import log as logs
from regard.training.config import TrainConfig
from regard.training.distributed import World
from regard.training.log import Log
from regard.training.loop import fit
from regard.training.validation import Part, Stopped, examples

ONE = World(0, 1, torch.device("cpu"))


def _world(rank: int, size: int) -> World:
    return World(rank, size, torch.device("cpu"))


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_the_parts_of_all_processes_are_the_set(count: int) -> None:
    parts = [Part(range(count), _world(rank, 3)) for rank in range(3)]
    assert sorted(row for part in parts for row in part.rows) == list(range(count))
    assert sorted(row for part in parts for row in part.first(4).rows) == list(range(min(4, count)))


def test_gathered_values_are_in_the_order_of_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [3, 5, 6, 8, 9, 11, 12]
    parts = [Part(every, _world(rank, 3)) for rank in range(3)]
    monkeypatch.setattr(World, "sum", lambda self, *numbers: list(numbers))
    monkeypatch.setattr(World, "gather", lambda self, value: [list(part.rows) for part in parts])
    assert parts[0].gather(parts[0].rows) == every


def test_progress_counts_all_parts_and_a_signal_ends_them() -> None:
    shown: list[float] = []
    stopping: list[bool] = []
    part = Part(range(6), ONE, stopping=lambda: bool(stopping), show=shown.append)
    second = part.first(2)
    assert [list(rows) for rows in part.batches(4)] == [[0, 1, 2, 3], [4, 5]]
    second.tick(1)
    assert shown == [0.5, 0.75, 0.875]
    stopping.append(True)
    for act in (second.tick, lambda: part.sum(1.0), lambda: part.gather([1] * 6), lambda: part.finish({})):
        with pytest.raises(Stopped):
            act()


def test_a_sample_is_fixed_by_the_seed() -> None:
    assert examples(5, None, 0) == examples(5, 5, 0) == range(5)
    sample = examples(1000, 10, 0)
    assert len(set(sample)) == 10
    assert list(sample) == sorted(sample) == list(examples(1000, 10, 0)) != list(examples(1000, 10, 1))


def test_training_validates_on_a_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validated: list[list[int]] = []

    class Recording(Reverse):
        def evaluate(self, part: Part) -> dict[str, float]:
            validated.append(list(part.every))
            return super().evaluate(part)

    config = TrainConfig(epochs=2, validate_on=7)
    fit(Recording(), config, tmp_path, ONE, log=Log(None))
    assert len(validated[0]) == 7
    assert validated[0] == validated[1]
    lines = capsys.readouterr().err.splitlines()
    assert lines.count("validation: on a fixed random sample of 7 of 67 examples") == 1


def test_progress_is_a_line_now_and_then_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("regard.data.progress._LINE_SECONDS", 0.0)
    with Log(None) as log, log.validation() as show:
        show(0.25)
    assert capsys.readouterr().err.startswith("validation ·  25% · ")


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "Console", lambda **options: Console(force_terminal=True, width=80, **options))
    with Log(None) as log, log.validation() as show:
        show(0.5)
        tasks: list[Any] = log._bar.tasks
        assert [(task.description, task.completed) for task in tasks] == [("training", 0.0), ("validation", 0.5)]
    assert len(log._bar.tasks) == 1


def test_all_validation_examples_in_one_process_give_the_same_loss(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    progress, task = run(tmp_path, epochs=1)
    assert progress.figures == run(tmp_path / "again", epochs=1, validate_on=67)[0].figures
    assert len(task.rows) == 67
