"""Parallel text from a user's files: TSV, CSV, JSONL, Parquet, two aligned files, or a Hugging Face dataset."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from regard.data import formats
from regard.data.formats import Bad, Header, Row
from regard.data.lines import bare_suffix, check_file, compose, read_lines
from regard.data.pairs import Pairs, PairStore
from regard.errors import UserError

_SHOWN = 3
"""The number of bad lines that are reported."""

_END: Any = object()
"""In place of the lines of a file that has ended."""


@dataclass(frozen=True)
class BadLine:
    """A line that cannot be used: its number from 1, the reason, and its beginning."""

    line: int
    reason: str
    text: str

    def __str__(self) -> str:
        return f"line {self.line:,}: {self.reason}" + (f" ({self.text!r})" if self.text else "")


@dataclass(frozen=True)
class ParallelText:
    """The pairs of a file, and the lines that could not be used.

    Attributes:
        pairs: source and target sides, stripped, in Unicode's composed form (NFC).
        bad: the first lines that cannot be used.
        bad_count: the number of all such lines.
        origin: the file's name, for messages.
        header: the names of the two columns if the first line is a header; None if not, or if the columns were given.
    """

    pairs: Sequence[tuple[str, str]]
    bad: list[BadLine]
    bad_count: int
    origin: str
    header: Header | None = None

    def first(self) -> str:
        """A line with the first pair, which shows wrong columns or a header among the pairs."""
        sides = " → ".join(repr(_shorten(side)) for side in self.pairs[0])
        header = "" if self.header is None else f"; columns {', '.join(map(repr, self.header))}, as line 1 names them"
        count = "1 pair" if len(self.pairs) == 1 else f"{len(self.pairs):,} pairs"
        return f"{self.origin}: {count}, the first {sides}{header}"

    def notice(self) -> str | None:
        """A line about the lines that were left out; None if there are none."""
        if not self.bad_count:
            return None
        more = ", …" if self.bad_count > len(self.bad) else ""
        total = self.bad_count + len(self.pairs)
        return f"{self.origin}: {self.bad_count:,} of {total:,} lines left out: {'; '.join(map(str, self.bad))}{more}"


def read_parallel(
    path: str, *, source: str | None = None, target: str | None = None, on_bad_line: Literal["error", "skip"] = "error"
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
    pairs: list[tuple[str, str]] = []
    return _read(path, source, target, on_bad_line, lambda *sides: pairs.append(sides), lambda: pairs)


def open_parallel(
    path: str, *, source: str | None = None, target: str | None = None, on_bad_line: Literal["error", "skip"] = "error"
) -> tuple[Pairs, ParallelText]:
    """The text that `read_parallel` reads, with pairs that need not fit into memory: see `PairStore`."""
    store = PairStore()
    text = _read(path, source, target, on_bad_line, store.add, store.pairs)
    assert isinstance(text.pairs, Pairs)
    return text.pairs, text


def _read(
    path: str,
    source: str | None,
    target: str | None,
    on_bad_line: Literal["error", "skip"],
    add: Callable[[str, str], None],
    added: Callable[[], Sequence[tuple[str, str]]],
) -> ParallelText:
    for first, second in (("1", "2"), ("source", "target")):
        if (source or first) == (target or second):
            raise UserError(f"data.source, data.target: both would be column {source or first}; name two columns")
    bad: list[BadLine] = []
    count, header = 0, None
    for number, row in _rows(path, source, target):
        if isinstance(row, Header):
            header = row
            continue
        sides = tuple(compose(side.strip()) for side in row) if not isinstance(row, Bad) else ()
        if sides and all(sides):
            add(sides[0], sides[1])
            continue
        count += 1
        if len(bad) < _SHOWN:
            problem = row if isinstance(row, Bad) else Bad(f"empty {'target' if sides[0] else 'source'}", " ".join(row))
            bad.append(BadLine(number, problem.reason, _shorten(problem.text)))
    text = ParallelText(added(), bad, count, path, header)
    if count and on_bad_line == "error":
        notice = (text.notice() or "").replace(" left out: ", " cannot be used: ")
        raise UserError(f"{notice}; correct them{_advice(text)}")
    if not text.pairs:
        raise UserError(f"{path}: no usable pair in it" + (f"; {'; '.join(map(str, bad))}" if bad else ""))
    return text


def _rows(path: str, source: str | None, target: str | None) -> Iterator[tuple[int, Row]]:
    if path.startswith("hf:"):
        return formats.hub(path.removeprefix("hf:"), source, target)
    file = Path(path)
    if not file.exists() and "," in path:
        names = [Path(name.strip()) for name in path.split(",")]
        if len(names) != 2:
            raise UserError(f"{path}: expected one file, or two aligned files as first,second; got {len(names)} names")
        return _aligned(*names)
    check_file(file)
    suffix = bare_suffix(file)
    if suffix not in formats.BY_SUFFIX:
        known = ", ".join(formats.BY_SUFFIX)
        raise UserError(f"{path}: unknown ending {suffix or '(none)'}; expected {known}, or two aligned files as a,b")
    return formats.BY_SUFFIX[suffix](file, source, target)


def _aligned(first: Path, second: Path) -> Iterator[tuple[int, Row]]:
    counts = [0, 0]
    for number, sides in enumerate(itertools.zip_longest(*map(read_lines, (first, second)), fillvalue=_END), 1):
        counts = [count + (side is not _END) for count, side in zip(counts, sides, strict=True)]
        if counts[0] != counts[1]:
            continue  # the lines that are left are only counted
        one, other = sides
        if one is None or other is None:
            yield number, Bad(f"not UTF-8 in {first if one is None else second}", "")
        else:
            yield number, (one, other)
    if counts[0] != counts[1]:
        raise UserError(
            f"{first} has {counts[0]:,} lines, {second} {counts[1]:,}: aligned files must have the same number"
        )


def _advice(text: ParallelText) -> str:
    """What would work in place of correcting the bad lines, as the end of a sentence."""
    if text.pairs:
        return ", or leave them out with --data.on-bad-line skip"
    if any(line.reason == "too few columns" for line in text.bad):
        return ", or choose the columns with --data.source and --data.target"
    return ""


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
