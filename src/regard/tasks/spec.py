"""What describes a task: its settings, the options of its commands, and where its code is; imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.tasks.task import Task


@dataclass(frozen=True)
class NoOptions:
    """The options of a command that has none."""


@dataclass(frozen=True)
class Verb:
    """The command that uses a trained model: ``regard NAME RUN INPUT``.

    Attributes:
        name: of the command, such as ``"translate"``.
        summary: what it does, one line of its help.
        input: what an input is, for its help.
        unit: one input in a word, such as ``"text"``.
        options: a dataclass of its options, which are keyword arguments of `Predictor.predict`.
        many: whether several inputs may be given as arguments.
        draws: whether ``--look FILE`` draws the attention of a single input.
        named_input: an option that gives a single input by name, in place of the argument; empty: there is none.
    """

    name: str
    summary: str
    input: str
    unit: str
    options: type = NoOptions
    many: bool = False
    draws: bool = False
    named_input: str = ""


@dataclass(frozen=True)
class Demo:
    """A training on built-in data: ``regard demo TASK``.

    Attributes:
        folder: of its run, by default.
        summary: what it does, for its help.
        example: a command to try afterwards, with ``{run}`` for the folder.
        settings: makes its settings.
        tiny: makes settings of a training that takes seconds, for tests and first tries.
        scored: on which data it is scored, and how.
        options: the options of its evaluation.
    """

    folder: str
    summary: str
    example: str
    settings: Callable[[], Any]
    tiny: Callable[[], Any]
    scored: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskSpec:
    """A task.

    Attributes:
        name: as in ``regard train NAME``.
        summary: what is trained, one line of the help.
        settings: a dataclass of all settings, with sections ``data`` and ``train``, and ``problem()``.
        verb: the command that uses a trained model.
        evaluation: a dataclass of the options of ``regard eval``.
        evaluated: which data are scored without ``--data``, for its help.
        looking: a dataclass of the options of ``regard look``.
        look_input: what ``regard look`` takes, for its help.
        demo: a training on built-in data.
        pages: whether the attention can be written as an interactive page, ``.html``, and not only as an image.
        code: the class that implements the task, as ``"module:Class"``; imported when it is needed.
    """

    name: str
    summary: str
    settings: type
    verb: Verb
    evaluation: type
    evaluated: str
    looking: type
    look_input: str
    demo: Demo
    pages: bool
    code: str

    def load(self) -> Task[Any, Any, Any]:
        """The task's code."""
        module, name = self.code.split(":")
        task: Task[Any, Any, Any] = getattr(importlib.import_module(module), name)()
        return task
