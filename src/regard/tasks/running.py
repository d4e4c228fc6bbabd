"""Training as all tasks share it: the run's folder, the processes, the log and the report."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from regard.train import checkpoint, defaults, fingerprint, report
from regard.train import run as runs
from regard.train.config import TrainConfig
from regard.train.distributed import World, world
from regard.train.fingerprint import Fingerprint
from regard.train.interrupt import Interrupted, exit_on_sigterm
from regard.train.log import Log
from regard.train.loop import Progress, Trainable, fit
from regard.train.memory import enough_memory

Notify = Callable[[str], None]
"""Prints a message for the user."""


class Configuration(Protocol):
    """The settings of a task, those of training among them."""

    @property
    def train(self) -> TrainConfig:
        """How to train."""
        ...


class Task(Trainable, Protocol):
    """A task that the training loop can train, and that describes its data."""

    @property
    def described(self) -> str:
        """The size of the training data, such as ``"1,000 pairs"``."""
        ...


Config = TypeVar("Config", bound=Configuration)
Data = TypeVar("Data")


@dataclass(frozen=True)
class Training(Generic[Config, Data]):
    """The training of a task, from its configuration to its report.

    Args:
        name: the task.
        unit: what the loss is a mean over, such as ``"tokens"``.
        read: reads the data; messages for the user are passed to its second argument.
        fingerprint: identifies the data that ``read`` returned.
        defaults: values by the size of the data, such as ``{"train.epochs": 20}``, for settings that are None.
        fill: writes the files that the model needs beside its weights into the folder of a new run.
        task: makes the task from the folder that ``fill`` wrote to.
        samples: lines of Markdown with sample output of the trained model.
    """

    name: str
    unit: str
    read: Callable[[Config, Notify], Data]
    fingerprint: Callable[[Data], Fingerprint]
    defaults: Callable[[Config, Data], Mapping[str, object]]
    fill: Callable[[Config, Data, Path], None]
    task: Callable[[Config, Path, Data, Notify], Task]
    samples: Callable[[Config, Path, Data], Sequence[str]]

    def train(self, config: Config, run: Path, written: Callable[[Config], str]) -> Progress:
        """Train in a new folder; ``written`` formats the configuration as the text of ``config.yaml``.

        Raises:
            UserError: the folder is not empty, or the data cannot be used.
        """
        with exit_on_sigterm(), world() as process:
            process.first_does(lambda: runs.check_free(run))
            notify = _notifier(process)
            data = self.read(config, notify)
            filled, chosen = defaults.fill(config, self.defaults(config, data))
            if chosen:
                notify(defaults.describe(chosen))

            def write(folder: Path) -> None:
                self.fill(filled, data, folder)
                fingerprint.save(folder, self.fingerprint(data))
                (folder / "config.yaml").write_text(written(filled), encoding="utf-8")

            process.first_does(lambda: runs.create(run, self.name, write))
            try:
                return self._fit(filled, run, data, process, resume=False)
            except BaseException:  # KeyboardInterrupt and SystemExit too
                # Without a checkpoint, the folder cannot be resumed, and it would block the corrected command.
                if process.first and not checkpoint.exists(run):
                    shutil.rmtree(run, ignore_errors=True)
                raise

    def resume(self, run: Path, settings: Callable[[Path], Config]) -> Progress:
        """Resume a run from its last checkpoint.

        Raises:
            UserError: the folder is not a run of this task, or its data have changed.
        """
        runs.check(run, self.name)
        config = settings(run)
        with exit_on_sigterm(), world() as process:
            notify = _notifier(process)
            data = self.read(config, notify)
            process.first_does(lambda: fingerprint.check_resume(run, self.fingerprint(data), notify))
            return self._fit(config, run, data, process, resume=True)

    def _fit(self, config: Config, run: Path, data: Data, process: World, *, resume: bool) -> Progress:
        """Train and write the run's report, also if training is interrupted."""
        with enough_memory(config.train.batch_measure):
            return self._train_and_report(config, run, data, process, resume)

    def _train_and_report(self, config: Config, run: Path, data: Data, process: World, resume: bool) -> Progress:
        notify = _notifier(process)
        task = self.task(config, run, data, notify)
        size = sum(parameter.numel() for parameter in task.model.parameters())
        batches = len(task.batches(0))
        per_epoch = f"{batches:,} batch{'' if batches == 1 else 'es'} per epoch"
        notify(f"{task.described} · {per_epoch} · {size:,} parameters · {run}")
        write_report = partial(
            report.write, run, self.name, parameters=size, unit=self.unit, metrics=task.metrics,
            best_by=config.train.metric,
        )  # fmt: skip
        log = Log(run, unit=self.unit, shown=process.first, tensorboard=config.train.tensorboard)
        with runs.alone(run) if process.first else nullcontext():
            try:
                progress = fit(task, config.train, run, process, log=log, resume=resume)
            except Interrupted:
                if process.first:
                    reached = Progress(**checkpoint.load_state(run, "last")["progress"])
                    note = "None yet: training was interrupted and can be continued with `--resume`."
                    write_report(reached, samples=[note])
                raise
            if process.first:
                write_report(progress, samples=self.samples(config, run, data))
        return progress


def say(line: str) -> None:
    """Print a message that is not a result, on standard error."""
    print(line, file=sys.stderr)


def _notifier(process: World) -> Notify:
    return say if process.first else lambda line: None
