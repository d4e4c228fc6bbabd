"""The command-line application, its groups of commands, and functions that the commands share; imports no torch."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from cyclopts import App

from regard import __version__
from regard.cli.config import check_numbers, read, sections
from regard.errors import UserError
from regard.tasks.generate.config import GenerateConfig
from regard.tasks.image.config import ImageConfig
from regard.tasks.translate.config import TranslateConfig

app = App(
    name="regard",
    help="Attention that you can look into: train a model with attention, use it, and see what it attended to.",
    help_epilogue="Start with `regard demo translate`, or train on your own text with "
    "`regard train translate --data.train FILE.tsv`.",
    version=__version__,
    help_format="markdown",
    config=check_numbers,
)
train_app = App(name="train", help="Train a model on your own data, or on a built-in data set.")
demo_app = App(
    name="demo",
    help="Train on a built-in data set in a few minutes, then evaluate and use the model, and draw its attention.",
)
app.command(train_app)
app.command(demo_app)

Checkpoint = Literal["best", "last"]

KINDS: dict[str, Any] = {"translate": TranslateConfig, "generate": GenerateConfig, "image": ImageConfig}
"""Task → the dataclass of its settings."""
for _kind in KINDS.values():
    sections(_kind)


def settings_of(task: str) -> Callable[[Path], Any]:
    """A function that reads the configuration of a run of this task, with the paths of its data as they are now."""

    def settings(run: Path) -> Any:
        from regard.train.run import locate

        config = read(run / "config.yaml", KINDS[task])
        data = replace(config.data, train=locate(run, config.data.train), valid=locate(run, config.data.valid))
        return replace(config, data=data)

    return settings


def given_options(options: dict[str, Any], allowed: frozenset[str], task: str) -> dict[str, Any]:
    """The options that are not None. Raises UserError: one of them does not apply to runs of this task."""
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in allowed:
            raise UserError(f"--{name.replace('_', '-')}: does not apply to a run of the task {task!r}")
    return given


def at_least(name: str, value: float | None, minimum: float) -> None:
    """Check an option. Raises UserError: it is below ``minimum``; None is allowed."""
    if value is not None and not value >= minimum:
        raise UserError(f"--{name}: must be at least {minimum}, got {value}")


def training(task: str, folder: Path, train: Callable[[], Any]) -> Any:
    """Run a training; if it is interrupted, print how to continue it, and exit."""
    from regard.train.interrupt import Interrupted

    try:
        return train()
    except Interrupted as stop:
        print(f"\nstopped after step {stop.step:,}; a checkpoint is saved", file=sys.stderr)
        print(f"continue with:  regard train {task} {shlex.quote(str(folder))} --resume", file=sys.stderr)
        sys.exit(128 + stop.signal_number)
