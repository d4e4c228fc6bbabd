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
        many_with: options with which an input is the name of a file, so that several may be given.
        packs: whether ``--weights`` says how the model's weights are stored: worth it for models that decode.
        draws: whether ``--look FILE`` draws the attention of a single input.
        named_input: an option that gives a single input by name, in place of the argument; empty: there is none.
        file_form: an option whose values, but the default, are the ending of a file with the output of a single input;
            empty: the outputs of several are always lines.
    """

    name: str
    summary: str
    input: str
    unit: str
    options: type = NoOptions
    many: bool = False
    many_with: tuple[str, ...] = ()
    packs: bool = False
    draws: bool = False
    named_input: str = ""
    file_form: str = ""


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
class Upload:
    """An option of a command that is a file, which a request to a server brings with it.

    Attributes:
        media: the type of the file, such as ``"image/*"``.
        options: options that only a request with the file has.
    """

    media: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Served:
    """What a request to a server has, since it cannot name files of the server.

    Attributes:
        media: the type of the file that is the input, such as ``"image/*"``; empty: the input is a text.
        parts: texts that are the input together, as a JSON object; empty: it is one text.
        uploads: options that are files.
        texts: options that are files of text, of which a request has the content.
        without: options that no request has, since they name files or folders, or the input in another way.
    """

    media: str = ""
    parts: tuple[str, ...] = ()
    uploads: Mapping[str, Upload] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


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
        code: the class that implements the task, as ``"module:Class"``; imported when it is needed.
        served: what a request to a server has.
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
    code: str
    served: Served = Served()

    def load(self) -> Task[Any, Any, Any]:
        """The task's code."""
        module, name = self.code.split(":")
        task: Task[Any, Any, Any] = getattr(importlib.import_module(module), name)()
        return task
