"""What a model of images needs whatever it computes: its export, and example images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regard.data.image_batches import Scale
from regard.errors import require
from regard.tasks.exporting import Exportable


class Scaled(nn.Module):
    """A model with its normalization of the pixels: it takes RGB values from 0 to 1.

    Args:
        model: takes normalized images ``(B, 3, H, W)``.
        scale: their normalization.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: nn.Module, scale: Scale):
        super().__init__()
        self.model = model
        for name, colours in (("mean", scale.mean), ("deviation", scale.deviation)):
            self.register_buffer(name, torch.tensor(colours)[:, None, None])

    def forward(self, images: Tensor) -> Any:
        """The model's output for images ``(B, 3, H, W)``."""
        return self.model((images - self.mean) / self.deviation)


def exportable(
    model: nn.Module, scale: Scale, size: int, notes: Mapping[str, Any], outputs: tuple[str, ...] = ("logits",)
) -> Exportable:
    """A model of images ``(B, 3, size, size)``, with what its export needs; the others are as in `Exportable`."""

    def sample(sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
        return (torch.rand(sizes["batch"], 3, size, size),)

    return Exportable(Scaled(model, scale), {"images": ("batch", 3, size, size)}, sample, notes=notes, outputs=outputs)


def save_example(pixels: np.ndarray, path: Path) -> str:
    """Write an image, uint8 ``(3, H, W)``, to a file of 128 × 128 pixels, and return its name."""
    image: Any = require("PIL.Image", "image", "writing an image")
    scaled = image.fromarray(pixels.transpose(1, 2, 0)).resize((128, 128), image.Resampling.NEAREST)
    scaled.save(path)
    return str(path)
