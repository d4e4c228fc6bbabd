"""Labelled images in a table, Parquet or a Hugging Face dataset: the columns of the image and its label."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from regard.data.formats import Bad, hub_dataset, parquet_rows
from regard.data.image_files import BadImage
from regard.data.image_trees import Item, Source
from regard.errors import UserError, require

_IMAGES = ("image", "img", "picture", "photo")
_LABELS = ("label", "labels", "class", "category", "target")

Features = Mapping[str, Any]
"""Column → its type in the datasets library, such as ``{"_type": "ClassLabel", "names": […]}``."""


def read_parquet(path: Path, image: str | None, label: str | None) -> Source:
    """The images of a Parquet file. Raises UserError: it is not Parquet, or has no such columns."""
    parquet: Any = require("pyarrow.parquet", "parquet", "reading Parquet")
    arrow: Any = require("pyarrow", "parquet", "reading Parquet")
    try:
        schema = parquet.read_schema(path)
    except (arrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not readable as Parquet ({str(error).splitlines()[0]})") from error
    kept = (schema.metadata or {}).get(b"huggingface")  # the datasets library writes its features there
    features = json.loads(kept).get("info", {}).get("features", {}) if kept else {}
    columns = _columns(schema.names, features, str(path), image, label)
    return Source(_items(parquet_rows(path), str(path), columns, features, path.parent), (_note(columns),))


def read_hub(name: str, image: str | None, label: str | None) -> Source:
    """The images of a Hugging Face dataset. Raises UserError: it cannot be loaded, or has no such columns."""
    datasets: Any = require("datasets", "hub", "reading a Hugging Face dataset")
    table, origin = hub_dataset(name), f"hf:{name}"
    features = table.features.to_dict()
    columns = _columns(list(table.column_names), features, origin, image, label)
    if _type(features, columns[0]) == "Image":
        # As the bytes of the file, which `open_image` decodes.
        table = table.cast_column(columns[0], datasets.Image(decode=False))
    return Source(_items(table, origin, columns, features, Path()), (_note(columns),))


def _note(columns: tuple[str, str]) -> str:
    return f"image column {columns[0]}, label column {columns[1]}"


def _columns(
    names: Sequence[str], features: Features, origin: str, image: str | None, label: str | None
) -> tuple[str, str]:
    """The columns of the image and of its label: as given, or otherwise chosen by type and name."""
    return (
        _column(names, [name for name in names if _type(features, name) == "Image"], origin, "image", image, _IMAGES),
        _column(
            names, [name for name in names if _type(features, name) == "ClassLabel"], origin, "label", label, _LABELS
        ),
    )


def _column(
    names: Sequence[str], typed: Sequence[str], origin: str, role: str, given: str | None, usual: Sequence[str]
) -> str:
    columns = f"its columns are {', '.join(names)}; name one with --data.{role}-column"
    if given is not None:
        if given not in names:
            raise UserError(f"{origin}: has no column {given!r}; {columns}")
        return given
    possible = [name for name in usual if name in (typed or names)][:1] or list(typed)
    if len(possible) == 1:
        return possible[0]
    problem = (
        f"{' and '.join(possible)} could both be the {role}" if possible else f"cannot tell which column is the {role}"
    )
    raise UserError(f"{origin}: {problem}; {columns}")


def _type(features: Features, name: str) -> str | None:
    feature = features.get(name)
    return feature.get("_type") if isinstance(feature, dict) else None


def _items(
    records: Iterable[dict[str, Any] | Bad], origin: str, columns: tuple[str, str], features: Features, folder: Path
) -> Iterator[Item]:
    image, label = columns
    names = features[label].get("names") if _type(features, label) == "ClassLabel" else None
    for number, record in enumerate(records, 1):
        place = f"{origin}: record {number:,}"
        if isinstance(record, Bad):
            yield Item(place, "", BadImage(record.reason))
            continue
        try:
            yield Item(place, _label(record.get(label), names), _content(record.get(image), folder))
        except BadImage as error:
            yield Item(place, "", error)


def _content(image: Any, folder: Path) -> bytes:
    """The bytes of an image file from a cell of a table."""
    path = image
    if isinstance(image, dict):
        path, image = image.get("path"), image.get("bytes")
    if isinstance(image, bytes):
        return image
    if isinstance(path, str):
        if not (folder / path).is_file():
            raise BadImage(f"names the file {path}, which does not exist")
        return (folder / path).read_bytes()
    if path is None:
        raise BadImage("has no image")
    raise BadImage(f"expected the bytes of an image file, got {type(image).__name__}")


def _label(value: Any, names: Sequence[str] | None) -> str:
    """The name of a class, from a cell of a table."""
    if value is None:
        raise BadImage("has no label")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if names is not None and isinstance(value, int):
        if not 0 <= value < len(names):
            raise BadImage(f"label {value} is not one of the {len(names):,} classes; it may stand for a missing label")
        return names[value]
    if not isinstance(value, str | int):
        raise BadImage(f"expected a label that is text or a whole number, got {type(value).__name__}")
    if value == "":
        raise BadImage("has an empty label")
    return str(value)
