"""Images with boxes around their objects: decoded, of one size, and checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from regard.data.box_files import Picture, read_pictures
from regard.data.class_trees import Item
from regard.data.codec import digest, version_of
from regard.data.decoding import decode_items
from regard.data.image_files import decode_image, fitted, fitted_shape
from regard.data.image_items import ImageCodec
from regard.data.labelled import number_classes
from regard.data.pixels import Pixels, Rows, select
from regard.data.ragged import Ragged
from regard.data.scenes import LABELS, SIZE, scenes
from regard.errors import UserError

LINES = 6
"""The number of lines in the background of `boxed_scenes`."""

_SHOWN = 3
_SHAPE = 8
"""Bytes of the height and width of an image."""
_BEYOND = 2.0
"""A box may end so many pixels outside of its image, which is then its edge."""


@dataclass(frozen=True)
class BoxedImages:
    """Images of one size, with boxes.

    Attributes:
        stored: uint8 ``(n, 3 · size · size + 8)``: pixels, and the height and width that the image had.
        size: height and width; the image is at the top left of that square.
        objects: of each image, float32 ``(objects, 6)``: the class, the left, top, right and bottom edge as parts of
            the square, from 0 to 1, and 1 for a crowd or an object that is too difficult to count, else 0.
        names: of the classes.
        origins: the file of each image.
        keys: a digest of the content of each.
        notes: what was left out and why.
    """

    stored: Pixels
    size: int
    objects: Ragged
    names: tuple[str, ...]
    origins: tuple[str, ...]
    keys: tuple[bytes, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def pixels(self, rows: Sequence[int]) -> np.ndarray:
        """The pixels of some images, uint8 ``(B, 3, size, size)``."""
        content: np.ndarray = self.stored[list(rows)][:, :-_SHAPE]
        return content.reshape(len(rows), 3, self.size, self.size)

    def select(self, rows: np.ndarray) -> BoxedImages:
        """Some of them, by a mask, without the notes."""
        numbers = np.flatnonzero(rows)
        origins, keys = tuple(self.origins[at] for at in numbers), tuple(self.keys[at] for at in numbers)
        return BoxedImages(select(self.stored, rows), self.size, self.objects.select(rows), self.names, origins, keys)

    def describe(self) -> str:
        """Their numbers, such as ``"40 images with 100 objects of 3 classes"``."""
        count = int(self.objects.lengths.sum())
        return f"{len(self):,} images with {count:,} objects of {len(self.names)} classes"


@dataclass(frozen=True)
class FittedCodec(ImageCodec):
    """Images, scaled to fit into a square of ``size``, with the height and width that they had."""

    @property
    def slot(self) -> int:  # type: ignore[override]
        """See `Codec`."""
        return 3 * self.size**2 + _SHAPE

    @property
    def depends_on(self) -> tuple[object, ...]:
        """See `Codec`."""
        return "fitted", self.size, version_of("pillow")

    def decode(self, content: bytes | np.ndarray) -> np.ndarray:
        """See `Codec`."""
        pixels = content if isinstance(content, np.ndarray) else decode_image(content)
        shape = np.array(pixels.shape[1:], dtype="<i4").view(np.uint8)
        return np.concatenate([fitted(pixels, self.size).ravel(), shape])

    def held(self, values: list[np.ndarray]) -> Pixels:
        """See `Codec`."""
        return np.stack(values) if values else np.zeros((0, self.slot), dtype=np.uint8)

    def mapped(self, content: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> Pixels:
        """See `Codec`."""
        return Rows(content[: len(lengths) * self.slot].reshape(len(lengths), self.slot), rows)


def boxed_scenes(count: int, size: int, *, seed: int = 0) -> BoxedImages:
    """The generated scenes of `regard.data.scenes` with their boxes, scaled to ``size``."""
    made, codec = scenes(count, seed=seed, lines=LINES), FittedCodec(size)
    rows = [
        np.array([[LABELS.index(one.label), *(np.array(one.box) / SIZE), 0] for one in scene.things], np.float32)
        for scene in made
    ]
    stored = codec.held([codec.decode(scene.pixels) for scene in made])
    origins = tuple(f"scene {number}" for number in range(1, count + 1))
    return BoxedImages(stored, size, Ragged.of(rows), LABELS, origins, tuple(digest(one.pixels) for one in made))


def read_boxed(
    path: str,
    size: int,
    *,
    images: str | None = None,
    names: tuple[str, ...] | None = None,
    on_bad: Literal["error", "skip"] = "error",
) -> BoxedImages:
    """Read images with boxes, and scale them to fit into a square.

    Args:
        path: see `regard.data.box_files.read_pictures`.
        size: the side of the square, in pixels.
        images: see `read_pictures`.
        names: the known classes; another class is an error. None: the classes of the data.
        on_bad: what to do with an image that is damaged or missing, or has a box that cannot be used.

    Raises:
        UserError: there is no usable image, or a class is unknown; with ``on_bad="error"``, one is bad.
    """
    listed = read_pictures(path, images=images)
    bad = []

    def check(line: str) -> None:
        bad.append(line)
        if on_bad == "error":
            raise UserError(
                f"{path}: not a usable image: {line}; correct it, or leave such out with --data.on-bad skip"
            )

    usable = []
    for number, one in enumerate(listed):
        if one.problem is None:
            usable.append((number, one))
        else:
            check(one.problem)
    items = [Item(str(one.file), str(number), str(one.file)) for number, one in usable]
    decoded = decode_items(lambda: iter(items), FittedCodec(size), (os.path.realpath(path), "boxes"), check)
    chosen = [listed[int(number)] for number in decoded.labels]
    shapes = [decoded.values[[at]][0, -_SHAPE:].view("<i4") for at in range(len(chosen))]
    wrong = [outside(one, *map(int, shape)) for one, shape in zip(chosen, shapes, strict=True)]
    for line in wrong:
        if line is not None:
            check(line)
    keep = np.array([line is None for line in wrong], dtype=bool)
    more = f" and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
    notes = (f"left out {len(bad):,} of the entries: {'; '.join(bad[:_SHOWN])}{more}",) if bad else ()
    if not keep.any():
        raise UserError("; ".join((f"{path}: no usable image in it", *notes)))
    labels = [label for one, use in zip(chosen, keep, strict=True) if use for label in one.labels]
    if not labels and names is None:
        raise UserError(f"{path}: no image has a box")
    known = number_classes(labels, names, path)[1] if labels else names or ()
    numbers = {name: at for at, name in enumerate(known)}
    rows = [_rows(one, numbers, size, *map(int, shape)) for one, shape in zip(chosen, shapes, strict=True)]
    every = BoxedImages(
        decoded.values, size, Ragged.of(rows), known, tuple(str(one.file) for one in chosen), tuple(decoded.keys)
    )
    return replace(every.select(keep), notes=notes)


def outside(picture: Picture, height: int, width: int) -> str | None:
    """Why a box is not in its image, whose size is now known; None: all are."""
    for number, (label, (x0, y0, x1, y1)) in enumerate(zip(picture.labels, picture.boxes, strict=True), 1):
        wrong = None
        if min(x0, y0) < -_BEYOND or x1 > width + _BEYOND or y1 > height + _BEYOND:
            wrong = "ends outside of"
        elif min(x1, y1) <= 0 or x0 >= width or y0 >= height:  # its part in the image would be empty
            wrong = "lies outside of"
        if wrong is not None:
            return (
                f"{picture.where}: box {number} ({label}) {wrong} {picture.file.name}, which has {width} × "
                f"{height} pixels: {x0:g}, {y0:g}, {x1:g}, {y1:g}"
            )
    return None


def _rows(picture: Picture, numbers: dict[str, int], size: int, height: int, width: int) -> np.ndarray:
    """The objects of an image as `BoxedImages.objects` has them."""
    if not picture.labels:
        return np.zeros((0, 6), np.float32)
    inner = np.array(fitted_shape(height, width, size)[::-1]) / size
    scale = inner / (width, height)
    boxes = np.clip(np.array(picture.boxes) * np.tile(scale, 2), 0, np.tile(inner, 2))
    labels = [numbers.get(label, 0) for label in picture.labels]
    return np.column_stack([labels, boxes, picture.crowd]).astype(np.float32)
