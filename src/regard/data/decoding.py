"""Decodes the images of a set: few of them in this process, many by worker processes and into a file of the cache."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np

from regard.data import cache
from regard.data.class_trees import Item
from regard.data.file_trees import BadItem
from regard.data.image_items import KEY, NO_PIXELS, Result, decode_into, decode_item, digest
from regard.data.pixels import Pixels, Rows
from regard.data.progress import counted
from regard.data.workers import in_processes, in_threads

SECONDS = 0.3
BYTES = 100_000_000
"""Worker processes and the cache are used if decoding takes longer, or if there are more bytes of pixels."""

_BYTES_IN_MEMORY = 500_000_000
"""The limit in place of `BYTES` if the cache cannot be written."""

_GROUP = 16
_GROUP_BYTES = 4_000_000
"""The largest number of images that a worker process gets in one message, and of the bytes of their files."""


@dataclass
class Decoded:
    """The images that can be used, in the order of the items.

    Attributes:
        pixels: uint8 ``(n, 3, size, size)``; of many images, in a mapped file.
        labels: the class of each.
        keys: a digest of each before scaling.
        bad: the origins of the other images, and why they cannot be used.
        reasons: the same reasons by the digest of the image.
    """

    pixels: Pixels = field(default_factory=lambda: NO_PIXELS[None][:0])
    labels: list[str] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    reasons: dict[bytes, str] = field(default_factory=dict)

    def add(self, result: Result) -> bool:
        """Add an image without its pixels; returns whether it can be used."""
        if result.reason is None:
            self.labels.append(result.item.label)
            self.keys.append(result.key)
            return True
        self.bad.append(f"{result.item.origin} ({result.reason})")
        if result.key:
            self.reasons[result.key] = result.reason
        return False


Check = Callable[[Decoded], None]


def decode_items(
    items: Callable[[], Iterator[Item]], size: int, origin: tuple[object, ...], check: Check = lambda images: None
) -> Decoded:
    """Decode images, crop each to the central square and scale it to ``size``.

    If that takes longer than `SECONDS`, worker processes decode them, and the pixels are kept in the cache under the
    names of ``origin`` and ``size``. The next call compares the digest of each image with those that the cache has, and
    decodes all of them again if one is new. Of several processes, one decodes and the others wait for it.

    Args:
        items: called for the images, and once more if those in the cache are others.
        size: height and width, in pixels.
        origin: what identifies the set, such as its path.
        check: called after each image that cannot be used; it may raise an exception.

    Raises:
        UserError: the cache is needed and cannot be written, or a worker process was killed.
    """
    name = cache.name("images", size, _pillow(), *origin)
    while True:
        read = _cached if cache.exists(name) else _decoded
        with counted("reading images") as advance:
            images = read(items(), size, name, check, advance)
        if images is not None:
            return images


def _decoded(items: Iterator[Item], size: int, name: str, check: Check, advance: Callable[[], None]) -> Decoded | None:
    """Decode images; None: another process has written them to the cache."""
    images, first, written = Decoded(), list[np.ndarray](), False

    def added(result: Result) -> bool:
        advance()
        if images.add(result):
            return True
        check(images)
        return False

    def write(file: IO[bytes]) -> None:
        nonlocal written
        written = True
        for pixels in first:
            file.write(pixels.data)
        file.flush()
        rows, row = list(range(len(first))), len(first) - 1
        groups = _groups(enumerate(rest, len(first)))
        with closing(in_processes(partial(partial, decode_into, file.name, size), groups)) as results:
            for row, result in enumerate(chain.from_iterable(results), len(first)):
                if added(result):
                    rows.append(row)
        file.truncate((row + 1) * 3 * size**2)  # the last images may have no pixels
        file.seek(0, os.SEEK_END)
        arrays = {"keys": np.frombuffer(b"".join(images.keys), dtype=np.uint8), "rows": np.array(rows)}
        reasons = {key.hex(): reason for key, reason in images.reasons.items()}
        cache.finish(file, arrays, {"count": row + 1, "reasons": reasons})

    with closing(in_threads(partial(decode_item, size=size), _beginning(items, size))) as results:
        for result, pixels in results:
            if added(result):
                first.append(pixels)
    following = next(items, None)
    rest = chain([] if following is None else [following], items)
    if following is None:
        images.pixels = np.stack(first) if first else images.pixels
        return images
    path = cache.entry(name, write)
    if not written:
        return None
    images.pixels = _Kept(path, size).pixels
    return images


def _groups(numbered: Iterator[tuple[int, Item]]) -> Iterator[list[tuple[int, Item]]]:
    """Images that a worker process gets in one message: one at a time, it would wait as long as it works."""
    group, size = list[tuple[int, Item]](), 0
    for number, item in numbered:
        group.append((number, item))
        size += item.nbytes
        if len(group) == _GROUP or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _cached(items: Iterator[Item], size: int, name: str, check: Check, advance: Callable[[], None]) -> Decoded | None:
    """The images that the cache has; None: some are not in it, and its file is removed."""
    path = cache.folder() / name
    try:
        kept = _Kept(path, size)
    except FileNotFoundError:  # another process has removed it
        return None
    images, rows = Decoded(), []
    for item in items:
        advance()
        result = kept.result(item)
        if not images.add(result):
            check(images)
        elif result.key in kept.rows:
            rows.append(kept.rows[result.key])
        else:
            path.unlink(missing_ok=True)
            return None
    images.pixels = Rows(kept.pixels.mapped, np.array(rows, dtype=np.int64))
    return images


class _Kept:
    """The images in a file of the cache.

    Attributes:
        pixels: those that can be used.
        rows: digest → index in the file.
        reasons: digest → why an image cannot be used.
    """

    def __init__(self, path: Path, size: int):
        with path.open("rb") as file:
            content, arrays, notes = cache.load(file)
        shape = (notes["count"], 3, size, size)
        keys = arrays["keys"].tobytes()
        self.pixels = Rows(content[: math.prod(shape)].reshape(shape), arrays["rows"])
        self.rows = {keys[KEY * at : KEY * (at + 1)]: row for at, row in enumerate(arrays["rows"].tolist())}
        self.reasons = {bytes.fromhex(key): reason for key, reason in notes["reasons"].items()}

    def result(self, item: Item) -> Result:
        """The result of decoding an item, which may be one that the file does not have."""
        try:
            key = digest(item.load())
        except BadItem as error:
            return Result(item, b"", str(error))
        return Result(item, key, self.reasons.get(key))


def _pillow() -> str:
    """The version of Pillow, whose decoders may change."""
    try:
        return version("pillow")
    except PackageNotFoundError:  # images that are stored as pixels are read without it
        return ""


def _beginning(items: Iterator[Item], size: int) -> Iterator[Item]:
    """The items that are decoded in this process: at least one, and all others if the cache cannot be written."""
    usable = cache.writable()
    end = time.monotonic() + (SECONDS if usable else math.inf)
    left = (BYTES if usable else _BYTES_IN_MEMORY) // (3 * size**2)
    for number, item in enumerate(items, 1):
        yield item
        if number >= left or time.monotonic() > end:
            return
