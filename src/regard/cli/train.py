"""``regard train`` and ``regard demo``, each with one command per task."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from regard.cli.app import KINDS, demo_app, settings_of, train_app, training
from regard.cli.config import file_settings, read, to_yaml
from regard.errors import UserError
from regard.files import write_text
from regard.tasks import commands


def add_training(task: str, summary: str) -> None:
    """Add ``regard train TASK``."""
    kind = KINDS[task]

    def train(
        run: Path | None = None,
        /,
        *,
        resume: bool = False,
        config: Path | None = None,
        print_config: bool = False,
        settings: Any = None,
    ) -> None:
        _train(task, run, resume=resume, config=config, print_config=print_config, settings=settings)

    train.__annotations__["settings"] = Annotated[kind | None, Parameter(name="*")]
    train.__doc__ = f"""{summary}. Ctrl-C saves a checkpoint and stops; --resume continues from it.

    Args:
        run: Folder for the run, new or empty; by default runs/{task}-DATE-TIME.
        resume: Continue the run in this folder from its last checkpoint, with its own settings. Only the length of the
            training (--train.epochs, steps, minutes, patience) and how often it validates, saves and logs may be
            changed.
        config: YAML file with settings; flags take precedence over it.
        print_config: Print all settings as YAML and exit; a file for --config to start from.
    """
    train_app.command(name=task, config=file_settings(kind))(train)


def _train(
    task: str, run: Path | None, *, resume: bool, config: Path | None, print_config: bool, settings: Any
) -> None:
    from regard.train.run import fresh_name

    chosen = settings or KINDS[task]()
    problem = chosen.problem()
    if problem is not None:
        raise UserError(problem)
    if print_config:
        print(to_yaml(chosen), end="")
        return
    module, folder = commands(task), run or fresh_name(task)
    if run is None and (resume or int(os.environ.get("WORLD_SIZE", "1")) > 1):
        which = "of the run to resume" if resume else "that all processes share"
        raise UserError(f"run: name the folder {which}")
    if resume:
        if config is not None:
            raise UserError("--config: the run has its own settings; with --resume, give flags such as --train.epochs")
        progress = training(task, folder, lambda: _resume(task, folder, chosen))
    else:
        progress = training(task, folder, lambda: module.train(chosen, folder, to_yaml))
    if os.environ.get("RANK", "0") != "0":
        return
    seconds = progress.seconds
    duration = f"{seconds:.0f} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"
    print(f"trained {progress.step:,} steps in {duration}; best and last checkpoint in {folder}")
    print(f"report:  {folder / 'report.md'}")
    print(f"use it:  {module.use_line(folder, settings_of(task)(folder))}")


def _resume(task: str, run: Path, wanted: Any) -> Any:
    """Resume a run, after writing the settings that ``wanted`` changes into its configuration."""
    from regard.train.resume import changed
    from regard.train.run import check

    check(run, task)
    path = run / "config.yaml"
    before = read(path, KINDS[task])
    after = changed(before, wanted, KINDS[task]())
    if after != before and os.environ.get("RANK", "0") == "0":
        write_text(path, to_yaml(after))
    return commands(task).resume(run, lambda run: replace(settings_of(task)(run), train=after.train))


def add_demo(task: str, folder: str, summary: str, example: str) -> None:
    """Add ``regard demo TASK``, with ``folder`` as the default folder of its run, and an example of what to do next."""

    def demo(run: Path = Path(folder), /) -> None:
        import shutil
        import time

        module = commands(task)
        written = to_yaml(module.demo_config())
        if (run / "config.yaml").exists() and (run / "config.yaml").read_text(encoding="utf-8") == written:
            shutil.rmtree(run)
        began = time.monotonic()
        training(task, run, lambda: module.demo(run, to_yaml))
        print(module.drawn_line(run))
        print(f"run        {run}")
        print(f"took       {time.monotonic() - began:.0f} s")
        print(f"try it:    {example.format(run=shlex.quote(str(run)))}")

    demo.__doc__ = f"""{summary}

    Args:
        run: Folder for the run; an earlier run of the demo in it is replaced.
    """
    demo_app.command(name=task)(demo)


add_training("translate", "Train a translator with attention on parallel text")
add_training("generate", "Train a language model on plain text")
add_training("image", "Train an image classifier, with or without attention")
add_demo(
    "translate",
    "runs/demo",
    "Train a translator from English to French on dates, numbers, units and names (Unicode CLDR), evaluate it, and "
    "draw an alignment.",
    'regard look {run} "Tuesday, March 3, 2026"',
)
add_demo(
    "generate",
    "runs/demo-generate",
    "Train a language model on Python's language reference, evaluate it, generate a text and draw one attention head.",
    'regard generate {run} "A class definition"',
)
add_demo(
    "image",
    "runs/demo-image",
    "Train a small network with attention on handwritten digits, evaluate it and draw its attention over a digit.",
    "regard classify {run} {run}/digit.png --look where.png",
)
