"""How images are decoded and held: all of one size."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass

import numpy as np

from regard.data.class_trees import Item
from regard.data.codec import NOTHING, Codec, Result, decode_item, version_of
from regard.data.image_files import decode_image, squared
from regard.data.pixels import Pixels, Rows


@dataclass(frozen=True)
class ImageCodec(Codec[Pixels]):
    """Images, cropped to the central square and scaled to ``size``."""

    kind = "images"

    size: int

    @property
    def slot(self) -> int:  # type: ignore[override]
        """See `Codec`."""
        return 3 * self.size**2

    @property
    def depends_on(self) -> tuple[object, ...]:
        """See `Codec`. Images that are stored as pixels are read without Pillow."""
        return self.size, version_of("pillow")

    def decode(self, content: bytes | np.ndarray) -> np.ndarray:
        """See `Codec`."""
        return squared(content if isinstance(content, np.ndarray) else decode_image(content), self.size)

    def held(self, values: list[np.ndarray]) -> Pixels:
        """See `Codec`."""
        return np.stack(values) if values else np.zeros((0, 3, self.size, self.size), dtype=np.uint8)

    def mapped(self, content: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> Pixels:
        """See `Codec`."""
        count = len(lengths)
        return Rows(content[: count * self.slot].reshape(count, 3, self.size, self.size), rows)

    def decode_group(self, path: str, numbered: list[tuple[int, Item]]) -> list[tuple[Result, np.ndarray]]:
        """See `Codec`. The pixels are written to the file here, each image at the place of its number."""
        results = []
        with warnings.catch_warnings(), open(path, "r+b", buffering=0) as file:
            warnings.simplefilter("ignore")
            for number, item in numbered:
                result, pixels = decode_item(item, self)
                if result.reason is None:
                    os.pwrite(file.fileno(), pixels.data, number * pixels.nbytes)
                results.append((result, NOTHING))
        return results
