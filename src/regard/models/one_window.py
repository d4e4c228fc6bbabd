"""Classifiers of texts as functions of one tensor: of the features of each word, or of the numbers of its vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.models.text import TextClassifier, embed_words


class OneWindow(nn.Module):
    """A classifier of texts of one window, from the features of each word in its place.

    Args:
        model: the classifier.
    """

    def __init__(self, model: TextClassifier):
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(B, classes)`` from features int64 ``(B, L, G)``; a word with the features 0 is padding."""
        batch, length, _ = features.shape
        real = (features > 0).any(-1)
        places = torch.arange(1, batch * length + 1, device=features.device).view(batch, 1, length)
        rows = torch.cat([torch.zeros_like(features[:1, 0]), features.flatten(0, 1)])
        logits: Tensor = self.model(places * real[:, None], rows)
        return logits


class NumberedWords(nn.Module):
    """A classifier of texts of one window, from the number of each word in its place: 0 is padding, 1 a hidden word.

    A hidden word has the vector 0, as one that is hidden in training.

    Args:
        model: the classifier.
        features: int64 ``(U, G)``: those of each distinct word, whose number is its row plus 1, as in
            `TextClassifier.look`.
    """

    HIDDEN = 1
    """The number of a hidden word."""

    def __init__(self, model: TextClassifier, features: Tensor):
        super().__init__()
        self.model = model
        with torch.no_grad():
            rows = torch.arange(len(features), device=features.device)
            vectors = embed_words(model.embedding, rows[None], features)[0]
        self.embedding = nn.Embedding.from_pretrained(torch.cat([vectors[:1], vectors[:1] * 0, vectors[1:]]))

    def forward(self, words: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of texts int64 ``(B, L)``."""
        return self.model.read(self.embedding(words)[:, None], words[:, None] > 0, None).logits
