"""Images to search: those of a folder or archive, decoded."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from regard.data.captioned import decoded
from regard.data.class_trees import Item
from regard.data.file_trees import BadItem, is_archive, open_tree
from regard.data.image_files import looks_like_image
from regard.data.pixels import Pixels
from regard.errors import UserError


@dataclass(frozen=True, eq=False)
class Gallery:
    """Images.

    Attributes:
        origin: identifies the set.
        names: of the images.
        keys: a digest of the content of each.
        pixels: uint8 ``(n, 3, size, size)``.
    """

    origin: str
    names: tuple[str, ...]
    keys: tuple[bytes, ...]
    pixels: Pixels


def read_gallery(path: str, size: int) -> Gallery:
    """The images in and below a folder, or in an archive. Those that are damaged are left out, which is reported.

    Args:
        path: the folder or archive.
        size: height and width to which their central squares are scaled.

    Raises:
        UserError: there is no such folder, or no usable image in it.
    """
    place = Path(path)
    if not place.is_dir() and not (place.is_file() and is_archive(place)):
        raise UserError(f"--among: {path} is not a folder or archive of images")

    def items() -> Iterator[Item]:
        for entry in open_tree(place)():
            if entry.read is None or any(part.startswith(".") or part == "__MACOSX" for part in entry.path.parts):
                continue
            name = f"{path}/{entry.path}"
            try:
                if looks_like_image(entry.path.name, entry.read):
                    yield Item(name, name, entry.file or entry.read(-1))
            except BadItem as error:
                yield Item(name, name, error)

    names, keys, pixels, notes = decoded(items, size, ("gallery", os.path.realpath(path)), path, "skip")
    for note in notes:
        print(f"{path}: {note}", file=sys.stderr)
    return Gallery(os.path.realpath(path), names, keys, pixels)
