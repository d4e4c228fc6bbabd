"""The settings of a translator that follow the size of the parallel text."""

from __future__ import annotations

import math

from regard.tasks.counting import bytes_of, count_tokens
from regard.tasks.translate.data import Text
from regard.tasks.translate.settings import TranslateConfig
from regard.training.defaults import bounded, epochs

_BATCHES_PER_EPOCH = 24
"""Batches of an epoch, unless a bound on the size of a batch allows fewer or needs more: with few steps per epoch,
small data would need hundreds of epochs."""


def defaults(config: TranslateConfig, text: Text) -> dict[str, object]:
    """Vocabulary sizes, width, batch size and epochs by the number of pairs and the amount of text.

    The number of steps grows with the square root of the number of pairs, from 1,000 for the smallest data to 2,600 for
    30,000 pairs, as many as those of Multi30k needed (benchmarks/results/multi30k.txt); benchmarks/defaults.py measures
    the result.
    """
    pairs, sizes, tokens = len(text.train), [], 0.0
    for side, given in enumerate((config.tokenizer.source_size, config.tokenizer.target_size)):
        texts = (text.train.source, text.train.target)[side]
        sizes.append(given or bounded(bytes_of(texts) / 100, 300, 8000))
        tokens += count_tokens(texts, kind=config.tokenizer.kind, size=sizes[side])
    dim = config.model.dim or (128 if pairs < 1000 else 256 if pairs < 100_000 else 512)
    batch = config.train.tokens or bounded(tokens / _BATCHES_PER_EPOCH, 256, 4096)
    steps = 1000.0 + 9 * math.sqrt(pairs)
    return {
        "tokenizer.source_size": sizes[0],
        "tokenizer.target_size": sizes[1],
        "model.dim": dim,
        "model.embedding": dim // 2,
        "train.tokens": batch,
        "train.epochs": epochs(steps, tokens / batch),
    }
