"""The settings of a translator that follow the size of the parallel text."""

from __future__ import annotations

import math

from regard.tasks.translate.config import TranslateConfig
from regard.tasks.translate.data import Text
from regard.train.defaults import bounded, epochs

_BYTES_PER_TOKEN = 3.0
"""About what a byte-level tokenizer of the chosen size gives on European languages."""

_BATCHES_PER_EPOCH = 24
"""So many at least, until a batch is smaller than its lower bound: few steps per epoch waste small data."""


def defaults(config: TranslateConfig, text: Text) -> dict[str, object]:
    """Vocabulary sizes, width, batch size and epochs by the number of pairs and the amount of text.

    The number of steps grows with the square root of the number of pairs, from 1,000 for the smallest data;
    benchmarks/defaults.py measures what comes of it.
    """
    pairs = len(text.train)
    source, target = (sum(len(pair[side].encode()) for pair in text.train) for side in (0, 1))
    tokens = (source + target) / _BYTES_PER_TOKEN
    dim = config.model.dim or (128 if pairs < 1000 else 256 if pairs < 20_000 else 512)
    batch = config.train.tokens or bounded(tokens / _BATCHES_PER_EPOCH, 256, 4096)
    steps = max(1000.0, 27 * math.sqrt(pairs))
    return {
        "tokenizer.source_size": bounded(source / 100, 300, 8000),
        "tokenizer.target_size": bounded(target / 100, 300, 8000),
        "model.dim": dim,
        "model.embedding": dim // 2,
        "train.tokens": batch,
        "train.epochs": epochs(steps, tokens / batch),
    }
