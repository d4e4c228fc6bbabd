"""What every task's training shares: the folder of the run, the processes, the log, the report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

from regard.train import checkpoint, report
from regard.train import run as runs
from regard.train.config import TrainConfig
from regard.train.distributed import World, world
from regard.train.interrupt import Interrupted
from regard.train.log import Log
from regard.train.loop import Progress, Trainable, fit

Data = TypeVar("Data")
Config = TypeVar("Config")
Tell = Callable[[str], None]

Read = Callable[[Tell], Data]
"""Reads the data, and tells what is worth a line."""

Go = Callable[[Data, World, bool], Progress]
"""Trains on it: ``go(data, here, resume)``."""


def train_new(
    name: str, run: Path, written: str, read: Read[Data], fill: Callable[[Data, Path], None], go: Go[Data]
) -> Progress:
    """Train in a new folder, which ``fill`` fills before it appears; ``written`` is its configuration.

    Raises:
        UserError: the folder is taken, or the data cannot be used.
    """
    with world() as here:
        here.first_does(lambda: runs.check_free(run))
        found = read(_teller(here))

        def whole(folder: Path) -> None:
            fill(found, folder)
            (folder / "config.yaml").write_text(written, encoding="utf-8")

        here.first_does(lambda: runs.create(run, name, whole))
        return go(found, here, False)


def go_on(
    name: str,
    run: Path,
    settings: Callable[[Path], Config],
    reader: Callable[[Config], Read[Data]],
    trainer: Callable[[Config, Path], Go[Data]],
) -> Progress:
    """Go on with a run from its last checkpoint. Raises UserError: it is no run of the task ``name``."""
    runs.check(run, name)
    config = settings(run)
    with world() as here:
        return trainer(config, run)(reader(config)(_teller(here)), here, True)


def fit_and_report(
    name: str,
    run: Path,
    task: Trainable,
    config: TrainConfig,
    here: World,
    *,
    resume: bool,
    described: str,
    unit: str,
    samples: Callable[[], Sequence[str]],
) -> Progress:
    """Train, and write the run's report, if training is stopped too.

    Args:
        name: of the task.
        run: the folder.
        task: what is trained.
        config: how.
        here: this process among all.
        resume: from the last checkpoint.
        described: the data, in a few words.
        unit: what the loss is a mean over.
        samples: lines of Markdown that show what the trained model does; called at the end, by the first process.
    """
    size = sum(parameter.numel() for parameter in task.model.parameters())
    _teller(here)(f"{described} · {len(task.batches(0)):,} batches an epoch · {size:,} parameters · {run}")
    log = Log(run, unit=unit, shown=here.first, tensorboard=config.tensorboard)

    def tell(progress: Progress, samples: Sequence[str]) -> None:
        if here.first:
            report.write(run, name, progress, parameters=size, unit=unit, samples=samples)

    with runs.alone(run) if here.first else nullcontext():
        try:
            progress = fit(task, config, run, here, log=log, resume=resume)
        except Interrupted:
            reached = Progress(**checkpoint.load_state(run, "last")["progress"])
            tell(reached, ["Not yet: training was stopped, and goes on with `--resume`."])
            raise
        tell(progress, samples() if here.first else [])
    return progress


def say(line: str) -> None:
    """Tell the user something that is no result."""
    print(line, file=sys.stderr)


def _teller(here: World) -> Tell:
    return say if here.first else lambda line: None
