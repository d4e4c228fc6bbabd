"""What a model of texts needs whatever it computes: its export, and the attention on the word that decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.data.word_features import Features
from regard.models.one_window import OneWindow
from regard.models.text import TextClassifier
from regard.tasks.exporting import Exportable, recurrent
from regard.tasks.results import Score, attention_on

FEATURES = 24
"""The number of features of a word in an exported model's input."""

USE = (
    "an input is a text of at most one window; for each word, the numbers of its features: 2 + its place in the "
    "vocabulary, in lower case, or 1; then, of 'shape ' and its shape, and of each part of '<word>' in lower case "
    "of 3, then 4, then 5 characters: 2 + the size of the vocabulary + CRC-32 modulo buckets; padded with 0"
)


def exportable(model: TextClassifier, features: Features, window: int, notes: Mapping[str, Any]) -> Exportable:
    """A model from the features of words to logits, with what its export needs. ``notes``: see `Exportable`.

    Raises:
        UserError: the model is recurrent.
    """
    if model.kind == "gru":
        raise recurrent("transformer")

    def sample(sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
        return (torch.randint(1, features.count, (sizes["batch"], sizes["length"], FEATURES)),)

    all_notes = {**notes, "vocabulary": features.vocabulary, "buckets": features.buckets, "use": USE}
    inputs: dict[str, tuple[str | int, ...]] = {"features": ("batch", "length", FEATURES)}
    return Exportable(OneWindow(model), inputs, sample, {"length": window}, all_notes)


def on_deciding(weights: Sequence[np.ndarray], deciding: Sequence[int]) -> Score:
    """The mean attention on the word that decides, beside what it would be with equal weights.

    Args:
        weights: of the words of each text.
        deciding: the number of the word that decides, for each text.

    >>> on_deciding([np.array([0.5, 0.25, 0.25])], [0]).value
    50.0
    """
    shares = [(float(one[at]), 1 / len(one)) for one, at in zip(weights, deciding, strict=True)]
    return attention_on("word that decides the class", shares)
