"""One reader a file format: each yields line numbers from 1 with the two sides, or what is wrong with the line."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from regard.data.lines import read_lines
from regard.errors import UserError, require


class Bad(NamedTuple):
    """A line that cannot be used."""

    reason: str
    text: str


Row = tuple[str, str] | Bad
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
        else:
            fields = line.split("\t")
            yield number, _pick(fields, columns) or Bad("no tab" if len(fields) == 1 else "too few columns", line)


def _csv(path: Path, source: str | None, target: str | None) -> Iterator[tuple[int, Row]]:
    # The csv module joins the lines of a quoted field; a line that is not UTF-8 reaches it as a mark of its own.
    broken: set[int] = set()

    def lines() -> Iterator[str]:
        for number, line in enumerate(read_lines(path), 1):
            if line is None:
                broken.add(number)
            yield ("" if line is None else line) + "\n"

    reader = csv.reader(lines())
    columns = _numbers(source, target)
    start = 1
    try:
        for fields in reader:
            number, start = start, reader.line_num + 1
            if number == 1 and (columns is None or (source is target is None and {"source", "target"} <= set(fields))):
                columns = _named(path, fields, source or "source", target or "target")
            elif broken.intersection(range(number, start)):
                yield number, Bad("not UTF-8", "")
            else:
                assert columns is not None
                yield number, _pick(fields, columns) or Bad("too few columns", ",".join(fields))
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not CSV ({error})") from error


def _jsonl(path: Path, source: str | None, target: str | None) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(read_lines(path), 1):
        if line is None:
            yield number, Bad("not UTF-8", "")
            continue
        try:
            record = json.loads(line)
        except ValueError:
            yield number, Bad("not JSON", line)
            continue
        yield (
            number,
            _from_record(path, record, source, target, line)
            if isinstance(record, dict)
            else Bad("not a JSON object", line),
        )


def _parquet(path: Path, source: str | None, target: str | None) -> Iterator[tuple[int, Row]]:
    parquet: Any = require("pyarrow.parquet", "parquet", "reading Parquet")
    arrow: Any = require("pyarrow", "parquet", "reading Parquet")
    try:
        file = parquet.ParquetFile(path)
        records = (record for batch in file.iter_batches() for record in batch.to_pylist())
        for number, record in enumerate(records, 1):
            yield number, _from_record(path, record, source, target, str(record))
    except (arrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not readable as Parquet ({str(error).splitlines()[0]})") from error


def hub(name: str, source: str | None, target: str | None) -> Iterator[tuple[int, Row]]:
    """A Hugging Face dataset, ``NAME[:CONFIG][#SPLIT]``. Raises UserError: it cannot be had."""
    datasets: Any = require("datasets", "hub", "reading a Hugging Face dataset")
    name, _, split = name.partition("#")
    name, _, config = name.partition(":")
    try:
        records = datasets.load_dataset(name, config or None, split=split or "train")
    except Exception as error:  # the library raises whatever its many readers raise
        raise UserError(
            f"hf:{name}: cannot be loaded ({str(error).splitlines()[0] if str(error) else error!r})"
        ) from error
    for number, record in enumerate(records, 1):
        yield number, _from_record(f"hf:{name}", record, source, target, str(record))


BY_SUFFIX: dict[str, Reader] = {
    ".tsv": _tsv,
    ".txt": _tsv,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
}
"""The reader of each file ending."""


def _from_record(origin: object, record: dict[str, Any], source: str | None, target: str | None, text: str) -> Row:
    """The two sides of a JSON object or a table's row; opus and WMT keep them in a ``translation``."""
    inner = record.get("translation")
    if isinstance(inner, dict) and not {source or "source", target or "target"} <= record.keys():
        names = list(inner)
        record, source, target = inner, source or (names or [""])[0], target or (names + [""] * 2)[1]
    source, target = source or "source", target or "target"
    if not {source, target} & record.keys():
        _named(origin, list(record), source, target)
    sides = record.get(source), record.get(target)
    for name, side in zip((source, target), sides, strict=True):
        if not isinstance(side, str):
            return Bad(f"no {name}" if side is None else f"{name} is not text", text)
    return str(sides[0]), str(sides[1])


def _numbers(source: str | None, target: str | None) -> tuple[int, int] | None:
    """Columns given by number, from 0 here; None if they are given by name."""
    given = (source or "1", target or "2")
    if not all(column.isdecimal() for column in given):
        return None
    if "0" in given:
        raise UserError("data.source, data.target: columns are counted from 1, got 0")
    return int(given[0]) - 1, int(given[1]) - 1


def _named(origin: object, header: Sequence[str], source: str | None, target: str | None) -> tuple[int, int]:
    """Columns given by name. Raises UserError: one is not in the header."""
    found = []
    for option, name in (("source", source or "source"), ("target", target or "target")):
        if name not in header:
            near = difflib.get_close_matches(name, header, 1)
            told = f"did you mean {near[0]}?" if near else f"name one of them with --data.{option}"
            raise UserError(f"{origin}: has no column {name!r}; its columns are {', '.join(header)}; {told}")
        found.append(header.index(name))
    return found[0], found[1]


def _pick(fields: Sequence[str], columns: tuple[int, int]) -> tuple[str, str] | None:
    return (fields[columns[0]], fields[columns[1]]) if max(columns) < len(fields) else None
