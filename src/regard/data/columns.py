"""The columns that a reader needs of a table, and the rows that it gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from regard.errors import UserError

if TYPE_CHECKING:
    from regard.data.records import Records

_COUNTS = ("no", "one", "two", "three", "four", "five", "six")


@dataclass(frozen=True)
class Bad:
    """A line or a record that cannot be used: why, and its text."""

    reason: str
    text: str = ""


@dataclass(frozen=True)
class Header:
    """A first line that names the columns: its names of the columns that are read."""

    names: tuple[str, ...]


Row = tuple[Any, ...] | Bad | Header
"""A value for each column, in the order of `Layout.columns`."""


@dataclass(frozen=True)
class Column:
    """A column that a reader needs.

    Attributes:
        name: what it has, such as ``"source"``; also its name in a table.
        option: the option that names it, such as ``"data.source"``; empty: the user cannot name it.
        given: the name or, in files of lines, the number from 1 that the user gave; None: none.
        number: its number in files without a header; None: it has to be named, by the user or by a header.
        usual: further usual names. If there are any, upper and lower case, spaces, ``-`` and ``_`` make no difference.
        kind: ``"text"``; ``"raw"``, text that is kept as it is, neither stripped nor composed; ``"label"``, text or a
            whole number, which becomes text; ``"labels"``, in records also a list of labels, which becomes a tuple; or
            ``"any"``, a value as it is in the table, null included.
        required: whether the table must have it. Otherwise its value is None where it is absent, null or empty.
        blank: whether its cells may be empty or null, also if the table must have it; their value is then None.
        feature: the type in the datasets library by which it is recognized, such as ``"ClassLabel"``.
    """

    name: str
    option: str = ""
    given: str | int | None = None
    number: int | None = None
    usual: tuple[str, ...] = ()
    kind: Literal["text", "raw", "label", "labels", "any"] = "text"
    required: bool = True
    blank: bool = False
    feature: str = ""

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return "--" + self.option.replace("_", "-")

    @property
    def needed(self) -> bool:
        """Whether a table without the column is an error."""
        return self.required or self.given is not None


@dataclass(frozen=True)
class Layout:
    """The columns of a table, and how to recognize them.

    Attributes:
        columns: the columns.
        unit: what a row is, for messages: ``"pair"``.
        recognize: the indices of the columns in the fields of a first line, None for one that is absent; more or fewer
            than there are columns if the line is a header but ambiguous; None if it is not a header. By default, a line
            with usual names for all required columns is a header, and with those for some of them it is ambiguous.
        inner: for a record without the columns, the record in it that has them and their names there; None: there is
            none.
        separators: what can separate the fields of a line; the first one that is in the first line does.
        split: divides a line into its fields; None: by the separator.
        undivided: why a line of one field cannot be used, for ``split``.
        endings: of files with a row per line, as `regard.data.lines.bare_suffix` gives them.
        aligned: whether each column can be a file, one value per line, as ``"a,b"``.
        encoding: of files of lines and of CSV.
        json: reads a ``.json`` file as records; None: such files are not read.

    Raises:
        UserError: two columns would be the same.
    """

    columns: tuple[Column, ...]
    unit: str = "row"
    recognize: Callable[[Sequence[str]], Sequence[int | None] | None] | None = None
    inner: Callable[[dict[str, Any]], tuple[dict[str, Any], tuple[str, ...]] | None] | None = None
    separators: tuple[str, ...] = ("\t",)
    split: Callable[[str], list[str]] | None = None
    undivided: str = "too few columns"
    endings: tuple[str, ...] = (".tsv", ".txt")
    aligned: bool = False
    encoding: str = "utf-8"
    json: Callable[[Path], Records] | None = None

    def __post_init__(self) -> None:
        needed = [column for column in self.columns if column.needed]
        for default in ("number", "name"):
            first: dict[str, Column] = {}
            for column in needed:
                name = str(getattr(column, default) if column.given is None else column.given)
                other = first.setdefault(name, column)
                if other is not column and name != "None":
                    raise UserError(
                        f"{other.option}, {column.option}: both would be column {name}; name {count(2)} columns"
                    )

    @property
    def given(self) -> bool:
        """Whether the user chose a column."""
        return any(column.given is not None for column in self.columns)

    @property
    def unit_with_article(self) -> str:
        """``"a pair"``, ``"an image"``."""
        return f"a{'n' if self.unit[0] in 'aeiou' else ''} {self.unit}"

    def flags(self) -> str:
        """The options that choose the columns, as a list in a sentence."""
        return listed([column.flag for column in self.columns if column.option])


def count(number: int) -> str:
    """A number in words.

    >>> count(2), count(9)
    ('two', '9')
    """
    return _COUNTS[number] if number < len(_COUNTS) else str(number)


def listed(words: Sequence[str]) -> str:
    """``words`` as a list in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
