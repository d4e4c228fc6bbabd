"""Training of a classifier: batches, loss and validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.data.labelled import Examples
from regard.tasks.families.classify.labeller import Labeller
from regard.tasks.families.classify.scores import Outcome
from regard.tasks.families.classify.settings import ClassifyTrainConfig
from regard.training.defaults import known
from regard.training.metric import Metric
from regard.training.validation import Part

_POOL = 50
"""The number of batches whose examples are sorted by length together."""

Augment = Callable[[tuple[Tensor, ...], Tensor], tuple[tuple[Tensor, ...], Tensor]]
"""Changes the inputs of a batch and their targets ``(B, classes)``, which are probabilities, at random."""


@dataclass(frozen=True)
class Sets(Generic[Examples]):
    """Examples for training and for validation.

    Attributes:
        aside: whether those for validation were set aside from the user's training data.
    """

    train: Examples
    valid: Examples
    aside: bool = False


class ClassifyTrainable(Generic[Examples]):
    """Classification for the training loop: see `regard.training.trainable.Trainable`.

    Args:
        config: the settings of training.
        model: what is trained.
        labeller: has the model as it is used after training.
        sets: the examples.
        augment: changes a batch of training examples at random.
    """

    def __init__(
        self,
        config: ClassifyTrainConfig,
        model: nn.Module,
        labeller: Labeller[Examples, Any],
        sets: Sets[Examples],
        augment: Augment = lambda inputs, target: (inputs, target),
    ):
        self.config, self.model, self.sets, self.augment = config, model, sets, augment
        self.labeller = labeller.for_held_out
        self._lengths = labeller.lengths(sets.train)
        balanced = config.class_weights == "balanced"
        self._weights = torch.from_numpy(sets.train.balance).float() if balanced else None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """See `regard.training.trainable.Trainable`."""
        unit = self.sets.train.unit
        return (
            Metric("loss", unit=f"nats per {unit}", how="cross-entropy"),
            Metric("accuracy", higher_is_better=True, unit="%", how=f"{unit}s whose most probable class is their own"),
        )

    @property
    def described(self) -> str:
        """See `regard.tasks.task.TaskTrainable`."""
        train = self.sets.train
        return f"{len(train.labels):,} {train.unit}s of {len(train.names)} classes"

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """See `regard.training.trainable.Trainable`."""
        random, size = np.random.default_rng([self.config.seed, epoch]), known(self.config.batch)
        order = random.permutation(len(self.sets.train.labels))
        if self._lengths is not None:
            for at in range(0, len(order), _POOL * size):
                pool = order[at : at + _POOL * size]
                order[at : at + _POOL * size] = pool[np.argsort(self._lengths[pool], kind="stable")]
        batches = [order[at : at + size].tolist() for at in range(0, len(order), size)]
        if self._lengths is not None:
            batches = [batches[at] for at in random.permutation(len(batches))]
        # Batch normalization needs more than an example or two, so a small last batch is dropped.
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) < size // 2 else batches

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        """See `regard.training.trainable.Trainable`; an example counts as a token."""
        inputs, target = self.augment(self.labeller.inputs(self.sets.train, rows), self.target(rows))
        return self.criterion(model(*inputs).float(), target), len(rows)

    def target(self, rows: list[int]) -> Tensor:
        """The probabilities of the classes of training examples, ``(len(rows), classes)``: 1 for the class of each."""
        labels = torch.from_numpy(self.sets.train.labels[rows]).to(self.labeller.device)
        return F.one_hot(labels, len(self.sets.train.names)).float()

    def criterion(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss summed over examples; both ``(B, classes)``."""
        weight = None if self._weights is None else self._weights.to(logits)
        return F.cross_entropy(
            logits, target, weight=weight, reduction="sum", label_smoothing=self.config.label_smoothing
        )

    @property
    def validation_count(self) -> int:
        """See `regard.training.trainable.Trainable`."""
        return len(self.sets.valid.labels)

    def evaluate(self, part: Part) -> dict[str, float]:
        """See `regard.training.trainable.Trainable`."""
        outcome = self.labeller.score(self.sets.valid, part)
        assert isinstance(outcome, Outcome)
        loss, correct, count = part.sum(outcome.loss, outcome.correct, len(part.rows))
        return {"loss": loss / count, "accuracy": 100 * correct / count}


def mixed(x: Tensor, target: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Mix each input with another one of the batch, and their targets likewise: mixup (Zhang et al. 2018).

    Args:
        x: the inputs, ``(B, …)``.
        target: the probabilities of the classes, ``(B, classes)``.
        alpha: the share of an input is drawn from Beta(alpha, alpha), once for the batch.
    """
    share = torch.distributions.Beta(alpha, alpha).sample().item()
    mixed_x, mixed_target = (share * t + (1 - share) * t.flip(0) for t in (x, target))
    return mixed_x, mixed_target
