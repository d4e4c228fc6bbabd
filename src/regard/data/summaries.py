"""Texts with short texts about them, such as summaries: from tables, two aligned files, or a folder of ``.subject``
files. A text with several short ones is several pairs with the same source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from regard.data.columns import Column, Layout
from regard.data.corpus import Store
from regard.data.lines import compose
from regard.data.pairs import Pairs
from regard.data.progress import progress
from regard.data.reading import Reading
from regard.data.stored import read_once
from regard.data.table import files_of
from regard.errors import UserError

_SOURCES = ("source", "document", "article", "text", "body", "dialogue", "content", "input", "src")
_TARGETS = ("target", "summary", "highlights", "headline", "subject", "title", "abstract", "output", "tgt")

_SECTION = re.compile(r"^@(\w+)[ \t]*$", re.MULTILINE)
"""The line before a short text in a ``.subject`` file: ``@subject``, or ``@ann0`` for that of an annotator."""

_SHOWN = 3


def open_summaries(
    path: str,
    *,
    source: str | int | None = None,
    target: str | int | None = None,
    on_bad_line: Literal["error", "skip"] = "error",
) -> tuple[Pairs, list[str]]:
    """The pairs of a text and a short text, and lines that describe what was read.

    Args:
        path: a file, with its format as suffix (`.tsv`, `.txt`, `.csv`, `.jsonl`, `.parquet`; all but Parquet also with
            `.gz` or `.xz`); two aligned files as ``"texts.txt,summaries.txt"``; a folder of ``.subject`` files, as
            those of AESLC: a text, then ``@subject`` on a line and a short text, and perhaps more such; or
            ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face dataset.
        source: the column of the texts, by name, or for TSV and CSV by number from 1. The default is the one with a
            usual name, such as ``document``, ``article`` or ``text``, and in files without a header the first.
        target: the column of the short texts, likewise: ``summary``, ``highlights``, ``headline``, ``title``, …; the
            second. In records, its value may be a list of several texts.
        on_bad_line: what to do with lines, or files of a folder, that cannot be used.

    Raises:
        UserError: the file is missing, empty or of unknown format, a column is missing, two aligned files differ in
            length, there is no usable pair, or, with ``on_bad_line="error"``, a line is bad.
    """
    if Path(path).is_dir():
        return _open_folder(Path(path), on_bad_line)

    def read(store: Store) -> list[str]:
        reading = Reading(path, _layout(source, target), on_bad_line)
        with progress("reading pairs") as advance:
            for text, short in reading:
                for one in (short,) if isinstance(short, str) else filter(None, short):
                    advance(store.add(text, True) + store.add(one, True))
        return [line for line in (reading.notice(), reading.first()) if line is not None]

    documents, lines = read_once(files_of(path), read, "pairs", "summaries", path, source, target, on_bad_line)
    return Pairs.alternating(documents), lines


def _layout(source: str | int | None, target: str | int | None) -> Layout:
    columns = (
        Column("source", "data.source", source, 1, usual=_SOURCES[1:]),
        Column("target", "data.target", target, 2, usual=_TARGETS[1:], kind="labels"),
    )
    return Layout(columns, "pair", aligned=True)


def _open_folder(folder: Path, on_bad_line: Literal["error", "skip"]) -> tuple[Pairs, list[str]]:
    """The pairs of the ``.subject`` files in and below a folder, in the order of their names."""
    files = sorted(folder.rglob("*.subject"))
    if not files:
        raise UserError(f"{folder}: no .subject files in it; name a folder of them, or a file")

    def read(store: Store) -> list[str]:
        bad: list[str] = []
        count = 0
        for path in files:
            pairs = list(_pairs_of(path))
            if not pairs:
                bad.append(f"{path.relative_to(folder)}: no text, or no text after a line @subject")
            for pair in pairs:
                count += 1
                for side in pair:
                    store.add(side, True)
        return [*_notice(folder, bad, len(files), on_bad_line), f"{folder}: {count:,} pairs in {len(files):,} files"]

    documents, lines = read_once(files, read, "pairs", "summaries", str(folder), on_bad_line)
    if not len(documents):
        raise UserError(f"{folder}: no usable pair in its {len(files):,} .subject files")
    return Pairs.alternating(documents), lines


def _pairs_of(path: Path) -> Iterator[tuple[str, str]]:
    """The text of a file with each of its short texts; bytes that are not UTF-8 become U+FFFD."""
    try:
        content = path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    text, *sections = _SECTION.split(content)
    for short in sections[1::2]:
        pair = compose(text.strip()), compose(short.strip())
        if all(pair):
            yield pair


def _notice(folder: Path, bad: Sequence[str], count: int, on_bad_line: Literal["error", "skip"]) -> list[str]:
    """A line about the files that were left out. Raises UserError: there are some, and that is an error."""
    if not bad:
        return []
    names = "; ".join(bad[:_SHOWN]) + (", …" if len(bad) > _SHOWN else "")
    files = f"{folder}: {len(bad):,} of {count:,} files"
    if on_bad_line == "error":
        advice = "correct them, or leave them out with --data.on-bad-line skip"
        raise UserError(f"{files} cannot be used: {names}; {advice}")
    return [f"{files} left out: {names}"]
