"""Exporting the classifier to a file that other programs run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from regard.models.vision import Classifier
from regard.tasks.classify_image.data import Scale
from regard.tasks.exporting import Exportable


class _Scaled(nn.Module):
    """The classifier with its normalization of the pixels: it takes RGB values from 0 to 1."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: Classifier, scale: Scale):
        super().__init__()
        self.model = model
        for name, colours in (("mean", scale.mean), ("deviation", scale.deviation)):
            self.register_buffer(name, torch.tensor(colours)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model((images - self.mean) / self.deviation)
        return logits


def exportable(model: Classifier, names: tuple[str, ...], scale: Scale, size: int) -> Exportable:
    """The classifier, from images to logits, with what its export needs."""

    def sample(sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
        return (torch.rand(sizes["batch"], 3, size, size),)

    notes = {
        "task": "classify-image", "classes": names,
        "use": "images are RGB from 0 to 1, cut to their middle square; the logits are in the order of the classes",
    }  # fmt: skip
    inputs = {"images": ("batch", 3, size, size)}
    return Exportable(_Scaled(model, scale), inputs, sample, notes=notes)
