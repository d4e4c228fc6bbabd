"""Finds the columns of a table: by number, by name, by type, or as the first line names them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from regard.data.columns import Column, Layout, count, listed
from regard.errors import UserError


def numbers(layout: Layout) -> list[int | None] | None:
    """The indices of the columns by number, from 0; None: one has a name, or has to be found by its name.

    Raises:
        UserError: a number is 0.
    """
    places: list[int | None] = []
    for column in layout.columns:
        number = column.number if column.given is None else column.given
        if number is None and not column.required:
            places.append(None)
        elif number is None or not str(number).isdecimal():
            return None
        else:
            places.append(int(number) - 1)
    for column, place in zip(layout.columns, places, strict=True):
        if place == -1:
            raise UserError(f"{column.option}: columns are counted from 1, got 0")
    taken = {place for column, place in zip(layout.columns, places, strict=True) if column.needed}
    return [
        place if column.needed or place not in taken else None
        for column, place in zip(layout.columns, places, strict=True)
    ]


def header(origin: object, fields: Sequence[str], layout: Layout) -> Sequence[int | None] | None:
    """The indices of the columns if a first line names them. Raises UserError: it does, but is ambiguous."""
    recognize = layout.recognize or (lambda fields: _usual_header(fields, layout))
    places = recognize(fields)
    if places is None or len(places) == len(layout.columns):
        return places
    names = locate(fields, layout)
    missing = [one for one, name in zip(layout.columns, names, strict=True) if one.required and name is None]
    if layout.recognize is None and missing:
        which, flags = listed([one.name for one in missing]), listed([one.flag for one in missing])
        problem = f", without a usual name of the {which}; name {'it' if len(missing) == 1 else 'them'} with {flags}"
    else:
        nameable = sum(bool(column.option) for column in layout.columns)
        problem = f"; name {count(nameable)} of the columns with {layout.flags()}"
    raise UserError(
        f"{origin}: line 1 looks like a header, {_names(fields)}{problem}, or give their numbers to read line 1 as "
        f"{layout.unit_with_article}"
    )


def _usual_header(fields: Sequence[str], layout: Layout) -> list[int | None] | None:
    names = locate(fields, layout)
    present = [column for name, column in zip(names, layout.columns, strict=True) if name is not None]
    required = [column for column in layout.columns if column.required]
    if not present or not all(column in present for column in required):
        # A usual name of one column hardly occurs in a row without a header; a reader without numbers has to find all.
        partial = any(column in present for column in required) and numbers(layout) is not None
        return [] if partial else None
    if any(name is not None and fields.count(name) > 1 for name in names):
        return []
    return [None if name is None else fields.index(name) for name in names]


def named(origin: object, fields: Sequence[str], layout: Layout) -> list[int | None]:
    """The indices of the columns in a header. Raises UserError: one that is needed is not in it."""
    names = locate(fields, layout)
    for column, name in zip(layout.columns, names, strict=True):
        if name is None and column.needed:
            raise_missing(origin, fields, column)
    return [None if name is None else fields.index(name) for name in names]


def locate(
    names: Sequence[str], layout: Layout, types: Mapping[str, str | None] | None = None, origin: object = ""
) -> tuple[str | None, ...]:
    """The names of the columns among ``names``; None for one that is not there.

    Args:
        names: of all columns of a table.
        layout: the columns to look for.
        types: the types of columns in the datasets library.
        origin: the name of the table, for messages.

    Raises:
        UserError: several columns have the type of a column, and none of them a usual name.
    """
    given = {str(column.given) for column in layout.columns if column.given is not None}
    free = [name for name in names if name not in given]
    located = []
    for column in layout.columns:
        name: str | None
        if column.given is not None:
            name = str(column.given) if str(column.given) in names else None
        else:
            typed = [name for name in free if types is not None and column.feature and types[name] == column.feature]
            name = _usual(typed or free, column) or (typed[0] if typed else None)
            if len(typed) > 1 and _usual(typed, column) is None:
                raise UserError(
                    f"{origin}: {' and '.join(typed)} could both be the {column.name}; {_choice(names, column)}"
                )
            free = [other for other in free if other != name]
        located.append(name)
    return tuple(located)


def _usual(names: Sequence[str], column: Column) -> str | None:
    for usual in (column.name, *column.usual):
        if usual in names:
            return usual
        same = [name for name in names if _key(name) == _key(usual)]
        if same and column.usual:
            return same[0]
    return None


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def raise_missing(origin: object, names: Iterable[str], column: Column) -> NoReturn:
    """Raises UserError: none of the columns ``names`` is ``column``."""
    names = list(names)
    if column.given is None and column.usual:
        raise UserError(f"{origin}: cannot tell which column is the {column.name}; {_choice(names, column)}")
    name = column.name if column.given is None else str(column.given)
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"name one of them with {column.flag}"
    raise UserError(f"{origin}: has no column {name!r}; its columns are {_names(names)}; {hint}")


def _choice(names: Iterable[str], column: Column) -> str:
    return f"its columns are {_names(names)}; name one with {column.flag}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(" ".join(name.split()) for name in names)
