"""Reads histories from lines of users or from pairs of user and item, and titles of items."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from regard.data.column_places import locate
from regard.data.columns import Column, Layout
from regard.data.histories import Histories, histories_of, sorted_names
from regard.data.lines import bare_suffix, encoding_of, read_lines
from regard.data.reading import Reading, Values
from regard.errors import UserError

Form = Literal["auto", "lines", "pairs"]

_ENDINGS = (".txt", ".tsv", ".dat", ".data", ".inter", ".item")
_SEPARATORS = ("\t", "::", " ")
_USERS = ("user_id", "userid", "user_id:token", "uid", "reviewer_id", "reviewerid", "session_id", "sessionid",
          "session_id:token", "customer_id")  # fmt: skip
_ITEMS = ("item_id", "itemid", "item_id:token", "movie_id", "movieid", "product_id", "productid", "asin",
          "parent_asin", "artist_id", "business_id", "isbn")  # fmt: skip
_RATINGS = ("rating:float", "overall", "stars", "score", "book_rating")
_TIMES = ("timestamp", "timestamp:float", "datetime", "date", "unix_review_time", "unixreviewtime", "unix time")
_TITLES = ("name", "title:token_seq", "movie_title:token_seq", "item_name", "product_name", "description")


@dataclass(frozen=True)
class HistoryColumns:
    """The columns of pairs: names, or numbers from 1; None: a usual name or place."""

    user: str | int | None = None
    item: str | int | None = None
    rating: str | int | None = None
    time: str | int | None = None


def read_histories(
    path: str,
    columns: HistoryColumns = HistoryColumns(),
    *,
    form: Form = "auto",
    min_rating: float | None = None,
    on_bad_line: Literal["error", "skip"] = "error",
) -> tuple[Histories, list[str]]:
    """Read histories.

    Args:
        path: lines of users or pairs in a text file (``.txt``, ``.tsv``, ``.dat``, ``.data``, with tabs, ``::`` or
            spaces), or pairs in ``.csv``, ``.jsonl``, ``.parquet``, RecBole's ``.inter``, or ``"hf:NAME"``; all but
            Parquet also ``.gz`` or ``.xz``.
        columns: those of pairs.
        form: ``"lines"``: a user and the items in the order of time; ``"pairs"``: a user, an item, and perhaps a rating
            and a time; ``"auto"``: pairs, unless the lines of a text file have no header, and have different numbers of
            fields, or more than four, or no user has several lines.
        min_rating: pairs with a lower rating are left out.
        on_bad_line: whether a line that cannot be used is an error, or is left out.

    Returns:
        The histories, and messages about what was read.

    Raises:
        UserError: the file cannot be read, or has a bad line and that is an error.
    """
    encoding = _encoding(path)
    if form == "auto":
        text = not path.startswith("hf:") and bare_suffix(Path(path)) in (".txt", ".tsv", ".dat", ".data")
        if text and columns == HistoryColumns() and _has_user_lines(Path(path), encoding.name):
            return _read_lines(path, encoding, on_bad_line, detected=True)
    if form == "lines":
        return _read_lines(path, encoding, on_bad_line)
    return _read_pairs(path, encoding, columns, min_rating, on_bad_line)


def read_titles(path: str, on_bad_line: Literal["error", "skip"] = "error") -> tuple[dict[str, str], list[str]]:
    """Item → title, of a table with both: TSV, CSV, JSONL, Parquet, ``::``, or RecBole's ``.item``; and messages.

    Raises:
        UserError: the file cannot be read, or has a bad line and that is an error.
    """
    layout = Layout(
        (
            Column("item", "data.titles", number=1, usual=_ITEMS, kind="label"),
            Column("title", "data.titles", number=2, usual=_TITLES, kind="label"),
        ),
        unit="title", endings=_ENDINGS, separators=("\t", "::"),
    )  # fmt: skip
    # A header names both columns; a first line with one of these words can be a title.
    own = replace(layout, recognize=lambda fields: None if None in (places := _places(fields, layout)) else places)
    encoding = _encoding(path)
    reading = Reading(path, replace(own, encoding=encoding.name), on_bad_line)
    return dict(reading), list(filter(None, (reading.notice(), encoding.note)))


class _Encoding(NamedTuple):
    """The encoding of a file, and a message if it is not UTF-8."""

    name: str
    note: str | None = None


def _encoding(path: str) -> _Encoding:
    """The encoding of a file of lines, which is read for it: old data sets are often in Latin-1."""
    if path.startswith("hf:") or bare_suffix(Path(path)) not in (*_ENDINGS, ".csv"):
        return _Encoding("utf-8")
    name = encoding_of(Path(path))
    return _Encoding(name, None if name == "utf-8" else f"{path}: is not UTF-8, and was read as Windows-1252 (Latin-1)")


def _places(fields: Sequence[str], layout: Layout) -> list[int | None]:
    """The indices of the columns with usual names, None for one that is not there."""
    return [None if name is None else fields.index(name) for name in locate(fields, layout)]


def _has_user_lines(path: Path, encoding: str) -> bool:
    """Whether a text file has a line for each user, and not pairs."""
    users, widths = set[str](), set[int]()
    for line in read_lines(path, encoding=encoding):
        fields = _fields(line or "")
        if not fields:
            continue
        if not widths and None not in _places(fields, _pairs_layout(HistoryColumns()))[:2]:
            return False
        widths.add(len(fields))
        if len(widths) > 1 and max(widths) > 4:
            return True
        if fields[0] in users and max(widths) <= 4:
            return False
        users.add(fields[0])
    return bool(widths) and max(widths) != 1


def _fields(line: str) -> list[str]:
    mark = next((mark for mark in _SEPARATORS if mark in line), " ")
    return line.split() if mark == " " else [part for part in (part.strip() for part in line.split(mark)) if part]


def _read_lines(
    path: str, encoding: _Encoding, on_bad_line: Literal["error", "skip"], *, detected: bool = False
) -> tuple[Histories, list[str]]:
    """Histories of lines of users; ``detected``: nobody has said that the lines are those of users."""
    columns = Column("user", "data.user", number=1, kind="raw"), Column("items", "data.item", number=2, kind="raw")
    layout = Layout(
        columns, unit="user", endings=_ENDINGS, recognize=lambda fields: None, undivided="no items after the user",
        encoding=encoding.name,
        split=lambda line: [f[0], "\t".join(f[1:])] if len(f := _fields(line)) > 1 else f or [""],
    )  # fmt: skip
    seen, again = set[str](), 0

    def check(values: Values) -> Values | str:
        nonlocal again
        if values[0] in seen:
            again += 1
            return "a second line of the same user"
        seen.add(values[0])
        return values

    reading = Reading(path, layout, on_bad_line, check=check)
    advice = "if a line is a pair of user and item, with more columns, read it with --data.form pairs"
    try:
        histories = histories_of((user, items.split("\t")) for user, items in reading)
    except UserError as error:
        raise UserError(f"{error}; {advice}") if detected and again else error from error
    if detected and again > len(seen):
        raise UserError(f"{path}: {again:,} lines are second ones of the {len(seen):,} users; {advice}, or confirm "
                        "that they are to be left out with --data.form lines")  # fmt: skip
    return histories, _notes(reading, "a line for each user", histories, encoding.note)


@dataclass
class _Lacking:
    """The rows that lack a value which others have."""

    name: str
    first: str = ""
    count: int = 0

    def add(self, place: str) -> None:
        self.first = self.first or place
        self.count += 1

    def note(self, path: str, on_bad_line: Literal["error", "skip"]) -> str:
        """The message that they are left out. Raises UserError: they are an error."""
        if on_bad_line == "skip":
            return f"{path}: pairs without a {self.name} left out: {self.count:,}, the first in {self.first}"
        raise UserError(f"{path}: {self.first}: no {self.name}, which other lines have ({self.count:,} have none); "
                        "correct such lines, or leave them out with --data.on-bad-line skip")  # fmt: skip


def _read_pairs(
    path: str,
    encoding: _Encoding,
    columns: HistoryColumns,
    min_rating: float | None,
    on_bad_line: Literal["error", "skip"],
) -> tuple[Histories, list[str]]:
    reading = Reading(path, replace(_pairs_layout(columns), encoding=encoding.name), on_bad_line, check=_checked)
    users, items = dict[str, int](), dict[str, int]()
    owner, chosen, times, low = array("q"), array("q"), array("d"), 0
    unrated, untimed = _Lacking("rating"), _Lacking("time")
    for user, item, rating, time in reading:
        if min_rating is not None:
            if rating is None:
                unrated.add(reading.place)
                continue
            if rating < min_rating:
                low += 1
                continue
        if time is None:
            untimed.add(reading.place)
        owner.append(users.setdefault(user, len(users)))
        chosen.append(items.setdefault(item, len(items)))
        times.append(np.nan if time is None else time)
    if unrated.count == reading.count:
        raise UserError(f"data.min_rating: {path} has no ratings; name their column with --data.rating")
    notes = [encoding.note, unrated.note(path, on_bad_line) if unrated.count else None]
    if not owner:
        raise UserError(f"data.min_rating: no rating in {path} is at least {min_rating}")
    timed = untimed.count < len(owner)
    histories = _of_pairs(list(users), items, np.array(owner), np.array(chosen), np.array(times))
    if not timed:
        histories = replace(histories, times=None)
    elif untimed.count:
        notes.append(untimed.note(path, on_bad_line))
        assert histories.times is not None
        histories = histories.where(~np.isnan(histories.times)).renumbered()
    if low:
        notes.append(f"{path}: {low:,} pairs with a rating below {min_rating} left out")
    how = "by their times" if timed else "in the order of the file"
    return histories, _notes(reading, f"pairs, {how}", histories, *notes)


def _of_pairs(
    users: Sequence[str], items: Mapping[str, int], owners: np.ndarray, chosen: np.ndarray, times: np.ndarray
) -> Histories:
    order = np.lexsort((times, owners))  # stable: of equal times, the order of the file
    bounds = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(users)))])
    return sorted_names(users, items, chosen[order], bounds, times[order])


def _pairs_layout(columns: HistoryColumns) -> Layout:
    return Layout(
        (
            Column("user", "data.user", columns.user, 1, _USERS, "label"),
            Column("item", "data.item", columns.item, 2, _ITEMS, "label"),
            Column("rating", "data.rating", columns.rating, 3, _RATINGS, "any", required=False),
            Column("time", "data.time", columns.time, 4, _TIMES, "any", required=False),
        ),
        unit="pair", endings=_ENDINGS, separators=_SEPARATORS, split=_fields_of_pair,
        undivided="expected a user and an item",
    )  # fmt: skip


def _fields_of_pair(line: str) -> list[str]:
    """The fields of a line; those between tabs may be empty."""
    return [field.strip() for field in line.split("\t")] if "\t" in line else _fields(line) or [""]


def _checked(values: Values) -> Values | str:
    """A row with numbers for rating and time, or why it cannot be used."""
    user, item, rating, time = values
    if rating is not None:
        try:
            rating = float(rating)
        except (TypeError, ValueError):
            return f"the rating {rating!r} is not a number"
    if time is not None:
        time = _seconds(time)
        if time is None:
            return f"the time {values[3]!r} is neither a number nor a date"
    return user, item, rating, time


def _seconds(time: Any) -> float | None:
    """A time in seconds; None: it is not one."""
    if isinstance(time, str):
        try:
            return _finite(float(time))
        except ValueError:
            try:
                time = datetime.fromisoformat(time)
            except ValueError:
                return None
    if isinstance(time, datetime):
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return _finite(float(time)) if isinstance(time, int | float) else None


def _finite(number: float) -> float | None:
    return number if np.isfinite(number) else None


def _notes(reading: Reading, form: str, histories: Histories, *others: str | None) -> list[str]:
    described = f"{reading.origin}: {form}: {histories.describe()}"
    return list(filter(None, (described, reading.first(), reading.notice(), *others)))
