"""Settings of labelled images and of their augmentation; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regard.data.fold import fold_problem
from regard.training.ranges import at_most, not_negative

_LARGEST = 10_000


@dataclass(frozen=True)
class LabelledImagesConfig:
    """Which images to train on."""

    train: str | None = None
    """Images to train on: a folder with a subfolder per class, a tar or zip archive of it, CIFAR-10's binary files,
    Parquet, or a Hugging Face dataset as "hf:NAME". By default, the handwritten digits of scikit-learn."""
    valid: str | None = None
    """Images to validate on, in the same formats; by default, those of a folder val or valid beside the folder train,
    or else a tenth of each class, which is set aside."""
    fold: str | None = None
    """K/N: validate on the K-th of N folds of the training images, which have the same share of each class. The same
    train.seed gives the same folds."""
    size: int = 32
    """Height and width of the images in pixels, a multiple of 4: each image is cropped to its middle square and
    resized."""
    image_column: str | None = None
    """Parquet and Hugging Face datasets only. Name of the column with the image; by default detected."""
    label_column: str | None = None
    """Parquet and Hugging Face datasets only. Name of the column with the class; by default detected."""
    on_bad: Literal["error", "skip"] = "error"
    """What to do with images that are damaged, empty or of an unknown format. error: name the first and stop; skip:
    leave them out and print their number. skip also leaves out class folders without images."""

    def problem(self, minimum: int) -> str | None:
        """The error message for the first setting that is out of range; None if there is none.

        ``minimum``: the smallest ``size``.
        """
        if self.size < minimum or self.size % 4:
            return f"data.size: must be a multiple of 4, at least {minimum}, got {self.size}"
        return at_most("data", self, _LARGEST, "size") or fold_problem(self.fold, self.valid)


@dataclass(frozen=True)
class LabelledImagesOptions:
    """Options of ``regard eval`` for labelled images."""

    on_bad: Literal["error", "skip"] | None = None
    """Stop at an image that cannot be used, or skip it; by default as in training."""
    image_column: str | None = None
    """The column of a table that has the image; by default as in training."""
    label_column: str | None = None
    """The column of a table that has the class; by default as in training."""


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation: random changes of a training image each time it is used."""

    crop: int = 4
    """Shift by a random number of pixels, at most this many in each direction; 0: no shift."""
    flip: bool = True
    """Mirror left and right with probability 0.5; turn it off for digits and letters."""
    cutout: int = 8
    """Blank a random square with sides of this many pixels (DeVries and Taylor 2017); 0: none."""
    mixup: float = 0.0
    """Mix two images and their classes in a ratio drawn from Beta(mixup, mixup), often with 0.2 (Zhang et al. 2018); 0:
    no mixing."""

    def problem(self, size: int) -> str | None:
        """The error message for the first setting that is out of range for images of this size; None: there is none."""
        limits = at_most("augment", self, _LARGEST, "crop", "cutout")
        wrong = not_negative("augment", self, "crop", "cutout", "mixup") or limits
        if wrong is None and self.crop >= size:
            return f"augment.crop: must be below data.size, {size}, got {self.crop}"
        return wrong
