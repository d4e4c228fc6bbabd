"""Settings as dotted flags of the command line: ``--train.epochs 3``; imports no torch.

A flag takes precedence over the file that ``--config`` names, and the file over the default.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from regard.errors import UserError
from regard.settings import LARGEST, load_yaml

T = TypeVar("T")


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of nested settings."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def sections(kind: type[T]) -> type[T]:
    """Show each dataclass among the fields of ``kind`` as a separate panel in ``--help``; returns ``kind``."""
    from cyclopts import Group, Parameter

    for name, hint in get_type_hints(kind).items():
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            Parameter(group=Group.create_ordered(name.replace("_", " ").capitalize()))(hint)
            _resolve(hint)
    _resolve(kind)
    return kind


def _resolve(kind: type) -> None:
    """Put types in place of their names into the annotations of a dataclass's constructor.

    Python looks up the names in inherited annotations, such as Literal, in the module of the subclass.
    """
    hints = get_type_hints(kind, include_extras=True)
    vars(kind)["__init__"].__annotations__ |= {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def file_settings(kind: type) -> Callable[..., None]:
    """For ``cyclopts.App(config=…)``: settings without a flag are taken from the YAML file that ``--config`` names."""

    def fill(app: Any, commands: Any, arguments: Any) -> None:
        from cyclopts import Token

        check_numbers(app, commands, arguments)
        named = {name: argument for argument in arguments for name in argument.names}
        option = named.get("--config")
        if option is None or not option.tokens:
            return
        path = option.tokens[0].value
        for name, value in leaves(load_yaml(Path(path), kind)):
            argument = named["--" + name.replace("_", "-")]
            if not argument.tokens:
                # implicit_value keeps the value's type; null and lists could not be parsed from text.
                argument.append(Token(keyword=name, value=str(value), source=path, implicit_value=value))

    return fill


def check_numbers(app: Any, commands: Any, arguments: Any) -> None:
    """For ``cyclopts.App(config=…)``: refuse numbers that cyclopts would round or accept: 3.5 for an int, or nan.

    Raises:
        UserError: an option has such a number.
    """
    for argument in arguments:
        types_ = get_args(argument.hint) or (argument.hint,)
        for token in argument.tokens:
            if str in types_ or not token.value or not {int, float} & set(types_):
                continue
            try:
                _check_number(token.value, float in types_)
            except ValueError as error:
                raise UserError(f"{token.keyword or argument.name}: {error}, got {token.value}") from None


def _check_number(text: str, real: bool) -> None:
    """Raises ValueError: ``text`` is not a number that a setting can have."""
    if not real and not re.fullmatch(r"[+-]?[0-9_]+", text):
        raise ValueError("expected a whole number")
    if not real and abs(int(text)) > LARGEST:
        raise ValueError(f"must be at most {LARGEST}")
    if real and not math.isfinite(float(text)):
        raise ValueError("expected a finite number")
