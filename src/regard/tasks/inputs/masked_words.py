"""Masked words for the pretraining of a model that reads words by their features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from regard.data.masking import Masking
from regard.data.word_batches import word_batch
from regard.data.word_features import Features, words_of
from regard.models.text import TextClassifier
from regard.training.masked import MaskedTexts
from regard.training.pretrain_config import PretrainConfig

_FIRST = 2
"""The feature of the first word of the vocabulary: see `Features`."""


def masked_words(
    model: TextClassifier, features: Features, texts: Sequence[str], config: PretrainConfig, *, window: int, seed: int
) -> MaskedTexts:
    """Texts whose masked words are restored by the encoder of ``model``.

    Words of the vocabulary are masked. The empty word, which no text has, is in the place of hidden ones.

    Raises:
        UserError: there are too few texts.
    """
    numbers = {word: number for number, word in enumerate(("", *features.vocabulary))}
    tokens = [np.array([numbers.setdefault(word, len(numbers)) for word in words_of(text)]) for text in texts]
    words = list(numbers)
    targets = np.array([max(-1, features.of(word)[0] - _FIRST) for word in words])

    def inputs(parts: Sequence[np.ndarray]) -> tuple[Tensor, ...]:
        batch = word_batch([[words[number] for number in part] for part in parts], features, window)
        return torch.from_numpy(batch.words).flatten(0, 1), torch.from_numpy(batch.features)

    return MaskedTexts(
        model.token_encoder(), tokens, Masking(0, targets), inputs, config, window=window, seed=seed, first=_FIRST
    )
