"""Configuration: frozen dataclasses, filled from one optional YAML file and dotted flags; free of torch.

What a flag says goes before what the file says, and that before the default. A setting's help is the string below it.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from regard.errors import UserError

T = TypeVar("T")


def load_yaml(path: Path, kind: type[T]) -> dict[str, Any]:
    """The settings of a YAML file, checked against the dataclass ``kind``, as nested dictionaries.

    Raises:
        UserError: the file is missing or no YAML mapping, a key is unknown, or a value has the wrong type.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise UserError(f"{path}: {line}not YAML ({getattr(error, 'problem', None) or error})") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected settings such as 'model: {{dim: 256}}', got {type(found).__name__}")
    return _checked(kind, found, str(path), "")


def from_dict(kind: type[T], settings: Mapping[str, Any], origin: str) -> T:
    """The dataclass ``kind`` from nested dictionaries; what is missing has its default.

    Raises:
        UserError: a key is unknown, or a value has the wrong type; ``origin`` is named.
    """
    return _build(kind, _checked(kind, settings, origin, ""))


def read(path: Path, kind: type[T]) -> T:
    """The configuration that `to_yaml` wrote into a file. Raises UserError: as `load_yaml`."""
    return _build(kind, load_yaml(path, kind))


def to_yaml(config: object) -> str:
    """The whole configuration as YAML, each setting below a comment that is its help."""
    return "\n".join(_written(config, 0)) + "\n"


def leaves(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of nested settings; those that are None are left out."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{before}{name}.")
        elif value is not None:
            yield before + name, value


def file_settings(kind: type) -> Callable[..., None]:
    """For ``cyclopts.App(config=…)``: fills what flags leave open from the YAML file that ``--config`` names."""

    def fill(app: Any, commands: Any, arguments: Any) -> None:
        from cyclopts import Token

        named = {name: argument for argument in arguments for name in argument.names}
        option = named.get("--config")
        if option is None or not option.tokens:
            return
        path = option.tokens[0].value
        for name, value in leaves(load_yaml(Path(path), kind)):
            argument = named["--" + name.replace("_", "-")]
            if not argument.tokens:
                argument.append(Token(keyword=name, value=str(value), source=path))

    return fill


def _checked(kind: type, settings: Mapping[str, Any], origin: str, before: str) -> dict[str, Any]:
    hints = get_type_hints(kind)
    found = {}
    for key, value in settings.items():
        name = str(key).replace("-", "_")
        dotted = before + name
        if name not in hints:
            near = difflib.get_close_matches(name, hints, 1)
            told = f"did you mean {before}{near[0]}?" if near else f"known here: {', '.join(hints)}"
            raise UserError(f"{origin}: unknown setting {dotted}; {told}")
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, dict | None):
                raise UserError(f"{origin}: {dotted}: expected settings below it, got {value!r}")
            found[name] = _checked(hints[name], value or {}, origin, f"{dotted}.")
        else:
            found[name] = _typed(hints[name], value, f"{origin}: {dotted}")
    return found


def _typed(hint: Any, value: Any, place: str) -> Any:
    """``value`` as ``hint``, where nothing is lost by it: 3 as a float, and 3e-4, which YAML reads as text."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for option in options:
        if option is type(None):
            if value is None:
                return None
        elif get_origin(option) is Literal:
            if value in get_args(option):
                return value
        elif option is float and not isinstance(value, bool):
            if isinstance(value, int | float) or re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", str(value)):
                return float(value)
        elif type(value) is option:
            return value
    expected = " or ".join(_told(option) for option in options)
    raise UserError(f"{place}: expected {expected}, got {value!r}")


def _told(option: Any) -> str:
    if get_origin(option) is Literal:
        return " or ".join(str(value) for value in get_args(option))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "nothing"}
    return names.get(option, str(option))


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
        text = yaml.safe_dump(value, allow_unicode=True, width=10**6).removesuffix("\n").removesuffix("\n...")
        yield f"{' ' * indent}{field.name}: {text}"
