"""What every task's training shares: the folder of the run, the processes, the log, the report."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from regard.train import checkpoint, defaults, fingerprint, report
from regard.train import run as runs
from regard.train.config import TrainConfig
from regard.train.distributed import World, world
from regard.train.fingerprint import Fingerprint
from regard.train.interrupt import Interrupted
from regard.train.log import Log
from regard.train.loop import Progress, Trainable, fit
from regard.train.memory import enough_memory

Tell = Callable[[str], None]


class Configuration(Protocol):
    """A task's settings; those of training are among them."""

    @property
    def train(self) -> TrainConfig:
        """How to train."""
        ...


class Task(Trainable, Protocol):
    """What is trained, and can say on what."""

    @property
    def described(self) -> str:
        """The data, in a few words."""
        ...


Config = TypeVar("Config", bound=Configuration)
Data = TypeVar("Data")


@dataclass(frozen=True)
class Training(Generic[Config, Data]):
    """How a task is trained, from its configuration to its report.

    Args:
        name: of the task.
        unit: what the loss is a mean over.
        read: reads the data, and tells what is worth a line.
        fingerprint: identifies the data that ``read`` gave.
        defaults: settings by the size of the data, such as ``{"train.epochs": 20}``, for those that are None.
        fill: writes into the folder of a new run what the model needs beside its weights.
        task: what is trained, by what ``fill`` wrote.
        samples: lines of Markdown that show what the trained model does.
    """

    name: str
    unit: str
    read: Callable[[Config, Tell], Data]
    fingerprint: Callable[[Data], Fingerprint]
    defaults: Callable[[Config, Data], Mapping[str, object]]
    fill: Callable[[Config, Data, Path], None]
    task: Callable[[Config, Path, Data, Tell], Task]
    samples: Callable[[Config, Path, Data], Sequence[str]]

    def train(self, config: Config, run: Path, written: Callable[[Config], str]) -> Progress:
        """Train in a new folder; ``written`` gives the text of a configuration that is saved there.

        Raises:
            UserError: the folder is taken, or the data cannot be used.
        """
        with world() as here:
            here.first_does(lambda: runs.check_free(run))
            tell = _teller(here)
            data = self.read(config, tell)
            filled, chosen = defaults.fill(config, self.defaults(config, data))
            if chosen:
                tell(defaults.describe(chosen))

            def whole(folder: Path) -> None:
                self.fill(filled, data, folder)
                fingerprint.save(folder, self.fingerprint(data))
                (folder / "config.yaml").write_text(written(filled), encoding="utf-8")

            here.first_does(lambda: runs.create(run, self.name, whole))
            try:
                return self._go(filled, run, data, here, resume=False)
            except BaseException:  # KeyboardInterrupt too
                # The folder of a run without a checkpoint would block the same command once its cause is mended.
                if here.first and not checkpoint.exists(run):
                    shutil.rmtree(run, ignore_errors=True)
                raise

    def resume(self, run: Path, settings: Callable[[Path], Config]) -> Progress:
        """Go on with a run from its last checkpoint.

        Raises:
            UserError: it is no run of this task, or its data have changed.
        """
        runs.check(run, self.name)
        config = settings(run)
        with world() as here:
            tell = _teller(here)
            data = self.read(config, tell)
            here.first_does(lambda: fingerprint.check_resume(run, self.fingerprint(data), tell))
            return self._go(config, run, data, here, resume=True)

    def _go(self, config: Config, run: Path, data: Data, here: World, *, resume: bool) -> Progress:
        """Train, and write the run's report, if training is stopped too."""
        with enough_memory(config.train.batch_measure):
            return self._fit(config, run, data, here, resume)

    def _fit(self, config: Config, run: Path, data: Data, here: World, resume: bool) -> Progress:
        tell = _teller(here)
        task = self.task(config, run, data, tell)
        size = sum(parameter.numel() for parameter in task.model.parameters())
        tell(f"{task.described} · {len(task.batches(0)):,} batches an epoch · {size:,} parameters · {run}")
        log = Log(run, unit=self.unit, shown=here.first, tensorboard=config.train.tensorboard)
        with runs.alone(run) if here.first else nullcontext():
            try:
                progress = fit(task, config.train, run, here, log=log, resume=resume)
            except Interrupted:
                if here.first:
                    reached = Progress(**checkpoint.load_state(run, "last")["progress"])
                    stopped = "Not yet: training was stopped, and goes on with `--resume`."
                    report.write(run, self.name, reached, parameters=size, unit=self.unit, samples=[stopped])
                raise
            if here.first:
                samples = self.samples(config, run, data)
                report.write(run, self.name, progress, parameters=size, unit=self.unit, samples=samples)
        return progress


def say(line: str) -> None:
    """Tell the user something that is no result."""
    print(line, file=sys.stderr)


def _teller(here: World) -> Tell:
    return say if here.first else lambda line: None
