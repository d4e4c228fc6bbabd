"""Settings of a run: nested frozen dataclasses, read from and written to YAML; imports no torch.

The help of a setting is the string below it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import re
import textwrap
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from regard.errors import UserError

T = TypeVar("T")


LARGEST = 2**63 - 1
"""The largest whole number that a setting may have."""


class _BadSetting(Exception):
    """A setting that cannot be used: its path in the configuration, and the error message."""

    def __init__(self, path: tuple[str, ...], message: str):
        super().__init__(message)
        self.path = path


def load_yaml(path: Path, kind: type[T]) -> dict[str, Any]:
    """The settings of a YAML file, checked against the dataclass ``kind``, as nested dictionaries.

    Raises:
        UserError: the file is missing or no YAML mapping, a key is unknown, or a value has the wrong type.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        settings = yaml.safe_load(text)
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
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected settings such as 'model: {{dim: 256}}', got {type(settings).__name__}")
    try:
        return _checked(kind, settings, ())
    except _BadSetting as error:
        number = _line(yaml.compose(text, yaml.SafeLoader), error.path)
        raise UserError(f"{path}: {error}" + (f" (line {number})" if number else "")) from error


def _check_keys(node: Any, path: Path) -> None:
    """Raises UserError: a mapping has the same key twice, of which YAML would silently use the last."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = str(key.value).replace("-", "_")
        if name in seen:
            raise UserError(f"{path}: line {key.start_mark.line + 1}: {key.value} is given twice; merge the two")
        seen.add(name)
        _check_keys(value, path)


def from_dict(kind: type[T], settings: Mapping[str, Any], origin: str) -> T:
    """The dataclass ``kind`` from nested dictionaries; settings that are missing have their defaults.

    Raises:
        UserError: a key is unknown, or a value has the wrong type; the message begins with ``origin``.
    """
    try:
        return _build(kind, _checked(kind, settings, ()))
    except _BadSetting as error:
        raise UserError(f"{origin}: {error}") from error


def read(path: Path, kind: type[T]) -> T:
    """The configuration that `to_yaml` wrote into a file. Raises UserError: see `load_yaml`."""
    return _build(kind, load_yaml(path, kind))


def to_yaml(config: object) -> str:
    """The full configuration as YAML, with the help of each setting as a comment above it."""
    return "\n".join(_written(config, 0)) + "\n"


def helps(kind: type) -> dict[str, str]:
    """Setting → the text below it in the dataclass ``kind``, or in the one that it inherits the setting from."""
    from docstring_parser import parse_from_object

    texts: dict[str, str] = {}
    for part in reversed(kind.__mro__[:-1]):
        if dataclasses.is_dataclass(part):
            params = parse_from_object(part).params
            texts |= {param.arg_name: " ".join((param.description or "").split()) for param in params}
    return texts


def _checked(kind: type, settings: Mapping[str, Any], parent: tuple[str, ...]) -> dict[str, Any]:
    """``settings`` with values of the types of ``kind``. Raises _BadSetting: a key is unknown, or a type is wrong."""
    hints = get_type_hints(kind)
    checked = {}
    for key, value in settings.items():
        name = str(key).replace("-", "_")
        path = (*parent, name)
        dotted = ".".join(path)
        if name not in hints:
            near = difflib.get_close_matches(name, hints, 1)
            hint = f"did you mean {'.'.join((*parent, near[0]))}?" if near else f"expected one of {', '.join(hints)}"
            raise _BadSetting(path, f"unknown setting {dotted}; {hint}")
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, dict | None):
                raise _BadSetting(path, f"{dotted}: expected settings below it, got {value!r}")
            checked[name] = _checked(hints[name], value or {}, path)
            continue
        try:
            checked[name] = _typed(hints[name], value)
        except (ValueError, OverflowError) as error:
            raise _BadSetting(path, f"{dotted}: expected {_described(hints[name])}, got {value!r}") from error
    return checked


def _line(node: Any, path: tuple[str, ...]) -> int | None:
    """The line of the setting at ``path`` in a composed YAML file; None if it is not written there."""
    line = None
    for name in path:
        keys = [pair for pair in node.value if str(pair[0].value).replace("-", "_") == name]
        if not keys:
            return None
        key, node = keys[0]
        line = key.start_mark.line + 1
    return line


def _typed(hint: Any, value: Any) -> Any:
    """``value`` converted to the type ``hint``, if that is exact: 3 to a float, or "3e-4", which YAML reads as text.

    Raises:
        ValueError: it cannot be converted.
        OverflowError: it is too large for a float.
    """
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
    elif type(value) is hint and not (hint is int and abs(value) > LARGEST):
        return value
    raise ValueError(f"expected {_described(hint)}, got {value!r}")


def _described(hint: Any) -> str:
    """A type in words, for error messages."""
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_described(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(str(value) for value in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list (each {_described(get_args(hint)[0])})"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return "null" if hint is type(None) else names.get(hint, str(hint))


def _build(kind: type[T], settings: Mapping[str, Any]) -> T:
    hints = get_type_hints(kind)
    arguments = {
        name: _build(hints[name], value) if dataclasses.is_dataclass(hints[name]) else value
        for name, value in settings.items()
    }
    return kind(**arguments)


def _written(config: Any, indent: int) -> Iterator[str]:
    import yaml

    texts = helps(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield f"{' ' * indent}{field.name}:"
            yield from _written(value, indent + 2)
            continue
        for line in textwrap.wrap(texts.get(field.name, ""), 100):
            yield f"{' ' * indent}# {line}"
        text = yaml.safe_dump(_plain(value), allow_unicode=True, width=10**6, default_flow_style=True)
        text = text.removesuffix("\n").removesuffix("\n...")
        yield f"{' ' * indent}{field.name}: {text}"


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
