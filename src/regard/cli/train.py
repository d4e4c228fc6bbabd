"""``regard train`` and ``regard demo``, each with one command per task."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from regard.cli.flags import file_settings, sections
from regard.cli.options import training
from regard.errors import UserError
from regard.settings import to_yaml
from regard.tasks import table
from regard.tasks.spec import TaskSpec


def add_commands(app: App) -> None:
    """Add ``regard train`` and ``regard demo``."""
    train_app = App(name="train", help="Train a model on your own data, or on a built-in data set.")
    demo_app = App(
        name="demo",
        help="Train on a built-in data set in a few minutes, then evaluate and use the model, and draw its attention.",
    )
    for spec in table.TASKS:
        sections(spec.settings)
        train_app.command(name=spec.name, config=file_settings(spec.settings))(_train_command(spec))
        demo_app.command(name=spec.name)(_demo_command(spec))
    app.command(train_app)
    app.command(demo_app)


def _train_command(spec: TaskSpec) -> Callable[..., None]:
    def train(
        run: Path | None = None,
        /,
        *,
        resume: bool = False,
        config: Path | None = None,
        print_config: bool = False,
        settings: Any = None,
    ) -> None:
        _train(spec, run, resume=resume, config=config, print_config=print_config, settings=settings)

    train.__annotations__["settings"] = Annotated[spec.settings | None, Parameter(name="*")]
    train.__doc__ = f"""{spec.summary}. Ctrl-C saves a checkpoint and stops; --resume continues from it.

    Args:
        run: Folder for the run, new or empty; by default runs/{spec.name}-DATE-TIME.
        resume: Continue the run in this folder from its last checkpoint, with its own settings. Only the length of the
            training (--train.epochs, steps, minutes, patience) and how often it validates, saves and logs may be
            changed.
        config: YAML file with settings; flags take precedence over it.
        print_config: Print all settings as YAML and exit; a file for --config to start from.
    """
    return train


def _train(
    spec: TaskSpec, run: Path | None, *, resume: bool, config: Path | None, print_config: bool, settings: Any
) -> None:
    chosen = settings or spec.settings()
    problem = chosen.problem()
    if problem is not None:
        raise UserError(problem)
    if print_config:
        print(to_yaml(chosen), end="")
        return
    if run is None and (resume or int(os.environ.get("WORLD_SIZE", "1")) > 1):
        which = "of the run to resume" if resume else "that all processes share"
        raise UserError(f"run: name the folder {which}")
    if resume and config is not None:
        raise UserError("--config: the run has its own settings; with --resume, give flags such as --train.epochs")

    from regard.tasks import running
    from regard.training.run import fresh_name

    folder = run or fresh_name(spec.name)
    if resume:
        progress = training(spec.name, folder, lambda: running.resume(folder, chosen, spec.name))
    else:
        progress = training(spec.name, folder, lambda: running.train(spec.name, chosen, folder))
    if os.environ.get("RANK", "0") != "0":
        return
    seconds = progress.seconds
    duration = f"{seconds:.0f} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"
    example = spec.load().example(running.settings_of(folder))
    print(f"trained {progress.step:,} steps in {duration}; best and last checkpoint in {folder}")
    print(f"report:  {folder / 'report.md'}")
    print(f"use it:  regard {spec.verb.name} {shlex.quote(str(folder))} {example}")


def _demo_command(spec: TaskSpec) -> Callable[..., None]:
    def demo(run: Path = Path(spec.demo.folder), /) -> None:
        import shutil
        import time

        from regard.tasks import running

        written = to_yaml(spec.demo.settings())
        if (run / "config.yaml").exists() and (run / "config.yaml").read_text(encoding="utf-8") == written:
            shutil.rmtree(run)
        began = time.monotonic()
        drawings = training(spec.name, run, lambda: running.demo(spec, run))
        print(drawings)
        print(f"run        {run}")
        print(f"took       {time.monotonic() - began:.0f} s")
        print(f"try it:    {spec.demo.example.format(run=shlex.quote(str(run)))}")

    demo.__doc__ = f"""{spec.demo.summary}

    Args:
        run: Folder for the run; an earlier run of the demo in it is replaced.
    """
    return demo
