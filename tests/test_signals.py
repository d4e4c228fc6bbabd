"""Ctrl-C and SIGTERM in each phase of training: the process ends soon, and resuming takes the same steps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stopping import assert_same
from torchrun import command

JOB = Path(__file__).parent / "job.py"
SETTINGS: dict[str, Any] = {"epochs": 3, "save_every": 4, "average": 2}
SOON = 6.0
"""Seconds within which the process ends; an idle machine needs less than two."""


def _start(folder: Path, pause: str = "", processes: int = 1) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    launch = [sys.executable] if processes == 1 else command(processes)
    return subprocess.Popen(
        [*launch, str(JOB), str(folder), json.dumps(SETTINGS)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "REGARD_TEST_PAUSE": pause},
    )


def _interrupt(folder: Path, number: int, pause: str, processes: int = 1) -> float:
    """Train until the job pauses, and send it a signal; returns the seconds until it ended."""
    process = _start(folder, pause, processes)
    while not (folder / "pausing").exists():
        assert process.poll() is None
        time.sleep(0.01)
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait() != 0
    (folder / "pausing").unlink()
    return time.monotonic() - began


def _validations(folder: Path) -> list[str]:
    return [line for line in (folder / "metrics.jsonl").read_text().splitlines() if "valid" in line]


def _last(folder: Path) -> str:
    return str(json.loads((folder / "last.json").read_text())["checkpoint"])


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "complete"
    assert _start(folder).wait() == 0
    return folder


@pytest.mark.parametrize(
    ("number", "pause", "reached"),
    [
        (signal.SIGINT, "validation:3:0.9", "-unvalidated"),
        pytest.param(signal.SIGTERM, "validation:20:0.9", "-unvalidated", marks=pytest.mark.long),
        pytest.param(signal.SIGINT, "validation:46:0.9", "", marks=pytest.mark.long),
        (signal.SIGTERM, "saving:3:0.5", ""),
    ],
    ids=["first validation", "second validation", "mean of weights", "saving"],
)
def test_a_signal_ends_each_phase_soon(tmp_path: Path, complete: Path, number: int, pause: str, reached: str) -> None:
    run = tmp_path / "run"
    assert _interrupt(run, number, pause) < SOON
    assert _last(run).endswith(reached)
    assert not list(run.rglob("*.tmp"))
    assert _start(run).wait() == 0
    assert_same(complete, run)
    assert _validations(complete) == _validations(run)
    assert (run / "best.json").read_text() == (complete / "best.json").read_text()
    assert "-unvalidated" not in _last(run)


def test_a_second_ctrl_c_while_saving_keeps_the_checkpoint_before(tmp_path: Path, complete: Path) -> None:
    run = tmp_path / "run"
    process = _start(run, "saving:4:9")
    while not (run / "pausing").exists():
        time.sleep(0.01)
    before = (run / "last.json").read_text()
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert process.wait() != 0
    assert time.monotonic() - began < SOON
    assert (run / "last.json").read_text() == before
    assert _start(run).wait() == 0
    assert_same(complete, run)


def test_a_signal_ends_the_validation_of_two_processes(tmp_path: Path) -> None:
    complete, run = tmp_path / "complete", tmp_path / "run"
    assert _start(complete, processes=2).wait() == 0
    assert _interrupt(run, signal.SIGTERM, "validation:10:0.9", processes=2) < 2 * SOON
    assert _last(run).endswith("-unvalidated")
    assert _start(run, processes=2).wait() == 0
    assert_same(complete, run)
    assert _validations(complete) == _validations(run)
