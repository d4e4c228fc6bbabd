"""Configuration: frozen dataclasses, filled from one optional YAML file and dotted flags; free of torch.

What a flag says goes before what the file says, and that before the default. A setting's help is the string below it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import re
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from regard.errors import UserError

T = TypeVar("T")


_LARGEST = 2**63 - 1
"""The largest whole number that a setting may have."""


class _Wrong(Exception):
    """A setting that cannot be used: where it stands, and what to tell."""

    def __init__(self, path: tuple[str, ...], told: str):
        super().__init__(told)
        self.path = path


def load_yaml(path: Path, kind: type[T]) -> dict[str, Any]:
    """The settings of a YAML file, checked against the dataclass ``kind``, as nested dictionaries.

    Raises:
        UserError: the file is missing or no YAML mapping, a key is unknown, or a value has the wrong type.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        found = yaml.safe_load(text)
        _check_keys(yaml.compose(text, yaml.SafeLoader), path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist, such as 2026-02-30
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(f"{path}: {line}not YAML ({problem})") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected settings such as 'model: {{dim: 256}}', got {type(found).__name__}")
    try:
        return _checked(kind, found, ())
    except _Wrong as wrong:
        number = _line(yaml.compose(text, yaml.SafeLoader), wrong.path)
        raise UserError(f"{path}: {wrong}" + (f" (line {number})" if number else "")) from wrong


def _check_keys(node: Any, path: Path) -> None:
    """Raises UserError: a mapping has a key twice, of which YAML would silently take the last."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = str(key.value).replace("-", "_")
        if name in seen:
            raise UserError(f"{path}: line {key.start_mark.line + 1}: {key.value} is given twice; join the two")
        seen.add(name)
        _check_keys(value, path)


def from_dict(kind: type[T], settings: Mapping[str, Any], origin: str) -> T:
    """The dataclass ``kind`` from nested dictionaries; what is missing has its default.

    Raises:
        UserError: a key is unknown, or a value has the wrong type; ``origin`` is named.
    """
    try:
        return _build(kind, _checked(kind, settings, ()))
    except _Wrong as wrong:
        raise UserError(f"{origin}: {wrong}") from wrong


def read(path: Path, kind: type[T]) -> T:
    """The configuration that `to_yaml` wrote into a file. Raises UserError: as `load_yaml`."""
    return _build(kind, load_yaml(path, kind))


def to_yaml(config: object) -> str:
    """The whole configuration as YAML, each setting below a comment that is its help."""
    return "\n".join(_written(config, 0)) + "\n"


def leaves(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of nested settings."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{before}{name}.")
        else:
            yield before + name, value


def sections(kind: type[T]) -> type[T]:
    """Gives each dataclass among the fields of ``kind`` a panel of its own in ``--help``; returns ``kind``."""
    from cyclopts import Group, Parameter

    for name, hint in get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            Parameter(group=Group.create_ordered(name.replace("_", " ").capitalize()))(hint)
    return kind


def file_settings(kind: type) -> Callable[..., None]:
    """For ``cyclopts.App(config=…)``: fills what flags leave open from the YAML file that ``--config`` names."""

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
                # The value has its type already: as text, null and lists would not come through.
                argument.append(Token(keyword=name, value=str(value), source=path, implicit_value=value))

    return fill


def check_numbers(app: Any, commands: Any, arguments: Any) -> None:
    """For ``cyclopts.App(config=…)``: refuses what cyclopts would round or let through, such as 3.5 for an int, or nan.

    Raises:
        UserError: the option is named.
    """
    for argument in arguments:
        options = get_args(argument.hint) or (argument.hint,)
        for token in argument.tokens:
            if str in options or not token.value or not {int, float} & set(options):
                continue
            try:
                _number(token.value, float in options)
            except ValueError as error:
                raise UserError(f"{token.keyword or argument.name}: {error}, got {token.value}") from None


def _number(text: str, real: bool) -> None:
    """Raises ValueError: ``text`` is no number that a setting can have."""
    if not real and not re.fullmatch(r"[+-]?[0-9_]+", text):
        raise ValueError("expected a whole number")
    if not real and abs(int(text)) > _LARGEST:
        raise ValueError(f"must be at most {_LARGEST}")
    if real and not math.isfinite(float(text)):
        raise ValueError("expected a finite number")


def _checked(kind: type, settings: Mapping[str, Any], before: tuple[str, ...]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    found = {}
    for key, value in settings.items():
        name = str(key).replace("-", "_")
        path = (*before, name)
        dotted = ".".join(path)
        if name not in hints:
            near = difflib.get_close_matches(name, hints, 1)
            told = f"did you mean {'.'.join((*before, near[0]))}?" if near else f"known here: {', '.join(hints)}"
            raise _Wrong(path, f"unknown setting {dotted}; {told}")
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, dict | None):
                raise _Wrong(path, f"{dotted}: expected settings below it, got {value!r}")
            found[name] = _checked(hints[name], value or {}, path)
            continue
        try:
            found[name] = _typed(hints[name], value)
        except (ValueError, OverflowError) as error:
            raise _Wrong(path, f"{dotted}: expected {_told(hints[name])}, got {value!r}") from error
    return found


def _line(node: Any, path: tuple[str, ...]) -> int | None:
    """The line on which the setting at ``path`` begins in a composed YAML file; None where it is not written out."""
    line = None
    for name in path:
        keys = [pair for pair in node.value if str(pair[0].value).replace("-", "_") == name]
        if not keys:
            return None
        key, node = keys[0]
        line = key.start_mark.line + 1
    return line


def _typed(hint: Any, value: Any) -> Any:
    """``value`` as ``hint``, where nothing is lost by it: 3 as a float, and 3e-4, which YAML reads as text."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        for option in get_args(hint):
            with contextlib.suppress(ValueError, OverflowError):
                return _typed(option, value)
    elif origin is Literal:
        for choice in get_args(hint):
            if type(value) is type(choice) and value == choice:
                return choice
    elif origin is tuple and isinstance(value, list | tuple):
        return tuple(_typed(get_args(hint)[0], item) for item in value)
    elif hint is float and (type(value) in (int, float) or (isinstance(value, str) and re.search(r"[\d.][eE]", value))):
        if math.isfinite(float(value)):
            return float(value)
    elif hint is Path and isinstance(value, str | Path):
        return Path(value)
    elif type(value) is hint and not (hint is int and abs(value) > _LARGEST):
        return value
    raise ValueError(f"expected {_told(hint)}, got {value!r}")


def _told(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_told(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(str(value) for value in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list (each {_told(get_args(hint)[0])})"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return "nothing" if hint is type(None) else names.get(hint, str(hint))


def _build(kind: type[T], settings: Mapping[str, Any]) -> T:
    hints = get_type_hints(kind)
    made = {
        name: _build(hints[name], value) if dataclasses.is_dataclass(hints[name]) else value
        for name, value in settings.items()
    }
    return kind(**made)


def _written(config: Any, indent: int) -> Iterator[str]:
    import yaml
    from docstring_parser import parse_from_object

    helps = {found.arg_name: found.description for found in parse_from_object(type(config)).params}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield f"{' ' * indent}{field.name}:"
            yield from _written(value, indent + 2)
            continue
        for line in textwrap.wrap(" ".join((helps.get(field.name) or "").split()), 100):
            yield f"{' ' * indent}# {line}"
        text = yaml.safe_dump(_plain(value), allow_unicode=True, width=10**6, default_flow_style=True)
        text = text.removesuffix("\n").removesuffix("\n...")
        yield f"{' ' * indent}{field.name}: {text}"


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
