"""Decodes one image of a set; a worker process imports little else."""

from __future__ import annotations

import hashlib
import os
import warnings
from typing import NamedTuple

import numpy as np

from regard.data.class_trees import Item
from regard.data.file_trees import BadItem
from regard.data.image_files import decode_image, squared

KEY = 16
"""Bytes of a digest."""

NO_PIXELS = np.zeros((3, 0, 0), dtype=np.uint8)


class Result(NamedTuple):
    """What decoding gave: the item without its content, a digest of the content, and why it cannot be used, or None."""

    item: Item
    key: bytes
    reason: str | None


def decode_item(item: Item, size: int) -> tuple[Result, np.ndarray]:
    """Decode an image; if it cannot be used, the pixels are empty."""
    empty = item._replace(content=b"")
    try:
        content = item.load()
    except BadItem as error:
        return Result(empty, b"", str(error)), NO_PIXELS
    key = digest(content)
    try:
        pixels = squared(content if isinstance(content, np.ndarray) else decode_image(content), size)
    except BadItem as error:
        return Result(empty, key, str(error)), NO_PIXELS
    return Result(empty, key, None), pixels


def digest(content: bytes | np.ndarray) -> bytes:
    """Identifies the content of an image, in `KEY` bytes."""
    data = content if isinstance(content, bytes) else content.tobytes()
    return hashlib.blake2b(data, digest_size=KEY).digest()


def decode_into(path: str, size: int, numbered: list[tuple[int, Item]]) -> list[Result]:
    """Decode items, and write the pixels of each into the file ``path`` at the place of its number."""
    results = []
    with warnings.catch_warnings(), open(path, "r+b", buffering=0) as file:
        warnings.simplefilter("ignore")
        for number, item in numbered:
            result, pixels = decode_item(item, size)
            if result.reason is None:
                os.pwrite(file.fileno(), pixels.data, number * pixels.nbytes)
            results.append(result)
    return results
