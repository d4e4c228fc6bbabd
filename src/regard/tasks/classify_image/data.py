"""Reads images, divides them into training and validation sets, and normalizes and augments batches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.data import split
from regard.data.image_files import squared
from regard.data.images import Images, read_images
from regard.data.pixels import Pixels, select
from regard.errors import UserError, require
from regard.tasks.classify_image.settings import AugmentConfig, DataConfig
from regard.training.fingerprint import Fingerprint, check_validation

_SET_ASIDE = 0.1
_BLOCK = 1000

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Sets:
    """Training and validation images."""

    train: Images
    valid: Images


def read(config: DataConfig, seed: int, notify: Notify) -> Sets:
    """The images that a configuration names; messages about them go to ``notify``.

    Raises:
        UserError: they cannot be used.
    """
    if config.train is None:
        if config.valid is not None:
            raise UserError("data.valid: needs --data.train, since the built-in digits have a validation set already")
        notify("no --data.train: training on the built-in images, the handwritten digits of scikit-learn")
        return set_aside(digits(config.size), seed, lambda line: None)
    train = read_one(config.train, config, notify, part="train")
    if len(train.names) < 2:
        raise UserError(
            f"{config.train}: has one class, {train.names[0]!r}, and needs at least two; "
            "the images of each class belong in a subfolder of it"
        )
    valid = config.valid
    if valid is None and "valid" in train.parts:
        valid = config.train
    if valid is None:
        sets = set_aside(train, seed, notify)
    else:
        sets = Sets(train, read_one(valid, config, notify, part="valid", names=train.names))
    both = split.repeated(sets.train.keys, sets.valid.keys)
    if both:
        notify(
            f"{both:,} of the {len(sets.valid.keys):,} validation images are also training images, "
            "so the validation metrics will be too optimistic"
        )
    return sets


def read_one(
    path: str,
    config: DataConfig,
    notify: Notify,
    *,
    part: Literal["train", "valid"] | None = None,
    names: tuple[str, ...] | None = None,
) -> Images:
    """The images of one path; their number per class and what was left out go to ``notify``. See `read_images`."""
    images = read_images(
        path, config.size, names=names, on_bad=config.on_bad, part=part,
        image_column=config.image_column, label_column=config.label_column,
    )  # fmt: skip
    for line in (*images.notes, images.describe()):
        notify(f"{path}: {line}")
    return images


def fingerprint(sets: Sets) -> Fingerprint:
    """What identifies the images of a run."""
    return Fingerprint.of("images", _rows(sets.train), _rows(sets.valid), sets.train.names)


def own_validation(run: Path, config: DataConfig, names: tuple[str, ...], seed: int, notify: Notify) -> Images:
    """The validation images of a run with these classes. Raises UserError: they have changed since it began."""
    if config.valid is None:
        sets = read(config, seed, notify)
        check_validation(run, fingerprint(sets))
        return sets.valid
    valid = read_one(config.valid, config, notify, part="valid", names=names)
    check_validation(run, Fingerprint.of("images", (), _rows(valid), names))
    return valid


def _rows(images: Images) -> Iterator[tuple[str, bytes]]:
    return ((images.names[label], key) for key, label in zip(images.keys, images.labels, strict=True))


def digits(size: int) -> Images:
    """The 1,797 handwritten digits of scikit-learn, 8 × 8 pixels in 17 greys (Alpaydin and Kaynak 1998)."""
    datasets = require("sklearn.datasets", "image", "the built-in digits")
    loaded = datasets.load_digits()
    grey = (loaded.images * (255 / 16)).round().astype(np.uint8)
    pixels = np.stack([squared(np.repeat(digit[None], 3, 0), size) for digit in grey])
    keys = tuple(digit.tobytes() for digit in grey)
    return Images(pixels, loaded.target.astype(np.int64), tuple("0123456789"), keys)


def set_aside(images: Images, seed: int, notify: Notify) -> Sets:
    """Set a tenth of each class aside for validation. Raises UserError: a class has only one image."""
    for name, count in zip(images.names, np.bincount(images.labels, minlength=len(images.names)), strict=True):
        if count < 2:
            raise UserError(f"data.train: the class {name!r} has one image, and needs another one for validation")
    held_out = split.by_class(images.labels, share=_SET_ASIDE, seed=seed)
    notify(split.notice(f"{held_out.sum():,} of {len(held_out):,} images"))

    def part(mask: np.ndarray) -> Images:
        keys = tuple(key for key, included in zip(images.keys, mask, strict=True) if included)
        return Images(select(images.pixels, mask), images.labels[mask], images.names, keys)

    return Sets(part(~held_out), part(held_out))


@dataclass(frozen=True)
class Scale:
    """The normalization of pixels: mean and standard deviation of each colour over the training images, from 0 to 1."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, pixels: Pixels) -> Scale:
        """The normalization for images, uint8 ``(n, 3, H, W)``."""
        counts = np.zeros((3, 256), dtype=np.int64)
        for start in range(0, len(pixels), _BLOCK):
            block = pixels[start : start + _BLOCK]
            counts += [np.bincount(block[:, colour].ravel(), minlength=256) for colour in range(3)]
        at = np.arange(256) / 255
        means = [float((count * at).sum() / count.sum()) for count in counts]
        squares = [float((count * at**2).sum() / count.sum()) for count in counts]
        spread = [max(1e-3, square - mean**2) ** 0.5 for mean, square in zip(means, squares, strict=True)]
        return cls(tuple(means), tuple(spread))

    def __call__(self, pixels: np.ndarray, device: torch.device) -> Tensor:
        """Normalize uint8 images to float32, both ``(n, 3, H, W)``."""
        mean, deviation = (torch.tensor(t, device=device)[:, None, None] for t in (self.mean, self.deviation))
        return (torch.from_numpy(pixels).to(device).float() / 255 - mean) / deviation


def augment(x: Tensor, how: AugmentConfig) -> Tensor:
    """Shift, mirror and cut out of images ``(B, 3, S, S)``, each at random with PyTorch's generator."""
    count, _, size, _ = x.shape
    if how.crop:
        shift = torch.randint(0, 2 * how.crop + 1, (2, count, 1), device=x.device)
        rows, columns = shift + torch.arange(size, device=x.device)
        wide = F.pad(x, (how.crop,) * 4, mode="reflect")
        x = wide[torch.arange(count, device=x.device)[:, None, None], :, rows[:, :, None], columns[:, None]]
        x = x.permute(0, 3, 1, 2)
    if how.flip:
        x = torch.where(torch.rand(count, 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)
    if how.cutout:
        middle = torch.randint(0, size, (2, count, 1), device=x.device)
        near = (torch.arange(size, device=x.device) - middle).abs() * 2 < how.cutout
        x = x.masked_fill((near[0][:, :, None] & near[1][:, None])[:, None], 0.0)
    return x.contiguous()
