"""Labelled files in a table: their content or their paths in one column, and their labels in another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regard.data.class_trees import Item, Kind, Source, read_tree
from regard.data.columns import Bad, Column, Header, Layout
from regard.data.file_trees import BadItem, Entries, find_file, is_archive, open_tree
from regard.data.label_cells import BadLabels, labels_of
from regard.data.lines import compose, shorten
from regard.data.table import open_table
from regard.errors import UserError

_LABELS = ("labels", "class", "category", "target")


def read_image_table(path: str, image: str | None, label: str | None) -> Source:
    """The images of a Parquet file or of ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face dataset.

    Args:
        path: the table; paths of image files in a Parquet file are relative to its folder.
        image: the column of the image; None: the one that has the type or a usual name of images.
        label: the column of the label, likewise.

    Raises:
        UserError: it cannot be read, or has no such columns.
    """
    usual = ("img", "picture", "photo")
    return read_file_table(
        path, Column("image", "data.image_column", image, usual=usual, kind="any", feature="Image"), label
    )


def read_tree_or_table(
    path: str,
    kind: Kind,
    content: Column,
    label: str | None,
    *,
    part: str | None,
    several: bool,
    keep_empty: bool,
    entries: Callable[[Path], Entries] = open_tree,
    read_cell: Callable[[Any], bytes | None] = lambda cell: None,
) -> Source:
    """Labelled files of a folder with a folder for each class, of an archive of it, or of a table.

    Args:
        path: the folder, archive or table, or ``"hf:NAME[:CONFIG][#SPLIT]"``.
        kind: of the files of a folder or archive; other files are left out.
        content: see `read_file_table`, as for the others below.
        label: the column of the label, which is the second in tables without a header.
        part: see `regard.data.class_trees.read_tree`, as for ``keep_empty``.
        several: whether a file can have several labels, or none, for which a table is needed.
        keep_empty: leave out folders without a file.
        entries: lists the files of a folder or archive.
        read_cell: see `read_file_table`.

    Raises:
        UserError: there is no such file, or it cannot be used.
    """
    place = Path(path)
    if not path.startswith("hf:"):
        if not place.exists():
            raise UserError(f"{path}: no such file or folder")
        if place.is_dir() or is_archive(place):
            if several:
                raise UserError(
                    f"{path}: a file in a folder of a class has one label; for --data.labels multi, name a table"
                )
            return read_tree(entries(place), path, kind, part=part, keep_empty=keep_empty)
    return read_file_table(path, content, label, number=2, several=several, read_cell=read_cell)


def read_file_table(
    path: str,
    content: Column,
    label: str | None,
    *,
    number: int | None = None,
    several: bool = False,
    read_cell: Callable[[Any], bytes | None] = lambda cell: None,
) -> Source:
    """The files of a table.

    Args:
        path: see `regard.data.table.open_table`; paths of files in a table are relative to its folder.
        content: the column of the file: its path, its bytes, or a record of both.
        label: the name of the column of the label; None: the one that has the type or a usual name of labels.
        number: the number of that column in tables without a header; None: it has to be named.
        several: whether a file can have several labels, or none.
        read_cell: the content of a file from a cell that has neither a path nor bytes; None: it has none.

    Raises:
        UserError: it cannot be read, or has no such columns.
    """
    column = Column(
        "label", "data.label_column", label, usual=_LABELS, kind="labels" if several else "label",
        feature="ClassLabel", number=number, blank=several,
    )  # fmt: skip
    table = open_table(path, Layout((content, column), content.name))
    folder = Path() if path.startswith("hf:") else Path(path).parent
    names = table.names
    notes = () if names is None else (f"{content.name} column {names[0]}, label column {names[1]}",)
    unit = "line" if names is None else "record"
    rows = ((number, row) for number, row in table.rows if not isinstance(row, Header))
    items = (_item(f"{path}: {unit} {number:,}", row, folder, content.name, several, read_cell) for number, row in rows)
    return Source(items, notes)


def _item(
    origin: str,
    row: Bad | tuple[Any, ...],
    folder: Path,
    unit: str,
    several: bool,
    read_cell: Callable[[Any], bytes | None],
) -> Item:
    if isinstance(row, Bad):
        return Item(origin, "", BadItem(row.reason))
    content, cell = row
    try:
        label = "|".join(labels_of(cell)) if several else str(cell or "").strip()
        if not label and not several:
            raise BadItem("empty label")
        own = read_cell(content)
        return Item(origin, compose(label), _content(content, folder, unit) if own is None else own)
    except BadLabels as error:
        return Item(origin, "", BadItem(str(error)))
    except BadItem as error:
        return Item(origin, "", error)


def _content(cell: Any, folder: Path, unit: str) -> bytes | str:
    """The bytes of a file from a cell of a table, or its path."""
    path, content = cell, cell
    if isinstance(cell, dict):
        path, content = cell.get("path"), cell.get("bytes")
    if isinstance(content, bytes):
        return content
    article = f"a{'n' if unit[0] in 'aeiou' else ''} {unit}"
    if isinstance(path, str) and path.strip():
        file = find_file(folder, path.strip(), os.path.exists)
        if file is None:
            raise BadItem(f"names the file {shorten(path.strip())}, which does not exist")
        return str(file)
    if path is None or path == "":
        raise BadItem(f"has no {unit}")
    raise BadItem(f"expected the bytes of {article} file, got {type(content).__name__}")
