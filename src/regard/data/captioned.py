"""Images with captions: decoded, as those of a user's files or as built-in scenes, and divided into parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from regard.data import scenes as built_in
from regard.data.caption_trees import NamedFile, files_at, named_files
from regard.data.captions import Captions, OnBad, read_captions
from regard.data.class_trees import Item
from regard.data.codec import digest
from regard.data.decoding import decode_items, refusing
from regard.data.file_trees import BadItem, find_file, is_archive, open_tree
from regard.data.image_files import squared
from regard.data.image_items import ImageCodec
from regard.data.pixels import Pixels, select
from regard.data.scenes import Scene
from regard.errors import UserError

_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Captioned:
    """Images with captions.

    Attributes:
        pixels: uint8 ``(n, 3, size, size)``; of large sets, in a mapped file.
        names: of the images.
        texts: the captions of each.
        keys: a digest of the content of each.
        parts: the part of each, ``"train"``, ``"valid"`` or ``"test"``; empty: the data are not divided.
        scenes: what is known about each, of built-in scenes; empty: nothing.
        notes: what was left out and why.
    """

    pixels: Pixels
    names: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    keys: tuple[bytes, ...]
    parts: tuple[str, ...] = ()
    scenes: tuple[Scene, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def captions(self) -> int:
        """The number of captions."""
        return sum(map(len, self.texts))

    def select(self, rows: Sequence[int]) -> Captioned:
        """Some of them, by their numbers, without the notes."""
        pixels = select(self.pixels, np.array(rows, dtype=np.int64))
        scenes = tuple(self.scenes[row] for row in rows) if self.scenes else ()
        return Captioned(
            pixels, tuple(self.names[row] for row in rows), tuple(self.texts[row] for row in rows),
            tuple(self.keys[row] for row in rows), scenes=scenes,
        )  # fmt: skip

    def part(self, name: str) -> Captioned:
        """The images of a part."""
        return self.select([row for row, part in enumerate(self.parts) if part == name])


def built_in_scenes(count: int, size: int, *, seed: int) -> Captioned:
    """``count`` generated scenes with a caption each; see `regard.data.scenes`."""
    made = built_in.scenes(count, seed=seed)
    pixels = np.stack([squared(scene.pixels, size) for scene in made])
    names = tuple(f"scene {number + 1}" for number in range(count))
    keys = tuple(digest(scene.pixels) for scene in made)
    return Captioned(pixels, names, tuple((scene.caption,) for scene in made), keys, scenes=made)


def read_captioned(
    path: str,
    size: int,
    *,
    images: str | None = None,
    image_column: str | None = None,
    caption_column: str | None = None,
    on_bad: OnBad = "error",
) -> Captioned:
    """Read images with captions, cropped to the central square and scaled to ``size``.

    Args:
        path: see `regard.data.captions.read_captions`.
        size: height and width, in pixels.
        images: the folder or archive of the images that a table or a list names; None: the folder of the table.
        image_column: see `read_captions`, as for ``caption_column``.
        caption_column: likewise.
        on_bad: what to do with rows and images that cannot be used.

    Raises:
        UserError: no image can be used; with ``on_bad="error"``, a row or an image is bad.
    """
    captions = read_captions(path, image_column=image_column, caption_column=caption_column, on_bad=on_bad)
    root = str(Path(path).parent) if images is None else images

    def items() -> Iterator[Item]:
        for name, content in _contents(captions, Path(root)):
            place = path if captions.tree is not None else root
            yield Item(f"{place}/{name}", name, content)

    names, keys, pixels, notes = decoded(items, size, (os.path.realpath(path), os.path.realpath(root)), path, on_bad)
    texts = tuple(tuple(captions.texts[name]) for name in names)
    parts = tuple(captions.parts.get(name, "train") for name in names) if captions.parts else ()
    return Captioned(pixels, names, texts, keys, parts, notes=(*captions.notes, *notes))


def decoded(
    items: Callable[[], Iterator[Item]], size: int, origin: tuple[str, ...], path: str, on_bad: OnBad
) -> tuple[tuple[str, ...], tuple[bytes, ...], Pixels, tuple[str, ...]]:
    """The names, the digests and the pixels of the images that can be used, and notes on the others.

    Args:
        items: returns the images, with their names as labels.
        size: height and width, in pixels.
        origin: what identifies the set.
        path: of the set, for messages.
        on_bad: what to do with images that cannot be used.

    Raises:
        UserError: there is no usable image; with ``on_bad="error"``, one is bad.
    """
    result = decode_items(items, ImageCodec(size), origin, refusing(path, "images", on_bad))
    shown = "; ".join(result.bad[:_SHOWN]) + (" …" if len(result.bad) > _SHOWN else "")
    if not result.keys:
        raise UserError(f"{path}: no usable image in it{f'; {shown}' if shown else ''}")
    count = "one image that is" if len(result.bad) == 1 else f"{len(result.bad):,} images that are"
    notes = (f"left out {count} not usable: {shown}",) if result.bad else ()
    return tuple(result.labels), tuple(result.keys), result.values, notes


def _contents(captions: Captions, root: Path) -> Iterator[NamedFile]:
    """The name of each image, and where its file is on the disk, its content, or why it cannot be read."""
    if captions.tree is not None:
        yield from files_at(captions.tree, {name: [name] for name in captions.texts})
    elif root.is_file() and is_archive(root):
        yield from named_files(open_tree(root), captions.texts)
    elif not root.is_dir():
        raise UserError(f"data.images: {root} is not a folder or archive of images")
    else:
        for name in captions.texts:
            file = find_file(root, name) or find_file(root, PurePosixPath(name).name)
            yield name, BadItem("no such file") if file is None else str(file)
