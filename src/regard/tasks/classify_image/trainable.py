"""Training and evaluating an image classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.data.images import Images
from regard.models.vision import Classifier
from regard.tasks.classify_image.data import Scale, Sets, augment
from regard.tasks.classify_image.predictor import build, in_use, load_classes
from regard.tasks.classify_image.settings import ClassifyImageConfig
from regard.training.defaults import known
from regard.training.metric import Metric
from regard.training.validation import Part

_PIXELS = 256 * 32 * 32
"""Pixels of a validation batch, whose activations are much larger than the images."""


class ImageTask:
    """Image classification for the training loop: see `regard.training.trainable.Trainable`.

    Batch normalization uses the statistics of the images of one process, so several processes give a loss that differs
    slightly from that of one.
    """

    metrics = (
        Metric("loss", unit="nats per image", how="cross-entropy"),
        Metric("accuracy", higher_is_better=True, unit="%", how="images whose most probable class is their own"),
    )

    def __init__(self, config: ClassifyImageConfig, names: tuple[str, ...], scale: Scale, sets: Sets):
        torch.manual_seed(config.train.seed)
        self.config, self.names, self.scale, self.sets = config, names, scale, sets
        self.model = build(config, len(names))

    @classmethod
    def of_run(cls, run: Path, config: ClassifyImageConfig, sets: Sets) -> ImageTask:
        """The task of a run's folder, over ``sets``. Raises UserError: its classes cannot be read."""
        return cls(config, *load_classes(run), sets)

    @property
    def described(self) -> str:
        """See `regard.tasks.running.Task`."""
        return f"{len(self.sets.train.labels):,} images of {len(self.names)} classes"

    def batches(self, epoch: int) -> list[list[int]]:
        """See `regard.training.trainable.Trainable`."""
        order = np.random.default_rng([self.config.train.seed, epoch]).permutation(len(self.sets.train.labels))
        size = known(self.config.train.batch)
        batches = [order[at : at + size].tolist() for at in range(0, len(order), size)]
        # Batch normalization needs more than an image or two, so a small last batch is dropped.
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) < size // 2 else batches

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        """See `regard.training.trainable.Trainable`; an image counts as a token."""
        device, how = self.model.output.weight.device, self.config.augment
        x = augment(self.scale(self.sets.train.pixels[rows], device), how)
        labels = torch.from_numpy(self.sets.train.labels[rows]).to(device)
        target = F.one_hot(labels, len(self.names)).to(x.dtype)
        if how.mixup:
            share = torch.distributions.Beta(how.mixup, how.mixup).sample().item()
            x, target = (share * t + (1 - share) * t.flip(0) for t in (x, target))
        smoothing = self.config.train.label_smoothing
        return F.cross_entropy(model(x).float(), target, reduction="sum", label_smoothing=smoothing), len(rows)

    @property
    def validation_count(self) -> int:
        """See `regard.training.trainable.Trainable`."""
        return len(self.sets.valid.labels)

    def evaluate(self, part: Part) -> dict[str, float]:
        """See `regard.training.trainable.Trainable`."""
        return scores(in_use(self.model, self.config), self.sets.valid, self.scale, part)[0]


def scores(
    model: Classifier, images: Images, scale: Scale, part: Part | None = None
) -> tuple[dict[str, float], np.ndarray]:
    """``loss`` in nats and ``accuracy`` in per cent; counts by true and by predicted class, ``(classes, classes)``.

    ``part``: the images to score, None: all of them; the counts are those of this process.
    """
    part = part or Part.complete(len(images.labels))
    device, total = model.output.weight.device, 0.0
    counts = np.zeros((len(images.names),) * 2, dtype=np.int64)
    with torch.no_grad():
        for rows in part.batches(max(1, _PIXELS // images.pixels[:1][0, 0].size)):
            labels = torch.from_numpy(images.labels[list(rows)]).to(device)
            logits = model(scale(images.pixels[list(rows)], device)).float()
            total += float(F.cross_entropy(logits, labels, reduction="sum"))
            np.add.at(counts, (labels.cpu().numpy(), logits.argmax(-1).cpu().numpy()), 1)
    total, correct, count = part.sum(total, float(np.trace(counts)), len(part.rows))
    return {"loss": total / count, "accuracy": 100 * correct / count}, counts
