"""Batches, loss and validation of sequence-to-sequence models, for `regard.training.loop.fit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from regard.data.batching import batches, fill
from regard.models.encoder_decoder import EncoderDecoder
from regard.tasks.families.seq2seq.predictor import Tick
from regard.tasks.families.seq2seq.settings import Seq2SeqTrainConfig
from regard.training.defaults import known
from regard.training.metric import Metric
from regard.training.validation import Part

DECODED = 1000
"""Maximum number of validation examples that are decoded for a text metric; the loss is over all examples."""

_TOKENS = 8192
"""Source and target tokens of a batch, padding included, where a signal need not end the scoring between batches."""

LOSS = Metric("loss", unit="nats per target token", how="cross-entropy, EOS included, without label smoothing")
"""The metric that all sequence-to-sequence tasks have; the others compare output texts with references."""


class Examples(Protocol):
    """Training or validation examples, as what the model reads: see `regard.tasks.families.seq2seq.rows.Rows`."""

    @property
    def lengths(self) -> np.ndarray:
        """Source and target length of each example, ``(examples, 2)``, by which batches are made."""
        ...

    def __len__(self) -> int: ...

    def batch(self, rows: Sequence[int], device: torch.device) -> tuple[tuple[Tensor, ...], int]:
        """The tensors that the model's ``forward`` takes for these examples, and the number of their target tokens."""
        ...


class Validation(Protocol):
    """How the outputs for validation examples are decoded and scored."""

    def texts(self, rows: Sequence[int], tick: Tick) -> list[str]:
        """The outputs for the examples ``rows``, by greedy decoding."""
        ...

    def scores(self, texts: Sequence[str], rows: Sequence[int]) -> Mapping[str, float]:
        """The text metrics by name; ``texts``: the outputs for the examples ``rows``."""
        ...


class Seq2SeqTrainable:
    """See `regard.training.trainable.Trainable`.

    Args:
        model: the model, whose ``forward`` returns the summed loss.
        train: the training examples.
        valid: the validation examples.
        config: settings of training.
        metrics: `LOSS`, and the text metrics by which ``config.metric`` may choose.
        validation: decodes and scores outputs, if ``config.metric`` is not the loss.
        unit: what the examples are, in the plural.
    """

    def __init__(
        self,
        model: EncoderDecoder,
        train: Examples,
        valid: Examples,
        config: Seq2SeqTrainConfig,
        metrics: tuple[Metric, ...],
        validation: Validation,
        unit: str = "pairs",
    ):
        self.model, self.train, self.valid, self.config = model, train, valid, config
        self.metrics, self.validation, self.unit = metrics, validation, unit
        self._lengths = train.lengths

    @property
    def described(self) -> str:
        """See `regard.tasks.task.TaskTrainable`."""
        return f"{len(self.train):,} {self.unit}"

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """See `regard.training.trainable.Trainable`."""
        return batches(self._lengths, tokens=known(self.config.tokens), seed=self.config.seed, epoch=epoch)

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        """See `regard.training.trainable.Trainable`."""
        return _loss(model, self.train, rows, self.model.device, self.config.label_smoothing)

    @property
    def validation_count(self) -> int:
        """See `regard.training.trainable.Trainable`."""
        return len(self.valid)

    def evaluate(self, part: Part) -> dict[str, float]:
        """See `regard.training.trainable.Trainable`; with text metrics if ``train.metric`` is one of them."""
        decoded = part.first(DECODED) if self.config.metric != "loss" else None
        figures = {"loss": mean_loss(self.model, self.valid, part, known(self.config.tokens))}
        if decoded is not None:
            texts = decoded.gather(self.validation.texts(decoded.rows, decoded.tick))
            figures |= self.validation.scores(texts, decoded.every)
        return figures


def mean_loss(model: EncoderDecoder, examples: Examples, part: Part | None = None, size: int = _TOKENS) -> float:
    """Cross-entropy in nats per target token, EOS included, without label smoothing.

    Args:
        model: the model.
        examples: the examples to score.
        part: those of them to score in this process; None: all.
        size: source and target tokens per batch, padding included.
    """
    part = part or Part.complete(len(examples))
    total, tokens = 0.0, 0
    lengths = examples.lengths.tolist()
    order = sorted(part.rows, key=lambda row: lengths[row])
    with torch.no_grad():
        for rows in part.over(fill(order, lengths, size)):
            loss, count = _loss(model, examples, rows, model.device, 0.0)
            total, tokens = total + float(loss), tokens + count
    total, targets = part.sum(total, tokens)
    return total / max(1, targets)


def _loss(
    model: nn.Module, examples: Examples, rows: list[int], device: torch.device, smoothing: float
) -> tuple[Tensor, int]:
    """The summed loss of some examples, and the number of their target tokens."""
    inputs, count = examples.batch(rows, device)
    return model(*inputs, smoothing), count
