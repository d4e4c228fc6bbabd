"""Parallel text from a user's files: TSV, CSV, JSONL, Parquet, two aligned files, or a Hugging Face dataset."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from regard.data import headers
from regard.data.columns import Column, Layout
from regard.data.corpus import Store
from regard.data.pairs import Pairs
from regard.data.progress import progress
from regard.data.reading import Reading
from regard.data.stored import read_once
from regard.data.table import files_of


@dataclass(frozen=True)
class ParallelText:
    """The pairs of a file, and what was read.

    Attributes:
        pairs: source and target sides, stripped, in Unicode's composed form (NFC).
        reading: the number of pairs, and the lines that could not be used.
    """

    pairs: Sequence[tuple[str, str]]
    reading: Reading


def read_parallel(
    path: str,
    *,
    source: str | int | None = None,
    target: str | int | None = None,
    on_bad_line: Literal["error", "skip"] = "error",
) -> ParallelText:
    """Read parallel text.

    Args:
        path: a file, with its format as suffix (`.tsv`, `.txt`, `.csv`, `.jsonl`, `.parquet`; all but Parquet also
            with `.gz` or `.xz`); two aligned files as ``"train.en,train.fr"``, one sentence per line; or
            ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face dataset; the default split is ``train``.
        source: the column of the source side, by name, or for TSV and CSV by number from 1. The default is the first
            column, or the one named in a first line with usual names (``source``, ``src``, ``en``, ``English``); in
            records, ``source``, or the first language of a ``translation``.
        target: likewise.
        on_bad_line: what to do with lines that lack a column, have an empty side, or are not UTF-8.

    Raises:
        UserError: the file is missing, empty or of unknown format, a column is missing or is used for both sides, two
            aligned files differ in length, there is no usable pair, or, with ``on_bad_line="error"``, a line is bad.
    """
    reading = Reading(path, _layout(source, target), on_bad_line)
    return ParallelText([(one, other) for one, other in reading], reading)


def open_parallel(
    path: str,
    *,
    source: str | int | None = None,
    target: str | int | None = None,
    on_bad_line: Literal["error", "skip"] = "error",
) -> tuple[Pairs, list[str]]:
    """The pairs that `read_parallel` reads, which need not fit into memory, and lines that describe what was read.

    The pairs of large files are kept in the cache: see `regard.data.stored.read_once`.
    """

    def read(store: Store) -> list[str]:
        reading = Reading(path, _layout(source, target), on_bad_line)
        with progress("reading pairs") as advance:
            for sides in reading:
                for side in sides:
                    advance(store.add(side, True))
        return [line for line in (reading.notice(), reading.first()) if line is not None]

    documents, lines = read_once(files_of(path), read, "pairs", path, source, target, on_bad_line)
    return Pairs.alternating(documents), lines


def _layout(source: str | int | None, target: str | int | None) -> Layout:
    columns = Column("source", "data.source", source, 1), Column("target", "data.target", target, 2)

    @functools.lru_cache(1000)
    def languages(names: tuple[str, ...]) -> tuple[str, ...]:
        """The languages of both sides; of a side that is not given, the next other one."""
        others = (name for name in names if name not in (str(source), str(target)))
        return tuple(next(others, column.name) if column.given is None else str(column.given) for column in columns)

    def inner(record: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]] | None:
        """The translations of a record of OPUS or WMT, and the languages of both sides."""
        translation = record.get("translation")
        if not isinstance(translation, dict):
            return None
        return translation, languages(tuple(translation))

    return Layout(columns, "pair", recognize=_header, inner=inner, aligned=True)


def _header(fields: Sequence[str]) -> Sequence[int] | None:
    if fields.count("source") == fields.count("target") == 1:
        return fields.index("source"), fields.index("target")
    return headers.sides(fields) or None
