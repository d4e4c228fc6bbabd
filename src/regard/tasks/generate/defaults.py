"""The settings of a language model that follow the amount of text."""

from __future__ import annotations

import math

from regard.tasks.counting import bytes_of, count_tokens
from regard.tasks.generate.data import Text
from regard.tasks.generate.settings import GenerateConfig
from regard.training.defaults import bounded, epochs

_BATCHES_PER_EPOCH = 16


def defaults(config: GenerateConfig, text: Text) -> dict[str, object]:
    """Vocabulary size, context, model size, batch size and epochs by the amount of text.

    The number of steps grows with the square root of the number of tokens, from 300 for the smallest texts;
    benchmarks/defaults.py measures the result.
    """
    vocabulary = config.tokenizer.size or bounded(bytes_of(text.train) / 100, 300, 4000)
    tokens = count_tokens(text.train, kind=config.tokenizer.kind, size=vocabulary)
    context = config.model.context or bounded(tokens / 8, 8, 256)
    rows = max(1, round(bounded(tokens / _BATCHES_PER_EPOCH, 256, 4096) / context))
    batch = config.train.tokens or rows * context
    dim, layers = (128, 2) if tokens < 30_000 else (256, 4) if tokens < 300_000 else (256, 6)
    return {
        "tokenizer.size": vocabulary,
        "model.context": min(context, batch),
        "model.dim": dim,
        "model.layers": layers,
        "train.tokens": batch,
        "train.epochs": epochs(max(300.0, 2 * math.sqrt(tokens)), tokens / batch),
    }
