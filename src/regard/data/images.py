"""Labelled images from a user's files: a folder for each class, archives of it, CIFAR-10, Parquet, Hugging Face."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from regard.data.class_trees import Item, Kind, Source, read_tree
from regard.data.file_tables import read_image_table
from regard.data.file_trees import BadItem, is_archive, open_tree
from regard.data.image_files import HEAD, image_format, why_not
from regard.data.image_items import ImageCodec
from regard.data.labelled import Labelled
from regard.data.labelled_files import read_labelled_files
from regard.data.pixels import Pixels, select
from regard.errors import UserError

_CIFAR_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PICKLES = ("data_batch", "test_batch")


def _examine(name: str, head: bytes) -> bool:
    """Whether a file is an image. Raises BadItem: only by its name, or it has a format that is not read."""
    if image_format(head) is None and (reason := why_not(name, head)) is not None:
        raise BadItem(reason)
    return image_format(head) is not None


IMAGES = Kind("image", HEAD, _examine)
"""Files with images: see `regard.data.class_trees.read_tree`."""


@dataclass(frozen=True, kw_only=True)
class Images(Labelled):
    """Images of one size.

    Attributes:
        pixels: uint8 ``(n, 3, size, size)``; of large sets, in a mapped file.
    """

    unit = "image"

    pixels: Pixels

    def content(self, mask: np.ndarray) -> Mapping[str, Any]:
        """See `Labelled`."""
        return {"pixels": select(self.pixels, mask)}


def read_images(
    path: str,
    size: int,
    *,
    names: tuple[str, ...] | None = None,
    on_bad: Literal["error", "skip"] = "error",
    part: Literal["train", "valid"] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Images:
    """Read images, cropped to the central square and scaled to ``size``.

    Args:
        path: a folder with a folder per class; a tar (also .gz, .xz, .bz2) or zip of that; CIFAR-10's binary files, one
            or the folder; Parquet; or ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face dataset or a local folder of one.
            Whether a file is an image depends on its content, not on its name. Hidden files and folders are left out.
        size: height and width, in pixels.
        names: the known classes; another class is an error. None: the classes of the data.
        on_bad: what to do with files that are damaged, or have the suffix of an image but another content.
        part: the folder to read of data that are divided into folders such as train and val.
        image_column: the column of a table with the image; None: chosen by type and name.
        label_column: the column of a table with the class; None: chosen by type and name.

    Raises:
        UserError: there is no such file or no image, it is unclear which folder or column is the class, a class is
            unknown or has no image; with ``on_bad="error"``, a file is bad.
    """

    def opened() -> Source:
        return _source(path, part, image_column, label_column, keep_empty=on_bad == "skip" or names is not None)

    files = read_labelled_files(
        path, opened, ImageCodec(size), (part, image_column, label_column), names=names, on_bad=on_bad,
        advice=lambda: _instead(Path(path)),
    )  # fmt: skip
    return Images(pixels=files.values, **files.labelled)


def _source(path: str, part: str | None, image: str | None, label: str | None, *, keep_empty: bool) -> Source:
    file = Path(path)
    if path.startswith("hf:") or (file.suffix.lower() == ".parquet" and file.is_file()):
        return read_image_table(path, image, label)
    if not file.exists():
        raise UserError(f"{path}: no such file or folder")
    if file.is_dir():
        return _folder(file, part, keep_empty)
    if is_archive(file):
        return read_tree(open_tree(file), path, IMAGES, part=part, keep_empty=keep_empty)
    if file.suffix.lower() == ".bin":
        return Source(_cifar([file]))
    if file.name.startswith(_PICKLES):
        raise UserError(f"{path}: {_instead(file.parent)[0]}")
    raise UserError(f"{path}: expected a folder with a folder per class, .tar, .zip, .bin (CIFAR-10) or .parquet")


def _instead(folder: Path) -> list[str]:
    """The hint for a folder that has no image files, but data of another kind."""
    if any(folder.glob("*.parquet")):
        return [f"for Parquet files in a folder, use hf:{folder}"]
    if any(path.name.startswith(_PICKLES) for path in folder.glob("*_batch*")):
        return [
            "CIFAR-10's Python version is a pickle, which can run code when it is read; use its binary version (.bin)"
        ]
    return []


def _folder(folder: Path, part: str | None, keep_empty: bool) -> Source:
    """Images of a folder: CIFAR-10's binary files if it has them, otherwise a folder for each class."""
    batches = sorted(folder.glob("data_batch*.bin"))
    test = folder / "test_batch.bin"
    if not batches:
        return read_tree(open_tree(folder), str(folder), IMAGES, part=part, keep_empty=keep_empty)
    if not test.exists() or part == "train":
        notes = (f"left out {test.name}; score a run on it with --data {test}",) if test.exists() else ()
        return Source(_cifar(batches), notes)
    raise UserError(f"{folder}: has {test.name} and training batches; name one of the files")


def _cifar(paths: Sequence[Path]) -> Iterator[Item]:
    for path in paths:
        raw = np.fromfile(path, dtype=np.uint8)
        if not len(raw) or len(raw) % 3073 or raw[::3073].max() > 9:
            raise UserError(f"{path}: not a binary file of CIFAR-10 (records of 3,073 bytes that begin with 0 to 9)")
        listed = path.parent / "batches.meta.txt"
        names = tuple(listed.read_text().split()) if listed.exists() else _CIFAR_NAMES
        if len(names) != 10:
            raise UserError(f"{listed}: expected the names of ten classes, got {len(names)}")
        for number, record in enumerate(raw.reshape(-1, 3073), 1):
            yield Item(f"{path}: record {number:,}", names[record[0]], record[1:].reshape(3, 32, 32))
