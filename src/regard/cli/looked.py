"""What ``regard look`` looks into: a run of a task, or a model of Hugging Face; imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.pretrained.options import ITEM, PREFIX, LookOptions
from regard.tasks.spec import NoOptions, TaskSpec


@dataclass(frozen=True)
class Looked:
    """A kind of model that ``regard look`` looks into.

    Attributes:
        options: a dataclass of its options, which are keyword arguments of the method ``look``.
        item: what is looked at, for the help.
        without: parameters of the command that have no meaning for it.
        load: makes the object with the method ``look`` from the name and the checkpoint.
    """

    options: type
    item: str
    without: tuple[str, ...]
    load: Callable[[Path, str], Any]


def looked(arguments: Sequence[str], spec: TaskSpec | None) -> Looked:
    """What a command line looks into; ``spec`` is the task of the run that it names, None if it names none."""
    if is_pretrained(arguments):
        return Looked(LookOptions, ITEM, ("checkpoint",), _pretrained)
    if spec is None:
        return Looked(NoOptions, "Input of the model, such as a text or an image file.", (), _run)
    return Looked(spec.looking, spec.look_input, ("save",), _run)


def is_pretrained(arguments: Sequence[str]) -> bool:
    """Whether the command line looks into a model of Hugging Face."""
    return arguments[:1] == ["look"] and any(argument.startswith(PREFIX) for argument in arguments[1:2])


def _run(name: Path, checkpoint: str) -> Any:
    from regard.tasks.running import load

    return load(name, checkpoint)


def _pretrained(name: Path, checkpoint: str) -> Any:
    from regard.pretrained.model import load

    return load(str(name).removeprefix(PREFIX))
