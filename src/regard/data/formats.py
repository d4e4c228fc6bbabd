"""A reader for each file format of parallel text: it yields line numbers from 1 with the two sides or an error."""

from __future__ import annotations

import csv
import difflib
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from regard.data import headers
from regard.data.lines import read_lines
from regard.errors import UserError, require


class Bad(NamedTuple):
    """A line that cannot be used."""

    reason: str
    text: str


class Header(NamedTuple):
    """The names of the source and the target column in a first line that names the columns."""

    source: str
    target: str


Row = tuple[str, str] | Bad | Header
_ROW_LINES = 1000
"""The largest number of lines of one row of a CSV file; a quote that is open for longer counts as unclosed."""

Reader = Callable[[Path, str | None, str | None], Iterator[tuple[int, Row]]]


def _tsv(path: Path, source: str | None, target: str | None) -> Iterator[tuple[int, Row]]:
    lines = enumerate(read_lines(path), 1)
    columns = _numbers(source, target)
    if columns is None:
        header = next(lines, (0, ""))[1] or ""
        columns = _named(path, header.split("\t"), source, target)
    for number, line in lines:
        if line is None:
            yield number, Bad("not UTF-8", "")
            continue
        fields = line.split("\t")
        if number == 1 and source is target is None and (named := _header(path, fields)):
            columns = named
            yield number, Header(fields[columns[0]], fields[columns[1]])
        else:
            yield number, _pick(fields, columns) or Bad("no tab" if len(fields) == 1 else "too few columns", line)


def _csv(path: Path, source: str | None, target: str | None) -> Iterator[tuple[int, Row]]:
    columns = _numbers(source, target)
    for number, fields in _csv_rows(path):
        if isinstance(fields, Bad):
            if columns is None:
                raise UserError(f"{path}: line {number}, the header: {fields.reason}")
            yield number, fields
        elif columns is None:
            columns = _named(path, fields, source, target)
        elif number == 1 and source is target is None and (named := _header(path, fields)):
            columns = named
            yield number, Header(fields[columns[0]], fields[columns[1]])
        else:
            yield number, _pick(fields, columns) or Bad("too few columns", ",".join(fields))


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str] | Bad]]:
    """Rows, with the number of the first line of each; the csv module joins the lines of a quoted field.

    An unclosed quote makes only its own line an error: reading continues with the next line.
    """
    lines, again = read_lines(path), deque[str | None]()
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
        yield start, Bad("not UTF-8", "") if None in row else fields
        start += len(row)


def _delimiter(first: str) -> str:
    """The delimiter of the columns: a comma, unless the first line has none but has a semicolon or a tab."""
    return next((mark for mark in (",", ";", "\t") if mark in first), ",")


def _jsonl(path: Path, source: str | None, target: str | None) -> Iterator[tuple[int, Row]]:
    return _from_records(path, json_records(read_lines(path)), source, target)


def json_records(lines: Iterable[str | None]) -> Iterator[dict[str, Any] | Bad]:
    """The JSON object of each line."""
    for line in lines:
        if line is None:
            yield Bad("not UTF-8", "")
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            yield Bad("not JSON", line)
            continue
        yield record if isinstance(record, dict) else Bad("not a JSON object", line)


def _parquet(path: Path, source: str | None, target: str | None) -> Iterator[tuple[int, Row]]:
    return _from_records(path, parquet_rows(path), source, target)


def parquet_rows(path: Path) -> Iterator[dict[str, Any] | Bad]:
    """The rows of a Parquet file. Raises UserError: it is not Parquet."""
    parquet: Any = require("pyarrow.parquet", "parquet", "reading Parquet")
    arrow: Any = require("pyarrow", "parquet", "reading Parquet")
    try:
        for batch in parquet.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not readable as Parquet ({str(error).splitlines()[0]})") from error


def hub(name: str, source: str | None, target: str | None) -> Iterator[tuple[int, Row]]:
    """The two sides of each record of a Hugging Face dataset; see `hub_records`."""
    return _from_records(f"hf:{name}", hub_records(name), source, target)


def hub_records(name: str) -> Iterator[dict[str, Any] | Bad]:
    """The records of a Hugging Face dataset; see `hub_dataset`."""
    return iter(hub_dataset(name))


def hub_dataset(name: str) -> Any:
    """A Hugging Face dataset, or a local folder of one, ``NAME[:CONFIG][#SPLIT]``; the default split is ``train``.

    Raises:
        UserError: it cannot be loaded.
    """
    datasets: Any = require("datasets", "hub", "reading a Hugging Face dataset")
    name, _, split = name.partition("#")
    name, _, config = name.partition(":")
    saved = [Path(name) / file for file in ("dataset_dict.json", "state.json")]
    try:
        if saved[0].exists():  # written by DatasetDict.save_to_disk or Dataset.save_to_disk
            return datasets.load_from_disk(name)[split or "train"]
        if saved[1].exists() and split in ("", "train"):
            return datasets.load_from_disk(name)
        return datasets.load_dataset(name, config or None, split=split or "train")
    except Exception as error:  # the library's readers raise many kinds of exceptions
        raise UserError(
            f"hf:{name}: cannot be loaded ({str(error).splitlines()[0] if str(error) else error!r})"
        ) from error


BY_SUFFIX: dict[str, Reader] = {
    ".tsv": _tsv,
    ".txt": _tsv,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json-lines": _jsonl,
    ".parquet": _parquet,
}
"""File suffix → its reader."""


def _from_records(
    origin: object, records: Iterable[dict[str, Any] | Bad], source: str | None, target: str | None
) -> Iterator[tuple[int, Row]]:
    """The two sides of JSON objects or of a table's rows; in OPUS and WMT they are in a column ``translation``.

    A record may lack a column. A column that is in no record is a UserError, raised after the last record.
    """
    columns: dict[str, None] = {}
    fits = False
    names = wanted = source or "source", target or "target"
    for number, record in enumerate(records, 1):
        if isinstance(record, Bad):
            yield number, record
            continue
        inner = record.get("translation")
        if isinstance(inner, dict) and not set(wanted) <= record.keys():
            names, record = _languages(inner, source, target), inner
        else:
            names = wanted
        columns |= dict.fromkeys(record)
        fits = fits or set(names) <= record.keys()
        yield number, _sides(record, names)
    if columns and not fits:
        _named(origin, list(columns), *names)


def _languages(translation: dict[str, Any], source: str | None, target: str | None) -> tuple[str, str]:
    """The given names; for one that is not given, the next other language."""
    others = (name for name in translation if name not in (source, target))
    return source or next(others, "source"), target or next(others, "target")


def _sides(record: dict[str, Any], names: tuple[str, str]) -> Row:
    sides = []
    for name in names:
        side = record.get(name)
        if not isinstance(side, str):
            reason = (
                f"{name} is null"
                if name in record and side is None
                else f"no {name}"
                if side is None
                else f"{name} is not text"
            )
            return Bad(reason, json.dumps(record, ensure_ascii=False, default=str))
        sides.append(side)
    try:
        "".join(sides).encode()
    except UnicodeEncodeError:  # JSON's escapes can give half a surrogate pair, which no tokenizer accepts
        return Bad("not Unicode: half a surrogate pair", json.dumps(record, default=str))
    return sides[0], sides[1]


def _numbers(source: str | None, target: str | None) -> tuple[int, int] | None:
    """The indices, from 0, of columns given by number; None if they are given by name."""
    columns = (source or "1", target or "2")
    if not all(column.isdecimal() for column in columns):
        return None
    numbers = int(columns[0]), int(columns[1])
    if min(numbers) < 1:
        raise UserError("data.source, data.target: columns are counted from 1, got 0")
    return numbers[0] - 1, numbers[1] - 1


def _named(origin: object, header: Sequence[str], source: str | None, target: str | None) -> tuple[int, int]:
    """The indices of columns given by name. Raises UserError: one is not in the header."""
    indices = []
    for option, name in (("source", source or "source"), ("target", target or "target")):
        if name not in header:
            near = difflib.get_close_matches(name, header, 1)
            hint = f"did you mean {near[0]}?" if near else f"name one of them with --data.{option}"
            columns = ", ".join(" ".join(column.split()) for column in header)
            raise UserError(f"{origin}: has no column {name!r}; its columns are {columns}; {hint}")
        indices.append(header.index(name))
    return indices[0], indices[1]


def _header(origin: object, fields: Sequence[str]) -> tuple[int, int] | None:
    """The columns of the two sides if ``fields`` is a header. Raises UserError: it is one, but ambiguous."""
    if fields.count("source") == fields.count("target") == 1:
        return fields.index("source"), fields.index("target")
    places = headers.sides(fields)
    if places is None or not places:
        return None
    if len(places) != 2:
        names = ", ".join(" ".join(field.split()) for field in fields)
        raise UserError(
            f"{origin}: line 1 looks like a header, {names}; name two of the columns with --data.source and "
            "--data.target, or give their numbers to read line 1 as a pair"
        )
    return places[0], places[1]


def _pick(fields: Sequence[str], columns: tuple[int, int]) -> tuple[str, str] | None:
    return (fields[columns[0]], fields[columns[1]]) if max(columns) < len(fields) else None
