"""Reads the usable rows of a table, collects the lines that cannot be used, and reports both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from regard.data.columns import Bad, Header, Layout
from regard.data.lines import compose, shorten
from regard.data.table import open_table
from regard.errors import UserError

_SHOWN = 3
"""The number of bad lines that are reported."""

Values = tuple[Any, ...]


@dataclass(frozen=True)
class BadLine:
    """A line or row that cannot be used: its number from 1, the reason, its beginning, and what the number counts."""

    line: int
    reason: str
    text: str
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.unit} {self.line:,}: {self.reason}" + (f" ({self.text!r})" if self.text else "")


class Reading:
    """The usable rows of a table: iterate over it once; then it says what was read.

    Text is stripped, in Unicode's composed form (NFC), except in columns of the kind ``"raw"``. A row in which a
    required column is empty cannot be used, unless it may be blank.

    Args:
        path: see `regard.data.table.open_table`.
        layout: the columns.
        on_bad_line: whether lines that cannot be used are an error, after the last line, or are left out.
        check: returns the values to use for those of a row, or why the row cannot be used.
        option: the option that has ``on_bad_line``.

    Attributes:
        origin: the name of the table, for messages.
        count: the number of usable rows so far.
        bad: the first lines that cannot be used.
        bad_count: the number of all such lines.
        header: the names of the columns if the first line is a header; None if not, or if the columns were given.

    >>> import tempfile
    >>> from regard.data.columns import Column
    >>> text = Column("text", "data.text", number=1)
    >>> label = Column("label", "data.label", number=2, kind="label")
    >>> with tempfile.NamedTemporaryFile("w+", suffix=".csv") as file:
    ...     print("label,text", "good,It works.", "bad", sep="\\n", file=file, flush=True)
    ...     reading = Reading(file.name, Layout((text, label)), on_bad_line="skip")
    ...     print(list(reading), *reading.bad)
    [('It works.', 'good')] line 3: too few columns ('bad')
    """

    def __init__(
        self,
        path: str,
        layout: Layout,
        on_bad_line: Literal["error", "skip"] = "error",
        *,
        check: Callable[[Values], Values | str] | None = None,
        option: str = "data.on_bad_line",
    ):
        self.origin = path
        self.count = self.bad_count = 0
        self.bad: list[BadLine] = []
        self.header: Header | None = None
        self._layout, self._error, self._check = layout, on_bad_line == "error", check
        self._option = "--" + option.replace("_", "-")
        self._first: Values = ()
        self._unit, self._number = "line", 0
        raw = [column.kind == "raw" for column in layout.columns]
        self._raw = raw if any(raw) else None

    def __iter__(self) -> Iterator[Values]:
        """The values of each usable row, in the order of the columns; one that is absent is None.

        Raises:
            UserError: the table cannot be read, has no usable row, or has a bad line and that is an error.
        """
        check = self._check
        table = open_table(self.origin, self._layout)
        self._unit = table.unit
        for number, row in table.rows:
            if isinstance(row, Header):
                self.header = row
                continue
            if isinstance(row, Bad):
                self._add(number, row)
                continue
            cleaned = tuple([_clean(value) for value in row]) if self._raw is None else self._partly_cleaned(row)
            values = cleaned if all(cleaned) else self._without_empty(cleaned)
            if check is not None and not isinstance(values, str):
                values = check(values)
            if isinstance(values, str):
                self._add(number, Bad(values, " ".join([str(value) for value in row if value is not None])))
                continue
            if not self.count:
                self._first = values
            self.count += 1
            self._number = number
            yield values
        self._finish()

    def _partly_cleaned(self, row: Values) -> Values:
        """A row in which some columns are kept as they are."""
        assert self._raw is not None
        return tuple([value if raw else _clean(value) for value, raw in zip(row, self._raw, strict=True)])

    def _without_empty(self, values: Values) -> Values | str:
        for value, column in zip(values, self._layout.columns, strict=True):
            if value == "" and column.required and not column.blank:
                return f"empty {column.name}"
        return tuple([None if value == "" else value for value in values])

    def _add(self, number: int, bad: Bad) -> None:
        self.bad_count += 1
        if len(self.bad) < _SHOWN:
            self.bad.append(BadLine(number, bad.reason, shorten(bad.text), self._unit))

    def _finish(self) -> None:
        if self.bad_count and self._error:
            notice = (self.notice() or "").replace(" left out: ", " cannot be used: ")
            raise UserError(f"{notice}; correct them{self._advice()}")
        if not self.count:
            lines = f"; {'; '.join(map(str, self.bad))}" if self.bad else ""
            raise UserError(f"{self.origin}: no usable {self._layout.unit} in it{lines}")

    @property
    def place(self) -> str:
        """The line or row whose values came last, such as ``"line 3"``."""
        return f"{self._unit} {self._number:,}"

    def first(self) -> str:
        """A line with the first row, which shows wrong columns or a header among the rows."""
        values = " → ".join(repr(shorten(value)) if isinstance(value, str) else repr(value) for value in self._first)
        header = (
            "" if self.header is None else f"; columns {', '.join(map(repr, self.header.names))}, as line 1 names them"
        )
        count = f"{self.count:,} {self._layout.unit}{'' if self.count == 1 else 's'}"
        return f"{self.origin}: {count}, the first {values}{header}"

    def notice(self) -> str | None:
        """A line about the lines that were left out; None if there are none."""
        if not self.bad_count:
            return None
        more = ", …" if self.bad_count > len(self.bad) else ""
        total = self.bad_count + self.count
        bad = "; ".join(map(str, self.bad))
        return f"{self.origin}: {self.bad_count:,} of {total:,} {self._unit}s left out: {bad}{more}"

    def _advice(self) -> str:
        """What would work in place of correcting the bad lines, as the end of a sentence."""
        if self.count:
            return f", or leave them out with {self._option} skip"
        if any(line.reason == "too few columns" for line in self.bad):
            return f", or choose the columns with {self._layout.flags()}"
        return ""


def _clean(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_clean, value))
    return compose(value.strip()) if isinstance(value, str) else value
