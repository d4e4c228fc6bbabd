"""The columns of records: which record has which, and which values can be used."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from regard.data.column_places import locate, raise_missing
from regard.data.columns import Bad, Column, Layout, Row
from regard.data.lines import is_unicode
from regard.data.records import Records

_Names = Sequence[str | None]
_Classes = Sequence[Sequence[str] | None]


class _BadCell(Exception):
    """A value cannot be used; its text says why."""


def record_rows(records: Records, layout: Layout) -> tuple[_Names | None, Iterator[tuple[int, Row]]]:
    """The names of the columns, where all are known before reading, and the rows with their numbers from 1.

    Raises:
        UserError: a column that is needed is not in the table. If the columns are not known before reading, a record
            may lack a column, and the error comes after the last record, if no record has all.
    """
    if records.columns is None:
        return None, _from_any(records, layout)
    names = locate(records.columns, layout, records.types(), records.origin)
    missing = [column for column, name in zip(layout.columns, names, strict=True) if name is None and column.needed]
    if not missing:
        return names, _from_known(records, names, layout.columns)
    if layout.inner is None:
        raise_missing(records.origin, records.columns, missing[0])
    return None, _from_any(records, layout)


def _from_known(records: Records, names: _Names, columns: Sequence[Column]) -> Iterator[tuple[int, Row]]:
    """The rows of records that have all columns."""
    classes = [records.classes(name) for name in names]
    # Without any column, a table has no rows.
    wanted = list(dict.fromkeys(name for name in names if name is not None)) or None
    for number, record in enumerate(records.read(wanted), 1):
        yield number, record if isinstance(record, Bad) else _row(record, names, columns, classes)


def _from_any(records: Records, layout: Layout) -> Iterator[tuple[int, Row]]:
    """The rows of records of which each may have other columns."""
    known: dict[tuple[str, ...], tuple[_Names, bool]] = {}
    seen: dict[str, None] = {}
    complete, classes = False, [None] * len(layout.columns)
    for number, record in enumerate(records.read(None), 1):
        if isinstance(record, Bad):
            yield number, record
            continue
        keys = tuple(record)
        if keys not in known:
            if len(known) > 1000:
                known.clear()
            known[keys] = _located(keys, layout)
        names, has_all = known[keys]
        inner = layout.inner(record) if layout.inner and not has_all else None
        if inner:
            record, names = inner
        if not complete:
            complete = set(names) <= record.keys() if inner else has_all
            seen |= dict.fromkeys(record)
        yield number, _row(record, names, layout.columns, classes)
    if seen and not complete:
        names = names if inner else locate(list(seen), layout)
        for column, name in zip(layout.columns, names, strict=True):
            if name not in seen and column.needed:
                raise_missing(records.origin, seen, column)


def _located(keys: Sequence[str], layout: Layout) -> tuple[_Names, bool]:
    """The names of the columns in records with ``keys``, and whether all that are needed are there."""
    names = locate(keys, layout)
    return names, all(name is not None or not column.needed for name, column in zip(names, layout.columns, strict=True))


def _row(record: dict[Any, Any], names: _Names, columns: Sequence[Column], classes: _Classes) -> Row:
    row: tuple[Any, ...] = tuple([record.get(name) for name in names])
    try:
        text = "".join(row)
        usual = all(row)
    except TypeError:
        usual = False
    if not usual:  # Text that is not empty is a value for every kind of column.
        try:
            row = tuple([_value(record, *column) for column in zip(names, columns, classes, strict=True)])
        except _BadCell as error:
            return Bad(str(error), json.dumps(record, ensure_ascii=False, default=_printed))
        text = "".join(itertools.chain.from_iterable(map(_texts, row)))
    if not is_unicode(text):
        # JSON's escapes can give half a surrogate pair, which no tokenizer accepts.
        return Bad("not Unicode: half a surrogate pair", json.dumps(record, default=_printed))
    return row


def _value(record: dict[str, Any], name: str | None, column: Column, classes: Sequence[str] | None) -> Any:
    """The value of a column. Raises _BadCell: it cannot be used."""
    if name is None:
        name = column.name if column.given is None else str(column.given)
    value = record.get(name)
    if value is None and not column.required:
        return None
    if name not in record:
        raise _BadCell(f"no {name}")
    if value is None and column.blank:
        return None
    if column.kind == "labels" and isinstance(value, list):
        return tuple([_label(one, column.name, classes) for one in value])
    if column.kind in ("label", "labels"):
        return _label(value, column.name, classes)
    if column.kind in ("text", "raw") and not isinstance(value, str):
        raise _BadCell(f"{name} is null" if value is None else f"{name} is not text")
    return value


def _label(value: Any, name: str, classes: Sequence[str] | None) -> str:
    """The name of a class. Raises _BadCell: the value is none."""
    if value is None:
        raise _BadCell(f"has no {name}")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if classes is not None and isinstance(value, int):
        if not 0 <= value < len(classes):
            raise _BadCell(
                f"{name} {value} is not one of the {len(classes):,} classes; it may stand for a missing {name}"
            )
        return classes[value]
    if not isinstance(value, str | int):
        raise _BadCell(f"expected a {name} that is text or a whole number, got {type(value).__name__}")
    if value == "":
        raise _BadCell(f"has an empty {name}")
    return str(value)


def _texts(value: Any) -> Iterable[str]:
    return (value,) if isinstance(value, str) else value if isinstance(value, tuple) else ()


def _printed(value: Any) -> str:
    """A value that JSON does not have, for a message."""
    return f"{len(value):,} bytes" if isinstance(value, bytes) else str(value)
