"""What can be requested of a run: its operations, made from the record of its task."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

from regard.errors import UserError
from regard.settings import helps
from regard.tasks.spec import TaskSpec

Command = Literal["predict", "look"]

INPUT = "input"
"""The name of the input, where it has no other."""


@dataclass(frozen=True)
class Asked:
    """A value that a request has.

    Attributes:
        name: of the value.
        hint: its type.
        help: a sentence.
        needed: whether there is no request without it.
        default: the value of requests without it.
        text: whether it is a text of any length, and not a name or a choice.
    """

    name: str
    hint: Any
    help: str
    needed: bool = False
    default: Any = None
    text: bool = False


@dataclass(frozen=True)
class Operation:
    """One kind of request.

    Attributes:
        command: what is done.
        file: what the body of the request is: the input, or an option by name; empty: JSON.
        media: the type of the file.
        asked: the other values.
        options: the dataclass of the command's options.
        parts: names of texts that are the input together.
        texts: options that are files of text for the command, and texts in a request.
    """

    command: Command
    file: str
    media: str
    asked: tuple[Asked, ...]
    options: type
    parts: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def path(self) -> str:
        """The end of its address."""
        return self.command if self.file in ("", INPUT) else f"{self.command}/{self.file}"

    @property
    def together(self) -> bool:
        """Whether several requests can be computed together."""
        return self.command == "predict" and self.file in ("", INPUT) and not self.texts

    def call(self, values: Mapping[str, Any], folder: Path) -> tuple[str, dict[str, Any]]:
        """The input and the options of the command, for the values of a request.

        Args:
            values: those of `asked`, and the name of the file.
            folder: a folder of the request, for texts that the command reads from a file.

        Raises:
            UserError: an option is out of range.
        """
        values = dict(values)
        for name in self.texts:
            if values.get(name) is not None:
                path = folder / f"{name}.txt"
                path.write_text(values[name], encoding="utf-8")
                values[name] = path
        if self.parts:
            item = json.dumps({name: values.pop(name) for name in self.parts}, ensure_ascii=False)
        else:
            item = str(values.pop(INPUT, ""))
        hints = get_type_hints(self.options)
        chosen = {
            name: tuple(value) if isinstance(value, list) else Path(value) if hints[name] == Path | None and value else
            value for name, value in values.items()
        }  # fmt: skip
        options = self.options(**chosen)
        problem = options.problem() if hasattr(options, "problem") else None
        if problem is not None:
            raise UserError(problem)
        return item, chosen


def operations(spec: TaskSpec) -> tuple[Operation, ...]:
    """What can be requested of a run of a task.

    >>> from regard.tasks.table import spec_of
    >>> [one.path for one in operations(spec_of("match"))]
    ['predict', 'predict/image', 'look', 'look/image']
    """
    results = []
    commands: tuple[tuple[Command, type, str], ...] = (
        ("predict", spec.verb.options, spec.verb.input), ("look", spec.looking, spec.look_input),
    )  # fmt: skip
    for command, options, described in commands:
        served, own = spec.served, _options(options, spec)
        bound = {name for upload in served.uploads.values() for name in upload.options}
        plain = [one for one in own if one.name not in bound]
        if served.media:
            results.append(Operation(command, INPUT, served.media, tuple(plain), options, (), ()))
            continue
        inputs = [Asked(name, str, f"The {name}.", needed=True, text=True) for name in served.parts] or [
            Asked(INPUT, str, described, needed=True, text=True)
        ]
        results.append(Operation(command, "", "", (*inputs, *plain), options, served.parts, ()))
        for name, upload in served.uploads.items():
            without = name == spec.verb.named_input and command == "predict"
            asked = [one for one in own if one.name not in bound or one.name in upload.options]
            texts = tuple(one.name for one in asked if one.name in served.texts)
            results.append(
                Operation(command, name, upload.media, (*([] if without else inputs), *asked), options, (), texts)
            )
    return tuple(results)


def _options(options: type, spec: TaskSpec) -> list[Asked]:
    """The options of a command that are values, and no files."""
    texts, hints, asked = helps(options), get_type_hints(options), []
    for field in dataclasses.fields(options):
        if field.name in spec.served.without or field.name in spec.served.uploads:
            continue
        text = field.name in spec.served.texts
        hint = str | None if text else list[str] if hints[field.name] == tuple[str, ...] else hints[field.name]
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        help = re.sub(r"--([a-z-]+)", lambda option: option[1].replace("-", "_"), texts.get(field.name, ""))
        help = help.replace("File with a text per line", "Texts, one per line") if text else help
        asked.append(Asked(field.name, hint, help, default=default, text=text))
    return asked
