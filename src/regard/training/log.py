"""Progress on the terminal, metrics in ``metrics.jsonl``, and optionally TensorBoard."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from regard.data.progress import Lines
from regard.errors import require
from regard.files import write_text
from regard.training.metric import Metric, figures_text

_SMOOTH = 0.97


class Log:
    """A progress bar on a terminal, a line every 20 seconds elsewhere, nothing if ``shown`` is False.

    Args:
        run: the run's folder, where metrics are written; None: they are not written.
        unit: the unit of the loss and of the speed, such as ``"tokens"``.
        shown: False in all processes but the first.
        tensorboard: also write event files for TensorBoard.
        metrics: the task's metrics, with whose digits figures are printed.
        phase: begins the lines of progress, such as ``"pretraining"``; empty: they are those of the training.
    """

    def __init__(
        self,
        run: Path | None,
        *,
        unit: str = "tokens",
        shown: bool = True,
        tensorboard: bool = False,
        metrics: Sequence[Metric] = (),
        phase: str = "",
    ):
        self._phase = f"{phase} · " if phase else ""
        self._unit, self._metrics = unit, metrics
        self.console = Console(quiet=not shown, stderr=True)
        self._path = run / "metrics.jsonl" if run is not None and shown else None
        self._writer: Any = None
        if tensorboard and shown and run is not None:
            writer = require("torch.utils.tensorboard", "tensorboard", "logging for TensorBoard")
            self._writer = writer.SummaryWriter(run / "tensorboard")
        columns = (
            TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[figures]}"),
        )  # fmt: skip
        self._bar = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self._bar_task = self._bar.add_task("training", total=1.0, figures="")
        self._loss: float | None = None
        self._speed: float | None = None
        self._began, self._began_progress = time.monotonic(), 0.0
        self._lines: Lines | None = None

    def __enter__(self) -> Log:
        self._began = time.monotonic()
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._bar.update(self._bar_task, completed=1.0)
        self._bar.stop()
        if self._writer is not None:
            self._writer.close()

    def step(
        self,
        step: int,
        epoch: int,
        progress: float,
        *,
        loss: float,
        tokens: int,
        samples: int,
        seconds: float,
        rate: float,
        norm: float,
    ) -> None:
        """Log a training step over ``tokens`` tokens in ``samples`` samples."""
        if self._lines is None:
            self._began_progress, self._lines = progress, Lines(self.console)
        speed = tokens / max(seconds, 1e-9)
        self._loss = loss if self._loss is None else _SMOOTH * self._loss + (1 - _SMOOTH) * loss
        self._speed = speed if self._speed is None else _SMOOTH * self._speed + (1 - _SMOOTH) * speed
        done = progress - self._began_progress
        left = (time.monotonic() - self._began) / done * (1 - progress) if done > 0 else None
        (loss_text,) = figures_text({"loss": self._loss}, self._metrics)
        shown = f"{loss_text} · {self._speed:,.0f} {self._unit}/s · {_clock(left)} left"
        self._bar.update(
            self._bar_task, completed=progress, description=f"{self._phase}epoch {epoch + 1}", figures=shown
        )
        self._lines.offer(f"{self._phase}epoch {epoch + 1} · step {step} · {progress:4.0%} · {shown}")
        if step % 10 == 0:
            figures = {"loss": loss, "rate": rate, "norm": norm, f"{self._unit}_per_second": speed}
            self._keep({"step": step, "epoch": epoch, **figures, "samples_per_second": samples / max(seconds, 1e-9)})

    @contextmanager
    def validation(self) -> Iterator[Callable[[float], None]]:
        """A context with a function that shows the progress of a validation, 0 to 1."""
        lines, began = Lines(self.console), time.monotonic()
        task = self._bar.add_task("validation", total=1.0, figures="")

        def show(share: float) -> None:
            left = _clock((time.monotonic() - began) / share * (1 - share) if share > 0 else None)
            self._bar.update(task, completed=share, figures=f"{left} left")
            lines.offer(f"validation · {share:4.0%} · {left} left")

        try:
            yield show
        finally:
            self._bar.remove_task(task)

    def message(self, text: str) -> None:
        """Print a line for the user."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def evaluation(
        self,
        step: int,
        epoch: int,
        figures: dict[str, float],
        *,
        better: bool,
        stopped: bool = False,
        weights: str = "",
    ) -> None:
        """Log a validation; ``weights`` names the weights if they are not those of this step."""
        text = " · ".join(figures_text(figures, self._metrics))
        speed = f" · {self._speed:,.0f} {self._unit}/s" if self._speed else ""
        training = {} if self._loss is None else {"loss": self._loss}
        loss = "".join(f" · training {figure}" for figure in figures_text(training, self._metrics))
        note = " · best so far" if better else (" · no improvement: stopping early" if stopped else "")
        which = f" · {weights}" if weights else ""
        line = f"{self._phase}epoch {epoch + 1} · step {step}{which} · valid {text}{loss}{speed}{note}"
        self.console.print(line, highlight=False, soft_wrap=True)
        if not weights:
            self._keep({"step": step, "epoch": epoch, **{f"valid_{name}": figure for name, figure in figures.items()}})

    def resumed(self, step: int) -> None:
        """Log that training resumes after ``step`` steps: metrics of later steps are removed."""
        self.console.print(f"{self._phase}resuming after step {step}", highlight=False, soft_wrap=True)
        if self._path is not None and self._path.exists():
            kept = [line for line in self._path.read_text().splitlines() if _step(line) <= step]
            write_text(self._path, "".join(f"{line}\n" for line in kept))

    def _keep(self, figures: dict[str, float]) -> None:
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(figures) + "\n")
        if self._writer is not None:
            for name, figure in figures.items():
                if name not in ("step", "epoch"):
                    self._writer.add_scalar(name, figure, int(figures["step"]))


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "…"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _step(line: str) -> float:
    """The step of a line of metrics; a line truncated by a kill counts as the last."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
