"""The command line's frame: the application, its groups, and what its commands share. Free of torch."""

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
    help_epilogue="Begin with `regard demo translate`, or on your own text with "
    "`regard train translate --data.train FILE.tsv`.",
    version=__version__,
    help_format="markdown",
    config=check_numbers,
)
train_app = App(name="train", help="Train a model on your own data, or on the built-in default.")
demo_app = App(name="demo", help="Train on the built-in default, score, use and draw, in a few minutes.")
app.command(train_app)
app.command(demo_app)

Checkpoint = Literal["best", "last"]

KINDS: dict[str, Any] = {"translate": TranslateConfig, "generate": GenerateConfig, "image": ImageConfig}
"""Task → its configuration."""
for _kind in KINDS.values():
    sections(_kind)


def settings_of(task: str) -> Callable[[Path], Any]:
    """Reads the configuration of a task's run, with its data where they are now."""

    def settings(run: Path) -> Any:
        from regard.train.run import locate

        config = read(run / "config.yaml", KINDS[task])
        data = replace(config.data, train=locate(run, config.data.train), valid=locate(run, config.data.valid))
        return replace(config, data=data)

    return settings


def given(options: dict[str, Any], allowed: frozenset[str], kind: str) -> dict[str, Any]:
    """Those of a command's options that were given. Raises UserError: one has no meaning for a run of this kind."""
    found = {name: value for name, value in options.items() if value is not None}
    for name in found:
        if name not in allowed:
            raise UserError(f"--{name.replace('_', '-')}: has no meaning for a run of the task {kind!r}")
    return found


def at_least(name: str, value: float | None, least: float) -> None:
    """Raises UserError: the option is below what it must be."""
    if value is not None and not value >= least:
        raise UserError(f"--{name}: must be at least {least}, got {value}")


def training(task: str, folder: Path, train: Callable[[], Any]) -> Any:
    """Run a training; when it is stopped, say how to go on."""
    from regard.train.interrupt import Interrupted

    try:
        return train()
    except Interrupted as stop:
        print(f"\nstopped after step {stop.step:,}; everything is saved", file=sys.stderr)
        print(f"go on with:  regard train {task} {shlex.quote(str(folder))} --resume", file=sys.stderr)
        sys.exit(128 + stop.signal_number)
