"""The sentence of the gallery's examples, and the vectors of its words."""

from __future__ import annotations

import torch
from torch import Tensor

SENTENCE = ["the", "old", "cat", "sat", "on", "the", "mat", "while", "the", "dog", "ran", "outside"]
"""One word three times, two animals, two verbs, two places: similar words should attend in similar ways."""

_FEATURES = ("article", "animal", "doing", "place", "joining", "quality")

_WORDS = {
    "the": {"article": 1.0},
    "old": {"quality": 1.0},
    "cat": {"animal": 1.0, "quality": 0.25},
    "sat": {"doing": 0.9, "place": 0.35},
    "on": {"joining": 0.8, "place": 0.5},
    "mat": {"place": 1.0},
    "while": {"joining": 1.0},
    "dog": {"animal": 0.9, "doing": 0.2},
    "ran": {"doing": 1.0},
    "outside": {"place": 0.9, "joining": 0.2},
}


def words() -> Tensor:
    """A vector for each word, ``(12, 6)``; similar words have similar vectors."""
    rows = [[_WORDS[word].get(feature, 0.0) for feature in _FEATURES] for word in SENTENCE]
    return 2.6 * torch.tensor(rows)
