"""The values of a request as a model of pydantic, which checks them and describes them in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from regard.errors import require
from regard.server.limits import LISTED, MOST, WHOLE, Limits
from regard.server.operations import Asked, Operation


def model_of(name: str, operation: Operation, forms: tuple[str, ...], limits: Limits) -> type:
    """A model with the values of an operation; one that is unknown is an error.

    A body of JSON has values of their types; those of an address are texts, which are converted.

    Args:
        name: of the model.
        operation: what is requested.
        forms: those in which the attention is returned.
        limits: of the texts.
    """
    pydantic: Any = require("pydantic", "serve", "a server")
    fields = {one.name: _field(pydantic, one, limits) for one in operation.asked}
    if operation.file:
        named = pydantic.Field("upload", description="Name of the file, for the result.", max_length=200)
        fields["name"] = (str, named)
    if operation.command == "look":
        form = pydantic.Field("json", description="What the attention is returned as: numbers, an image or a page.")
        fields["as"] = (Literal[forms], form)
    config = pydantic.ConfigDict(extra="forbid", strict=not operation.file, allow_inf_nan=False)
    model: type = pydantic.create_model(name, __config__=config, **fields)
    return model


def _field(pydantic: Any, one: Asked, limits: Limits) -> tuple[Any, Any]:
    """The type and the bounds of a value."""
    bounds: dict[str, Any] = {"description": one.help}
    kinds = set(get_args(one.hint)) or {one.hint}
    if int in kinds:
        most = MOST.get(one.name, WHOLE)
        bounds |= {"le": most, "ge": 1 if one.name in MOST else 0 if one.name == "seed" else -most}
    hint = one.hint
    if hint == list[str]:
        hint = list[pydantic.constr(max_length=1000)]  # type: ignore[misc]
        bounds["max_length"] = LISTED
    elif str in kinds:
        bounds |= {"min_length": 1 if one.needed else 0, "max_length": limits.characters}
    return hint, pydantic.Field(... if one.needed else one.default, **bounds)


def described(one: Asked) -> dict[str, Any]:
    """A value as the page of a run needs it for its form."""
    kinds = [kind for kind in (get_args(one.hint) if _is_union(one.hint) else (one.hint,)) if kind is not type(None)]
    kind = kinds[0]
    choices: list[Any] = []
    if get_origin(kind) is Literal:
        choices, kind = list(get_args(kind)), str
    names = {int: "whole", float: "number", bool: "yes", str: "text"}
    return {
        "name": one.name, "kind": names.get(kind, "list"), "help": one.help, "needed": one.needed,
        "default": one.default, "choices": choices, "long": one.text, "optional": len(kinds) < len(get_args(one.hint)),
        "most": MOST.get(one.name),
    }  # fmt: skip


def _is_union(hint: Any) -> bool:
    return type(None) in get_args(hint)
