"""Labelled images in a table, Parquet or a Hugging Face dataset: the columns of the image and its label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regard.data.class_trees import Item, Source
from regard.data.columns import Bad, Column, Header, Layout, Row
from regard.data.file_trees import BadItem
from regard.data.table import open_table


def read_image_table(path: str, image: str | None, label: str | None) -> Source:
    """The images of a Parquet file or of ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face dataset.

    Args:
        path: the table; paths of image files in a Parquet file are relative to its folder.
        image: the column of the image; None: the one that has the type or a usual name of images.
        label: the column of the label, likewise.

    Raises:
        UserError: it cannot be read, or has no such columns.
    """
    usual = ("img", "picture", "photo"), ("labels", "class", "category", "target")
    columns = (
        Column("image", "data.image_column", image, usual=usual[0], kind="any", feature="Image"),
        Column("label", "data.label_column", label, usual=usual[1], kind="label", feature="ClassLabel"),
    )
    table = open_table(path, Layout(columns, "image"))
    assert table.names is not None
    folder = Path() if path.startswith("hf:") else Path(path).parent
    note = f"image column {table.names[0]}, label column {table.names[1]}"
    return Source((_item(f"{path}: record {number:,}", row, folder) for number, row in table.rows), (note,))


def _item(origin: str, row: Row, folder: Path) -> Item:
    assert not isinstance(row, Header)
    if isinstance(row, Bad):
        return Item(origin, "", BadItem(row.reason))
    image, label = row
    try:
        return Item(origin, label, _content(image, folder))
    except BadItem as error:
        return Item(origin, "", error)


def _content(image: Any, folder: Path) -> bytes:
    """The bytes of an image file from a cell of a table."""
    path = image
    if isinstance(image, dict):
        path, image = image.get("path"), image.get("bytes")
    if isinstance(image, bytes):
        return image
    if isinstance(path, str):
        if not (folder / path).is_file():
            raise BadItem(f"names the file {path}, which does not exist")
        return (folder / path).read_bytes()
    if path is None:
        raise BadItem("has no image")
    raise BadItem(f"expected the bytes of an image file, got {type(image).__name__}")
