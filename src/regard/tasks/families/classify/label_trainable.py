"""Training of a classifier with several labels per example: a binary loss for each label, and their thresholds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.data.labelled import Examples
from regard.tasks.families.classify.label_scores import LabelsOutcome, best_thresholds
from regard.tasks.families.classify.trainable import ClassifyTrainable
from regard.training.metric import Metric
from regard.training.validation import Part


class LabelsTrainable(ClassifyTrainable[Examples]):
    """See `ClassifyTrainable`. A validation also chooses the threshold of each label."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """See `regard.training.trainable.Trainable`."""
        unit = self.sets.train.unit
        measures = {
            "accuracy": f"share of the true or predicted labels that are both, mean over the {unit}s",
            "micro_f1": "F1 of all labels together",
            "macro_f1": "mean of the F1 of the labels",
        }
        return (
            Metric("loss", unit=f"nats per {unit}", how="binary cross-entropy, summed over the labels"),
            *(
                Metric(name, higher_is_better=True, unit="%", how=f"{how}, with the best thresholds")
                for name, how in measures.items()
            ),
        )

    @property
    def described(self) -> str:
        """See `regard.tasks.task.TaskTrainable`."""
        train = self.sets.train
        return f"{len(train.labels):,} {train.unit}s with {len(train.names)} labels"

    def target(self, rows: list[int]) -> Tensor:
        """Which labels training examples have, ``(len(rows), classes)``: 1 for those of each."""
        return torch.from_numpy(self.sets.train.labels[rows]).to(self.labeller.device).float()

    def criterion(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss summed over labels and examples; both ``(B, classes)``."""
        weight = None
        if self._weights is not None:
            without, having = self._weights.to(logits)
            weight = target * having + (1 - target) * without
        target = target + self.config.label_smoothing * (0.5 - target)
        return F.binary_cross_entropy_with_logits(logits, target, weight=weight, reduction="sum")

    def evaluate(self, part: Part) -> dict[str, float]:
        """See `regard.training.trainable.Trainable`."""
        outcome = self.labeller.score(self.sets.valid, part)
        assert isinstance(outcome, LabelsOutcome)
        assert self.labeller.thresholds is not None
        loss, count = part.sum(outcome.loss, len(part.rows))
        rows = part.gather(list(zip(outcome.labels, outcome.probabilities, strict=True)))
        labels, probabilities = (np.stack(column) for column in zip(*rows, strict=True))
        thresholds = best_thresholds(labels, probabilities)
        self.labeller.thresholds.copy_(torch.from_numpy(thresholds))
        # As they are saved, in the precision of the model's buffer.
        chosen = self.labeller.thresholds.cpu().numpy()
        every = replace(outcome, labels=labels, probabilities=probabilities, thresholds=chosen)
        return {
            "loss": loss / count,
            "accuracy": 100 * every.accuracy,
            "micro_f1": 100 * float(every.micro.f1[0]),
            "macro_f1": 100 * every.macro_f1,
        }
