"""The classifier as a file that other programs run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from regard.models.vision import Classifier
from regard.tasks.exporting import Exportable
from regard.tasks.image.data import Scale
from regard.tasks.image.model import Labeller


class _Scaled(nn.Module):
    """Takes colours from 0 to 1, so that nobody needs to know what the run made of them."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: Classifier, scale: Scale):
        super().__init__()
        self.model = model
        for name, colours in (("mean", scale.mean), ("deviation", scale.deviation)):
            self.register_buffer(name, torch.tensor(colours)[:, None, None])

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.model((pictures - self.mean) / self.deviation)
        return logits


def exportable(labeller: Labeller) -> Exportable:
    """Logits of the classes of pictures."""

    def sample(sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
        return (torch.rand(sizes["batch"], 3, labeller.size, labeller.size),)

    notes = {
        "task": "image", "classes": labeller.names,
        "use": "pictures are RGB from 0 to 1, cut to their middle square; logits of the classes in their order",
    }  # fmt: skip
    inputs = {"pictures": ("batch", 3, labeller.size, labeller.size)}
    return Exportable(_Scaled(labeller.model, labeller.scale), inputs, sample, notes=notes)
