"""The settings of a task from text to text that follow the size of the data."""

from __future__ import annotations

from regard.data.pairs import Pairs
from regard.tasks.counting import bytes_of, count_tokens
from regard.tasks.families.seq2seq.settings import TextToTextConfig
from regard.training.defaults import bounded, epochs

_BATCHES_PER_EPOCH = 24
"""Batches of an epoch, unless a bound on the size of a batch allows fewer or needs more: with few steps per epoch,
small data would need hundreds of epochs."""


def by_size(config: TextToTextConfig, pairs: Pairs, *, dim: int, steps: float) -> dict[str, object]:
    """Vocabulary sizes, width, batch size and epochs by the amount of text, for `regard.training.defaults.fill`.

    Args:
        config: the settings; those that are given determine the others.
        pairs: the training pairs.
        dim: the number of features, if it is not given.
        steps: the number of steps to train.
    """
    sizes, tokens = [], 0.0
    sides = ((pairs.source, config.tokenizer.source_size), (pairs.target, config.tokenizer.target_size))
    for texts, given in sides:
        sizes.append(given or bounded(bytes_of(texts) / 100, 300, 8000))
        tokens += count_tokens(texts, kind=config.tokenizer.kind, size=sizes[-1])
    dim = config.model.dim or dim
    batch = config.train.tokens or bounded(tokens / _BATCHES_PER_EPOCH, 256, 4096)
    return {
        "tokenizer.source_size": sizes[0],
        "tokenizer.target_size": sizes[1],
        "model.dim": dim,
        "model.embedding": dim // 2,
        "train.tokens": batch,
        "train.epochs": epochs(steps, tokens / batch),
    }
