"""Trains and validates a language model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from regard.models.language import LanguageModel
from regard.tasks.families.language.settings import LanguageTrainConfig
from regard.tasks.families.language.stream import Stream, batches
from regard.training.defaults import known
from regard.training.metric import Metric
from regard.training.validation import Part

_TOKENS = 8192
"""Tokens per batch, where a signal need not end the scoring between two batches."""


class LanguageTrainable:
    """See `regard.training.trainable.Trainable`.

    Args:
        model: the model, whose ``forward`` returns the summed loss.
        train: the training text.
        valid: the validation text.
        context: the length of a window in tokens.
        config: settings of training.
    """

    metrics = (
        Metric("loss", unit="nats per token", how="cross-entropy in consecutive windows"),
        Metric("bits_per_byte", how="cross-entropy in bits, over the UTF-8 bytes of the text as written"),
    )

    def __init__(self, model: LanguageModel, train: Stream, valid: Stream, context: int, config: LanguageTrainConfig):
        self.model, self.train, self.valid, self.context, self.config = model, train, valid, context, config

    @property
    def described(self) -> str:
        """See `regard.tasks.task.TaskTrainable`."""
        return f"{len(self.train.tokens):,} tokens"

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """See `regard.training.trainable.Trainable`; an example is the start position of a window of the stream."""
        tokens, seed = known(self.config.tokens), self.config.seed
        return batches(self.train, context=self.context, tokens=tokens, seed=seed, epoch=epoch)

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        """See `regard.training.trainable.Trainable`."""
        tokens, targets, documents = self.train.windows(rows, self.context, self.model.output_bias.device)
        return model(tokens, targets, documents, self.config.label_smoothing), targets.numel()

    @property
    def validation_count(self) -> int:
        """See `regard.training.trainable.Trainable`; an example is a window."""
        return _windows(self.valid, self.context)

    def evaluate(self, part: Part) -> dict[str, float]:
        """See `regard.training.trainable.Trainable`."""
        return scores(self.model, self.valid, self.context, part, known(self.config.tokens))


def _windows(stream: Stream, context: int) -> int:
    """The number of windows that `scores` divides a stream into."""
    return math.ceil((len(stream.tokens) - 1) / context)


def scores(
    model: LanguageModel, stream: Stream, context: int, part: Part | None = None, size: int = _TOKENS
) -> dict[str, float]:
    """``loss`` in nats per token and ``bits_per_byte`` of the text, over windows that follow each other.

    Each token is scored once, except the first of the stream, which nothing predicts. A window has no earlier context.
    The tokens of some of the windows count as many bytes as those of all windows do on average.

    Args:
        model: the model.
        stream: the text.
        context: the length of a window; the last one may be shorter.
        part: the windows to score; None: all of them.
        size: tokens per batch; there is at least one window in it.
    """
    part = part or Part.complete(_windows(stream, context))
    total, count = 0.0, len(stream.tokens) - 1
    device = model.output_bias.device
    full = [row for row in part.rows if (row + 1) * context <= count]
    with torch.no_grad():
        windows = max(1, size // context)
        for rows in part.over(full[at : at + windows] for at in range(0, len(full), windows)):
            total += float(model(*stream.windows([row * context for row in rows], context, device)))
        scored = len(full) * context
        for row in part.rows[len(full) :]:
            total += float(model(*stream.windows([row * context], count - row * context, device)))
            scored += count - row * context
    total, tokens = part.sum(total, scored)
    return {"loss": total / tokens, "bits_per_byte": total / math.log(2) / (stream.size * int(tokens) / count)}
