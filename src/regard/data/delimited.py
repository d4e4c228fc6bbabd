"""Rows of text files: a row per line, with its fields separated by tabs or another mark, and CSV."""

from __future__ import annotations

import csv
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from regard.data.column_places import header, named, numbers
from regard.data.columns import Bad, Header, Layout, Row
from regard.data.lines import read_lines
from regard.errors import UserError

_ROW_LINES = 1000
"""The largest number of lines of one row of a CSV file; a quote that is open for longer counts as unclosed."""
_MARKS = {"\t": "tab"}

_Fields = Iterator[tuple[int, list[str] | Bad]]


def line_rows(path: Path, layout: Layout) -> Iterator[tuple[int, Row]]:
    """Line numbers from 1, and the columns of each line of a file such as TSV, which has no quotes."""
    separator, fields = _split(path, layout)
    undivided = layout.undivided
    if layout.split is None:
        undivided = f"no {' or '.join(_MARKS.get(mark, mark) for mark in layout.separators)}"
    return _columns(path, fields, layout, separator, undivided)


def csv_rows(path: Path, layout: Layout) -> Iterator[tuple[int, Row]]:
    """The number of the first line of each row of a CSV file, and its columns."""
    return _columns(path, _csv_fields(path, layout.encoding), layout, ",", "too few columns")


def _columns(path: Path, rows: _Fields, layout: Layout, separator: str, undivided: str) -> Iterator[tuple[int, Row]]:
    """The columns of each row, or why it has none: ``undivided`` for a row of one field."""
    places: Sequence[int | None] | None = numbers(layout)
    first = next(rows, None)
    if first is None:
        return
    number, fields = first
    if isinstance(fields, Bad):
        if places is None:
            raise UserError(f"{path}: line {number}, the header: {fields.reason}")
        yield number, fields
    elif not layout.given and (recognized := header(path, fields, layout)):
        places = recognized
        yield number, Header(tuple(fields[place] for place in places if place is not None))
    elif places is None:
        places = named(path, fields, layout)
    else:
        rows = itertools.chain((first,), rows)
    last = _last(places)
    needed = _last([place if column.needed else None for place, column in zip(places, layout.columns, strict=True)])
    pick = _picker(places)
    for number, fields in rows:
        if isinstance(fields, Bad):
            yield number, fields
        elif len(fields) > last:
            yield number, pick(fields)
        elif len(fields) > needed:
            yield number, tuple(None if at is None or at >= len(fields) else fields[at] for at in places)
        else:
            yield number, Bad(undivided if len(fields) == 1 else "too few columns", separator.join(fields))


def _last(places: Sequence[int | None]) -> int:
    return max((place for place in places if place is not None), default=-1)


def _picker(places: Sequence[int | None]) -> Callable[[list[str]], tuple[Any, ...]]:
    """A function that takes the fields at ``places`` of a row that has all of them."""
    if None in places or len(places) == 1:
        return lambda fields: tuple([None if at is None else fields[at] for at in places])
    pick: Callable[[list[str]], tuple[Any, ...]] = itemgetter(*places)
    return pick


def _split(path: Path, layout: Layout) -> tuple[str, _Fields]:
    """The separator that the first line has, and the fields of each line."""
    lines, separators = read_lines(path, encoding=layout.encoding), layout.separators
    first = list(itertools.islice(lines, 1))
    separator = next((mark for mark in separators if mark in ((first or [None])[0] or "")), separators[0])
    split = layout.split or (lambda line: line.split(separator))

    def fields() -> _Fields:
        for number, line in enumerate(itertools.chain(first, lines), 1):
            yield number, Bad("not UTF-8") if line is None else split(line)

    return separator, fields()


def _csv_fields(path: Path, encoding: str) -> _Fields:
    """Rows, with the number of the first line of each; the csv module joins the lines of a quoted field.

    An unclosed quote makes only its own line an error: reading continues with the next line.
    """
    lines, again = read_lines(path, encoding=encoding), deque[str | None]()
    row: list[str | None] = []

    def next_lines() -> Iterator[str]:
        while len(row) < _ROW_LINES:
            try:
                row.append(again.popleft() if again else next(lines))
            except StopIteration:
                return
            yield (row[-1] or "") + "\n"

    start, delimiter = 1, ""
    while True:
        row.clear()
        if not delimiter:
            again.extend(itertools.islice(lines, 1))
            delimiter = _delimiter((again[0] if again else None) or "")
        try:
            # Strict: otherwise an unclosed quote silently makes one field of the rest of the file.
            fields = next(csv.reader(next_lines(), strict=True, delimiter=delimiter))
        except StopIteration:
            return
        except csv.Error as error:
            yield start, Bad(f"not CSV: {str(error).split(' - ')[0]}", (row[0] or "").strip())
            again.extendleft(reversed(row[1:]))
            start += 1
            continue
        yield start, Bad("not UTF-8") if None in row else fields
        start += len(row)


def _delimiter(first: str) -> str:
    """The delimiter of the columns: a comma, unless the first line has none but has a semicolon or a tab."""
    return next((mark for mark in (",", ";", "\t") if mark in first), ",")
