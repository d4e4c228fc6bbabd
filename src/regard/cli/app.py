"""The command-line application, and functions that its commands share; imports no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cyclopts import App

from regard import __version__
from regard.cli import align, cache, explained, export, runs, serve, train, verbs
from regard.cli.flags import check_numbers
from regard.cli.looked import looked
from regard.errors import UserError
from regard.tasks import table
from regard.tasks.spec import TaskSpec


def build(run_task: TaskSpec | None = None, arguments: Sequence[str] = ()) -> App:
    """The application for a command line that names a run of the task ``run_task``; None: it names none.

    ``arguments`` are those of the command line. The options of ``eval``, ``look`` and of verbs that several tasks have
    are those of the run's task, or of a model of Hugging Face, so that ``regard eval RUN --help`` shows only what has a
    meaning for that run.
    """
    app = App(
        name="regard",
        help="Attention that you can look into: train a model with attention, use it, and see what it attended to.",
        help_epilogue="Start with `regard demo translate`, or train on your own text with "
        "`regard train translate --data.train FILE.tsv`.",
        version=__version__,
        help_format="markdown",
        config=check_numbers,
    )
    train.add_commands(app)
    verbs.add_commands(app, run_task)
    runs.add_commands(app, run_task, looked(arguments, run_task))
    align.add_command(app)
    export.add_command(app)
    explained.add_command(app)
    serve.add_command(app)
    cache.add_command(app)
    app.command(_backends, name="backends")
    return app


def task_of(arguments: Sequence[str]) -> TaskSpec | None:
    """The task of the first run, or folder of runs, among ``arguments``; None if there is none that can be read."""
    for argument in arguments[1:]:
        folder = Path(argument)
        try:
            marks = [folder / "run.json", *sorted(folder.glob("[!.]*/run.json"))]
            name = json.loads(next(mark for mark in marks if mark.exists()).read_text())["task"]
        except (OSError, ValueError, KeyError, TypeError, StopIteration):
            continue
        return next((spec for spec in table.TASKS if spec.name == name), None)
    return None


def _backends(*, device: str = "cpu", dtype: Literal["float64", "float32", "bfloat16", "float16"] = "float32") -> None:
    """Show the backends of this machine, and which one computes typical calls of attention and why.

    In Python, `regard.explain_choice(query, key, value, …)` shows the same for a call of yours.

    Args:
        device: PyTorch device of the calls, such as cpu or cuda.
        dtype: Data type of query, key and value.
    """
    from rich.console import Console

    from regard.cli.backends import show

    try:
        show(device, dtype, Console())
    except (RuntimeError, AssertionError) as error:  # raised by torch if there is no such device
        raise UserError(f"--device: {str(error).splitlines()[0]}") from None
