"""Training and evaluating a language model."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from regard.data.tokenizer import Tokenizer
from regard.errors import UserError
from regard.models.language import LanguageModel
from regard.tasks.generate.config import GenerateConfig
from regard.tasks.generate.data import Stream, Text, batches
from regard.tasks.generate.model import build
from regard.train.defaults import known
from regard.train.metric import Metric

_ROWS = 32
"""Windows per validation batch."""


class GenerateTask:
    """Text generation for the training loop: see `regard.train.loop.Trainable`."""

    metrics = (
        Metric("loss", unit="nats per token", how="cross-entropy in consecutive windows"),
        Metric("bits_per_byte", how="cross-entropy in bits, over the UTF-8 bytes of the text as written"),
    )

    def __init__(self, config: GenerateConfig, tokenizer: Tokenizer, text: Text):
        torch.manual_seed(config.train.seed)
        self.config, self.tokenizer = config, tokenizer
        self.train = Stream.of(text.train, tokenizer)
        self.valid = Stream.of(text.valid, tokenizer, text.valid_bytes)
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

    def batches(self, epoch: int) -> list[list[int]]:
        """See `regard.train.loop.Trainable`; an example is the start position of a window of the stream."""
        settings = self.config.train
        return batches(
            self.train,
            context=known(self.config.model.context),
            tokens=known(settings.tokens),
            seed=settings.seed,
            epoch=epoch,
        )

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        """See `regard.train.loop.Trainable`."""
        context = known(self.config.model.context)
        tokens, targets, documents = self.train.windows(rows, context, self.model.output_bias.device)
        return model(tokens, targets, documents, self.config.train.label_smoothing), targets.numel()

    def evaluate(self) -> dict[str, float]:
        """See `regard.train.loop.Trainable`."""
        return scores(self.model, self.valid, known(self.config.model.context))


def scores(model: LanguageModel, stream: Stream, context: int) -> dict[str, float]:
    """``loss`` in nats per token and ``bits_per_byte`` of the text, over windows that follow each other.

    Each token is scored once, except the first of the stream, which nothing predicts. A window has no earlier context.
    """
    total, count = 0.0, len(stream.tokens) - 1
    device = model.output_bias.device
    starts = list(range(0, count - context + 1, context))
    with torch.no_grad():
        for at in range(0, len(starts), _ROWS):
            total += float(model(*stream.windows(starts[at : at + _ROWS], context, device)))
        rest = len(starts) * context
        if rest < count:
            total += float(model(*stream.windows([rest], count - rest, device)))
    return {"loss": total / count, "bits_per_byte": total / math.log(2) / stream.size}
