"""Settings of images with captions; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regard.training.ranges import at_least, at_most, not_negative


@dataclass(frozen=True)
class CaptionedConfig:
    """Which images and captions to train on."""

    train: str | None = None
    """Captions to train on: a table with a column for the image and one for the caption (.tsv, .csv, .jsonl, .parquet),
    a row per caption; the JSON of Karpathy's splits or of COCO's captions; Flickr8k's .token.txt; a folder or archive
    of images with a .txt of the same name beside each, or a folder of tar archives of them (webdataset). A column split
    with train, val and test divides the images. By default, built-in scenes."""
    valid: str | None = None
    """Captions to validate on, in the same formats; by default, the part val of divided data, or else a tenth of the
    images, which is set aside."""
    images: str | None = None
    """Folder or archive of the images that a table or a list names; by default, the folder of the table."""
    size: int = 64
    """Height and width of the images in pixels, a multiple of 8: each image is cropped to its middle square and
    resized."""
    image_column: str | None = None
    """Column of the image's file: its name, or in files without a header its number from 1; by default detected."""
    caption_column: str | None = None
    """Column of the caption, likewise."""
    on_bad: Literal["error", "skip"] = "error"
    """What to do with rows without an image or a caption, and with images that are missing, damaged, or have no
    caption. error: name the first and stop; skip: leave them out and print their number."""
    builtin_scenes: int = 6000
    """Number of built-in scenes, if no training data are given."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        if self.size < 16 or self.size % 8:
            return f"data.size: must be a multiple of 8, at least 16, got {self.size}"
        few = at_least("data.builtin_scenes", self.builtin_scenes, 50)
        return few or at_most("data", self, 2000, "size") or at_most("data", self, 200_000, "builtin_scenes")


@dataclass(frozen=True)
class CaptionedAugmentConfig:
    """Augmentation: random changes of a training image each time it is used."""

    crop: int = 4
    """Shift by a random number of pixels, at most this many in each direction; 0: no shift."""
    flip: bool = False
    """Mirror left and right with probability 0.5; only for captions that do not say left, right, or what is written."""
    cutout: int = 0
    """Blank a random square with sides of this many pixels (DeVries and Taylor 2017); 0: none."""

    def problem(self, size: int) -> str | None:
        """The error message for the first setting that is out of range for images of this size; None: there is none."""
        wrong = not_negative("augment", self, "crop", "cutout") or at_most("augment", self, 2000, "crop", "cutout")
        if wrong is None and self.crop >= size:
            return f"augment.crop: must be below data.size, {size}, got {self.crop}"
        return wrong


@dataclass(frozen=True)
class CaptionedOptions:
    """Options of ``regard eval`` for images with captions."""

    part: Literal["train", "valid", "test"] | None = None
    """The part of divided data to score; needed if --data is divided by a column split."""
    images: str | None = None
    """Folder or archive of the images that --data names; by default, the folder of the table."""
    image_column: str | None = None
    """The column of the image; by default as in training."""
    caption_column: str | None = None
    """The column of the caption; by default as in training."""
    on_bad: Literal["error", "skip"] | None = None
    """Stop at a row or an image that cannot be used, or skip it; by default as in training."""
