"""The settings of a language model that follow the amount of text."""

from __future__ import annotations

import math

from regard.tasks.generate.config import GenerateConfig
from regard.tasks.generate.data import Text
from regard.train.defaults import bounded, epochs

_BATCHES_PER_EPOCH = 16


def defaults(config: GenerateConfig, text: Text) -> dict[str, object]:
    """Vocabulary size, context, model size, batch size and epochs by the amount of text.

    The number of steps grows with the square root of the number of tokens, from 300 for the smallest texts;
    benchmarks/defaults.py measures what comes of it.
    """
    size = sum(len(document.encode()) for document in text.train)
    characters = sum(map(len, text.train))
    tokens = characters if config.tokenizer.kind == "char" else size / (2.0 if size < 10_000 else 3.5)
    context = config.model.context or bounded(tokens / 8, 8, 256)
    batch = config.train.tokens or max(context, bounded(tokens / _BATCHES_PER_EPOCH, 256, 4096))
    dim, layers = (128, 2) if tokens < 30_000 else (256, 4) if tokens < 300_000 else (256, 6)
    return {
        "tokenizer.size": bounded(size / 100, 300, 4000),
        "model.context": min(context, batch),
        "model.dim": dim,
        "model.layers": layers,
        "train.tokens": batch,
        "train.epochs": epochs(max(300.0, 2 * math.sqrt(tokens)), tokens / batch),
    }
