"""Opens a table in any format: TSV, CSV, JSONL, Parquet, aligned files, or a Hugging Face dataset."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.data.cells import record_rows
from regard.data.columns import Bad, Layout, Row, count
from regard.data.delimited import csv_rows, line_rows
from regard.data.lines import bare_suffix, check_file, read_lines
from regard.data.records import JSON_ENDINGS, check_json_lines, open_records
from regard.errors import UserError

_END: Any = object()
"""In place of the lines of a file that has ended."""


@dataclass(frozen=True)
class Table:
    """The rows of a table, read one after the other.

    Attributes:
        rows: the number of each line or row from 1, and its columns, why it cannot be used, or the names of the
            columns in a first line.
        names: the names of the columns that are read, None for one that is absent; None if they are not known before
            the rows are read.
        unit: what the numbers count, such as ``"line"``.
    """

    rows: Iterator[tuple[int, Row]]
    names: Sequence[str | None] | None = None
    unit: str = "line"


def open_table(path: str, layout: Layout) -> Table:
    """Open a table.

    Args:
        path: a file, with its format as suffix (those of the layout with a row per line, `.csv`, `.jsonl`, which
            may be named `.json`, `.parquet`; all but Parquet also with `.gz` or `.xz`); if the layout permits it, a
            file for each column as ``"train.en,train.fr"``; or ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face dataset;
            the default split is ``train``.
        layout: the columns to read.

    Raises:
        UserError: also while the rows are read: the file is missing, empty, of unknown format or cannot be read, a
            column is missing, or aligned files differ in length.
    """
    if path.startswith("hf:"):
        return _of_records(path, layout)
    files = files_of(path) if layout.aligned else [Path(path)]
    if len(files) > 1:
        if len(files) != len(layout.columns):
            example = ",".join(("first", "second", "third", "fourth")[: len(layout.columns)])
            raise UserError(
                f"{path}: expected one file, or {count(len(layout.columns))} aligned files as {example}; "
                f"got {len(files)} names"
            )
        return Table(_aligned(files))
    file = files[0]
    check_file(file)
    suffix = bare_suffix(file)
    if suffix in layout.endings:
        return Table(line_rows(file, layout))
    if suffix == ".csv":
        return Table(csv_rows(file, layout))
    if suffix == ".json" and layout.json is not None:
        return Table(record_rows(layout.json(file), layout)[1], unit=layout.unit)
    if suffix == ".json":
        check_json_lines(file)
    if suffix in (".json", *JSON_ENDINGS, ".parquet"):
        return _of_records(path, layout)
    known = ", ".join((*layout.endings, ".csv", ".json", *JSON_ENDINGS, ".parquet"))
    if layout.aligned:
        letters = ",".join("abcdef"[: len(layout.columns)])
        known += f", or {count(len(layout.columns))} aligned files as {letters}"
    raise UserError(f"{path}: unknown ending {suffix or '(none)'}; expected {known}")


def files_of(path: str) -> list[Path]:
    """The files of ``path``, several if they are aligned as ``"a,b"``; none for a Hugging Face dataset.

    >>> [str(file) for file in files_of("train.en, train.fr")]
    ['train.en', 'train.fr']
    """
    if path.startswith("hf:"):
        return []
    if Path(path).exists() or "," not in path:
        return [Path(path)]
    return [Path(name.strip()) for name in path.split(",")]


def _of_records(path: str, layout: Layout) -> Table:
    names, rows = record_rows(open_records(path), layout)
    return Table(rows, names, "line" if bare_suffix(Path(path)) in (".json", *JSON_ENDINGS) else "row")


def _aligned(paths: Sequence[Path]) -> Iterator[tuple[int, Row]]:
    """The lines of files of the same length, side by side."""
    counts = [0] * len(paths)
    for number, lines in enumerate(itertools.zip_longest(*map(read_lines, paths), fillvalue=_END), 1):
        counts = [length + (line is not _END) for length, line in zip(counts, lines, strict=True)]
        if min(counts) != max(counts):
            continue  # the lines that are left are only counted
        wrong = [path for path, line in zip(paths, lines, strict=True) if line is None]
        yield number, Bad(f"not UTF-8 in {wrong[0]}") if wrong else lines
    if min(counts) != max(counts):
        rest = ", ".join(f"{path} {length:,}" for path, length in zip(paths[1:], counts[1:], strict=True))
        raise UserError(f"{paths[0]} has {counts[0]:,} lines, {rest}: aligned files must have the same number")
