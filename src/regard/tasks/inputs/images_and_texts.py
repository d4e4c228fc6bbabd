"""The export of a model of images and texts: from both to the score of each pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from regard.data.image_batches import Scale
from regard.data.word_features import Features
from regard.models.matching import MatchingModel, Pictures, agreement
from regard.tasks.exporting import Exportable, recurrent
from regard.tasks.inputs.images import Scaled
from regard.tasks.inputs.texts import FEATURES, USE


def exportable(model: MatchingModel, features: Features, scale: Scale, size: int, longest: int) -> Exportable:
    """The model with what its export needs. Raises UserError: its text encoder is recurrent."""
    if model.recurrent:
        raise recurrent("transformer", "text")

    def sample(sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
        shape = (sizes["texts"], sizes["length"], FEATURES)
        return torch.rand(sizes["images"], 3, size, size), torch.randint(1, features.count, shape)

    notes: dict[str, Any] = {
        "task": "match", "vocabulary": features.vocabulary, "buckets": features.buckets,
        "use": f"images are RGB from 0 to 1, cut to their middle square; {USE}; a softmax of the scores of an image "
        "gives the probabilities of labels",
    }  # fmt: skip
    inputs: dict[str, tuple[str | int, ...]] = {
        "images": ("images", 3, size, size), "texts": ("texts", "length", FEATURES),
    }  # fmt: skip
    return Exportable(_Scores(model, scale), inputs, sample, {"length": longest}, notes)


class _Scores(nn.Module):
    """The model as it is exported: the scores ``(images, texts)``."""

    def __init__(self, model: MatchingModel, scale: Scale):
        super().__init__()
        self.scaled = Scaled(_See(model), scale)
        self.model = model

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        vectors, keys, values, _ = self.scaled(images)
        count, length, _ = texts.shape
        real = (texts > 0).any(-1)
        places = torch.arange(1, count * length + 1, device=texts.device).view(count, length)
        rows = torch.cat([torch.zeros_like(texts[:1, 0]), texts.flatten(0, 1)])
        captions = self.model.read(places * real, rows)
        scores: Tensor = vectors @ captions.vectors.T
        if captions.queries is None or captions.expected is None:
            return scores
        size = (images.shape[0], count)
        of_images = (part[:, None].expand(*size, -1, -1).flatten(0, 1) for part in (keys, values))
        of_texts = (part[None].expand(*size, -1, -1).flatten(0, 1) for part in (captions.queries, captions.expected))
        fine, _ = agreement(*of_images, *of_texts)
        return scores + fine.view(size)


class _See(nn.Module):
    def __init__(self, model: MatchingModel):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Pictures:
        return self.model.see(images)
