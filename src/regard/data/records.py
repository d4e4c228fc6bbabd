"""Records, which have named columns: JSON lines, Parquet, and Hugging Face datasets."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regard.data.columns import Bad
from regard.data.lines import bare_suffix, read_lines
from regard.data.progress import Advance
from regard.errors import UserError, require

JSON_ENDINGS = (".jsonl", ".ndjson", ".json-lines")
_BATCH = 1024
"""The number of rows of a Parquet file that are converted together."""


@dataclass(frozen=True)
class Records:
    """A table of records.

    Attributes:
        origin: its name, for messages.
        read: the records with these columns, or with all for None.
        columns: the names of all columns; None: they are known only when all records are read.
        features: column → its type in the datasets library, such as ``{"_type": "ClassLabel", "names": […]}``.
    """

    origin: str
    read: Callable[[Sequence[str] | None], Iterable[dict[str, Any] | Bad]]
    columns: tuple[str, ...] | None = None
    features: Mapping[str, Any] = field(default_factory=dict)

    def types(self) -> dict[str, str | None]:
        """Column → the name of its type in the datasets library."""
        return {name: _type(self.features.get(name)) for name in self.columns or ()}

    def classes(self, name: str | None) -> Sequence[str] | None:
        """The names of the classes that a column has as numbers, or as lists of numbers; None: it has none."""
        feature: Any = self.features.get(name) if name is not None else None
        if isinstance(feature, dict) and "feature" in feature:
            feature = feature["feature"]  # of the elements of a list
        return feature["names"] if _type(feature) == "ClassLabel" else None


def _type(feature: Any) -> str | None:
    return feature.get("_type") if isinstance(feature, dict) else None


def open_records(path: str, advance: Advance | None = None) -> Records:
    """The records of a JSONL or Parquet file, or of ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face dataset.

    Images and sounds of a dataset are the bytes of their files. ``advance`` is called with the bytes that were read of
    a JSONL file since its last call.

    Raises:
        UserError: it cannot be read, or a package for it is not installed.
    """
    if path.startswith("hf:"):
        return _hub(path.removeprefix("hf:"))
    if bare_suffix(Path(path)) == ".parquet":
        return _parquet(path)
    return Records(path, lambda names: json_records(read_lines(Path(path), advance)))


def json_records(lines: Iterable[str | None]) -> Iterator[dict[str, Any] | Bad]:
    """The JSON object of each line."""
    for line in lines:
        if line is None:
            yield Bad("not UTF-8")
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            yield Bad("not JSON", line)
            continue
        yield record if isinstance(record, dict) else Bad("not a JSON object", line)


def check_json_lines(path: Path) -> None:
    """Raises UserError: the first line of a ``.json`` file is not an object, so that it does not have JSON lines."""
    first = next(json_records(line for line in read_lines(path) if line is None or line.strip()), None)
    if not isinstance(first, dict):
        raise UserError(f"{path}: expected JSON lines, an object in each line as in a file .jsonl; convert it")


def _parquet(path: str) -> Records:
    parquet: Any = require("pyarrow.parquet", "parquet", "reading Parquet")
    with _readable(path):
        schema = parquet.read_schema(path)
    # The datasets library writes its types there.
    info = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {})

    def read(names: Sequence[str] | None) -> Iterator[dict[str, Any]]:
        with _readable(path), parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH, columns=names):
                yield from batch.to_pylist()

    return Records(path, read, tuple(schema.names), info.get("features", {}))


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    """Raises UserError: what is done in the block fails because the file is not Parquet."""
    arrow: Any = require("pyarrow", "parquet", "reading Parquet")
    try:
        yield
    except (arrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not readable as Parquet ({str(error).splitlines()[0]})") from error


def _hub(name: str) -> Records:
    table = hub_dataset(name)
    datasets: Any = require("datasets", "hub", "reading a Hugging Face dataset")
    features = table.features.to_dict()
    for column, feature in features.items():
        if _type(feature) in ("Image", "Audio"):
            table = table.cast_column(column, getattr(datasets, feature["_type"])(decode=False))
    return Records(
        f"hf:{name}",
        lambda names: table if names is None else table.select_columns(list(names)),
        tuple(table.column_names),
        features,
    )


def hub_dataset(name: str) -> Any:
    """A Hugging Face dataset, or a local folder of one, ``NAME[:CONFIG][#SPLIT]``; the default split is ``train``.

    Raises:
        UserError: it cannot be loaded.
    """
    datasets: Any = require("datasets", "hub", "reading a Hugging Face dataset")
    name, _, split = name.partition("#")
    name, _, config = name.partition(":")
    saved = [Path(name) / file for file in ("dataset_dict.json", "state.json")]
    try:
        if saved[0].exists():  # written by DatasetDict.save_to_disk or Dataset.save_to_disk
            return datasets.load_from_disk(name)[split or "train"]
        if saved[1].exists() and split in ("", "train"):
            return datasets.load_from_disk(name)
        return datasets.load_dataset(name, config or None, split=split or "train")
    except Exception as error:  # the library's readers raise many kinds of exceptions
        raise UserError(
            f"hf:{name}: cannot be loaded ({str(error).splitlines()[0] if str(error) else error!r})"
        ) from error
