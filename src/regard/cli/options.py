"""Commands whose options are the fields of a dataclass, and checks that commands share; imports no torch."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from cyclopts import Parameter

from regard.errors import UserError
from regard.settings import helps

Checkpoint = Literal["best", "last"]
Weights = Literal["float32", "bfloat16", "int8"]


def with_options(
    command: Callable[..., None], options: type, *, section: type | None = None, without: tuple[str, ...] = ()
) -> Callable[..., None]:
    """``command``, with a flag for each field of ``options`` in place of its parameter ``**options``.

    Args:
        command: a function with a docstring.
        options: a dataclass; ``problem()`` checks the values, if it has such a method.
        section: a dataclass of settings; an option of the same name may also be written ``--data.NAME``, as in
            training.
        without: parameters of ``command`` that are left out, so that they keep their defaults.

    Raises:
        UserError: when the command is called with an option that is out of range.
    """
    texts = helps(options)
    hints = get_type_hints(options)
    signature = inspect.signature(command, eval_str=True)
    fixed = [
        p
        for p in signature.parameters.values()
        if p.kind is not inspect.Parameter.VAR_KEYWORD and p.name not in without
    ]
    settings = {field.name for field in dataclasses.fields(section)} if section is not None else set()
    flags = []
    for field in dataclasses.fields(options):
        name = field.name.replace("_", "-")
        names = {"name": [f"--data.{name}", f"--{name}"]} if field.name in settings else {}
        shown = {"show_default": False} if field.default in (None, ()) else {}
        parameter = Parameter(help=texts.get(field.name, ""), negative=(), **names, **shown)  # type: ignore[arg-type]
        flags.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=Annotated[hints[field.name], parameter],
            )
        )

    @functools.wraps(command)
    def checked(*arguments: Any, **given: Any) -> None:
        chosen = options(**{field.name: given.get(field.name, field.default) for field in dataclasses.fields(options)})
        problem = chosen.problem() if hasattr(chosen, "problem") else None
        if problem is not None:
            raise UserError(problem)
        command(*arguments, **given)

    checked.__signature__ = signature.replace(parameters=[*fixed, *flags])  # type: ignore[attr-defined]
    checked.__annotations__ = {p.name: p.annotation for p in (*fixed, *flags)}
    return checked


def training(task: str, folder: Path, train: Callable[[], Any]) -> Any:
    """Run a training; if it is interrupted, print how to continue it, and exit."""
    from regard.training.interrupt import Interrupted

    try:
        return train()
    except Interrupted as stop:
        print(f"\nstopped after step {stop.step:,}; a checkpoint is saved", file=sys.stderr)
        print(f"continue with:  regard train {task} {shlex.quote(str(folder))} --resume", file=sys.stderr)
        sys.exit(128 + stop.signal_number)
