"""From pictures to batches, and how those of training are changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.data.images import Pictures, read_pictures, squared
from regard.errors import UserError, require
from regard.tasks.image.config import AugmentConfig, DataConfig
from regard.train.fingerprint import Fingerprint

_SET_ASIDE = 0.1
_TOLD = 3


@dataclass(frozen=True)
class Sets:
    """Training and validation pictures."""

    train: Pictures
    valid: Pictures


def read(config: DataConfig, seed: int, tell: Callable[[str], None]) -> Sets:
    """The pictures that a configuration names. Raises UserError: they cannot be used."""
    if config.train is None:
        if config.valid is not None:
            raise UserError("data.valid: needs --data.train, since the built-in digits bring their own validation set")
        return set_aside(digits(config.size), seed, lambda line: None)
    train = read_pictures(config.train, config.size, on_bad=config.on_bad)
    _tell_bad(config.train, train, tell)
    if len(train.names) < 2:
        raise UserError(f"{config.train}: has one class, {train.names[0]!r}; needs at least two to tell apart")
    if config.valid is None:
        return set_aside(train, seed, tell)
    valid = read_pictures(config.valid, config.size, names=train.names, on_bad=config.on_bad)
    _tell_bad(config.valid, valid, tell)
    return Sets(train, valid)


def fingerprint(sets: Sets) -> Fingerprint:
    """What identifies the images of a run."""
    train, valid = (
        ((one.names[label], pixels.tobytes()) for pixels, label in zip(one.pixels, one.labels, strict=True))
        for one in (sets.train, sets.valid)
    )
    return Fingerprint.of("images", train, valid, sets.train.names)


def _tell_bad(path: str, pictures: Pictures, tell: Callable[[str], None]) -> None:
    if pictures.bad:
        more = ", …" if len(pictures.bad) > _TOLD else ""
        first = "; ".join(pictures.bad[:_TOLD])
        tell(f"{path}: left out {len(pictures.bad):,} files that are no pictures: {first}{more}")


def digits(size: int) -> Pictures:
    """The 1,797 handwritten digits of scikit-learn, 8 × 8 pixels in 17 greys (Alpaydin and Kaynak 1998)."""
    datasets = require("sklearn.datasets", "image", "the built-in digits")
    found = datasets.load_digits()
    grey = (found.images * (255 / 16)).round().astype(np.uint8)
    pixels = np.stack([squared(np.repeat(one[None], 3, 0), size) for one in grey])
    return Pictures(pixels, found.target.astype(np.int64), tuple("0123456789"))


def set_aside(pictures: Pictures, seed: int, tell: Callable[[str], None]) -> Sets:
    """Set a tenth of each class aside for validation. Raises UserError: a class has only one picture."""
    random = np.random.default_rng(seed)
    held = np.zeros(len(pictures.labels), dtype=bool)
    for label, name in enumerate(pictures.names):
        own = np.flatnonzero(pictures.labels == label)
        if len(own) < 2:
            raise UserError(f"data.train: the class {name!r} has one picture, and needs one more to validate on")
        held[random.permutation(own)[: max(1, round(_SET_ASIDE * len(own)))]] = True
    tell(f"set aside {held.sum():,} of {len(held):,} pictures for validation (name your own with --data.valid)")

    def part(chosen: np.ndarray) -> Pictures:
        return Pictures(pictures.pixels[chosen], pictures.labels[chosen], pictures.names)

    return Sets(part(~held), part(held))


@dataclass(frozen=True)
class Scale:
    """What pixels are reduced by: mean and standard deviation of each colour over the training pictures, of 0 to 1."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, pixels: np.ndarray) -> Scale:
        """That of uint8 ``(n, 3, H, W)``."""
        counts = [np.bincount(pixels[:, colour].ravel(), minlength=256) for colour in range(3)]
        at = np.arange(256) / 255
        means = [float((count * at).sum() / count.sum()) for count in counts]
        squares = [float((count * at**2).sum() / count.sum()) for count in counts]
        spread = [max(1e-3, square - mean**2) ** 0.5 for mean, square in zip(means, squares, strict=True)]
        return cls(tuple(means), tuple(spread))

    def __call__(self, pixels: np.ndarray, device: torch.device) -> Tensor:
        """Float32 of uint8, both ``(n, 3, H, W)``."""
        mean, deviation = (torch.tensor(t, device=device)[:, None, None] for t in (self.mean, self.deviation))
        return (torch.from_numpy(pixels).to(device).float() / 255 - mean) / deviation


def augment(x: Tensor, how: AugmentConfig) -> Tensor:
    """Move, mirror and blank pictures ``(B, 3, S, S)``, each by itself, as PyTorch's generator draws."""
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
