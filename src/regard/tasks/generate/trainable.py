"""Training and evaluating a language model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from regard.data.tokenizer import Tokenizer
from regard.errors import UserError
from regard.models.language import LanguageModel
from regard.tasks.generate.data import Stream, Text, batches
from regard.tasks.generate.predictor import build
from regard.tasks.generate.settings import GenerateConfig
from regard.training.defaults import known
from regard.training.metric import Metric
from regard.training.validation import Part

_ROWS = 32
"""Windows per validation batch."""


class GenerateTask:
    """Text generation for the training loop: see `regard.training.trainable.Trainable`."""

    metrics = (
        Metric("loss", unit="nats per token", how="cross-entropy in consecutive windows"),
        Metric("bits_per_byte", how="cross-entropy in bits, over the UTF-8 bytes of the text as written"),
    )

    def __init__(self, config: GenerateConfig, tokenizer: Tokenizer, text: Text):
        torch.manual_seed(config.train.seed)
        self.config, self.tokenizer = config, tokenizer
        self.train = Stream.of(text.train, tokenizer)
        self.valid = Stream.of(text.valid, tokenizer)
        context = known(config.model.context)
        if len(self.train.tokens) <= context:
            count = len(self.train.tokens)
            raise UserError(
                f"model.context: must be below the number of tokens of the training text, {count:,}, got {context}"
            )
        if len(self.valid.tokens) < 2:
            raise UserError("data.valid: the validation text is empty")
        self.model: LanguageModel = build(config, tokenizer)

    @classmethod
    def of_run(cls, run: Path, config: GenerateConfig, text: Text) -> GenerateTask:
        """The task of a run's folder, over ``text``. Raises UserError: its tokenizer cannot be read."""
        return cls(config, Tokenizer.load(run / "tokenizer.json"), text)

    @property
    def described(self) -> str:
        """See `regard.tasks.running.Task`."""
        return f"{len(self.train.tokens):,} tokens"

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """See `regard.training.trainable.Trainable`; an example is the start position of a window of the stream."""
        settings = self.config.train
        return batches(
            self.train,
            context=known(self.config.model.context),
            tokens=known(settings.tokens),
            seed=settings.seed,
            epoch=epoch,
        )

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        """See `regard.training.trainable.Trainable`."""
        context = known(self.config.model.context)
        tokens, targets, documents = self.train.windows(rows, context, self.model.output_bias.device)
        return model(tokens, targets, documents, self.config.train.label_smoothing), targets.numel()

    @property
    def validation_count(self) -> int:
        """See `regard.training.trainable.Trainable`; an example is a window."""
        return _windows(self.valid, known(self.config.model.context))

    def evaluate(self, part: Part) -> dict[str, float]:
        """See `regard.training.trainable.Trainable`."""
        return scores(self.model, self.valid, known(self.config.model.context), part)


def _windows(stream: Stream, context: int) -> int:
    """The number of windows that `scores` divides a stream into."""
    return math.ceil((len(stream.tokens) - 1) / context)


def scores(model: LanguageModel, stream: Stream, context: int, part: Part | None = None) -> dict[str, float]:
    """``loss`` in nats per token and ``bits_per_byte`` of the text, over windows that follow each other.

    Each token is scored once, except the first of the stream, which nothing predicts. A window has no earlier context.
    The tokens of some of the windows count as many bytes as those of all windows do on average.

    Args:
        model: the model.
        stream: the text.
        context: the length of a window; the last one may be shorter.
        part: the windows to score; None: all of them.
    """
    part = part or Part.complete(_windows(stream, context))
    total, count = 0.0, len(stream.tokens) - 1
    device = model.output_bias.device
    full = [row for row in part.rows if (row + 1) * context <= count]
    with torch.no_grad():
        for rows in part.over(full[at : at + _ROWS] for at in range(0, len(full), _ROWS)):
            total += float(model(*stream.windows([row * context for row in rows], context, device)))
        scored = len(full) * context
        for row in part.rows[len(full) :]:
            total += float(model(*stream.windows([row * context], count - row * context, device)))
            scored += count - row * context
    total, tokens = part.sum(total, scored)
    return {"loss": total / tokens, "bits_per_byte": total / math.log(2) / (stream.size * int(tokens) / count)}
