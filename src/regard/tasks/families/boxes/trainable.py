"""Batches, loss and validation of detection, for `regard.training.loop.fit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from regard.data.box_batches import Change, changed, noise
from regard.data.boxed import BoxedImages
from regard.models.detector import Noised
from regard.tasks.families.boxes.loss import Objects, detection_loss
from regard.tasks.families.boxes.precision import average_precisions, means
from regard.tasks.families.boxes.predictor import BoxDetector, truth_of
from regard.tasks.families.boxes.settings import BoxAugmentConfig, BoxesTrainConfig
from regard.training.defaults import known
from regard.training.metric import Metric
from regard.training.validation import Part

METRICS = (
    Metric("loss", unit="per image", how="class, edges and overlap of all layers"),
    Metric("map50", higher_is_better=True, unit="%", how="mean average precision at an overlap of 0.5"),
    Metric("map", higher_is_better=True, unit="%", how="mean average precision at overlaps from 0.5 to 0.95"),
)


@dataclass(frozen=True)
class BoxSets:
    """Images with boxes for training and for validation."""

    train: BoxedImages
    valid: BoxedImages


class DetectTrainable:
    """See `regard.training.trainable.Trainable`.

    How an image is changed and what noise its boxes get is a pure function of seed, epoch and image.

    Args:
        detector: has the model that is trained, as it is used after training.
        sets: the images.
        config: the settings of training.
        augment: how images are changed.
    """

    metrics = METRICS

    def __init__(self, detector: BoxDetector, sets: BoxSets, config: BoxesTrainConfig, augment: BoxAugmentConfig):
        self.detector, self.sets, self.config, self.augment = detector, sets, config, augment
        self.model = detector.model
        self._epoch = 0

    @property
    def described(self) -> str:
        """See `regard.tasks.task.TaskTrainable`."""
        return self.sets.train.describe()

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """See `regard.training.trainable.Trainable`."""
        self._epoch = epoch
        random, size = np.random.default_rng([self.config.seed, epoch]), known(self.config.batch)
        rows = random.permutation(len(self.sets.train)).tolist()
        return [rows[at : at + size] for at in range(0, len(rows), size)]

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        """See `regard.training.trainable.Trainable`; an image counts as a token."""
        images, how, device = self.sets.train, self.augment, self.detector.device
        randoms = [np.random.default_rng([self.config.seed, self._epoch, row]) for row in rows]
        changes = [Change.draw(random, flip=how.flip, zoom=how.zoom) for random in randoms]
        x = changed(self.detector.scale(images.pixels(rows), device), changes)
        objects = [
            change.objects(without_crowds(images.objects[row])) for change, row in zip(changes, rows, strict=True)
        ]
        noised = self._noised(objects, randoms)
        detected = model(x, noised)
        return detection_loss(detected, padded(objects, device), self.config.noised), len(rows)

    @property
    def validation_count(self) -> int:
        """See `regard.training.trainable.Trainable`."""
        return len(self.sets.valid)

    def evaluate(self, part: Part) -> dict[str, float]:
        """See `regard.training.trainable.Trainable`."""
        valid, total, guesses = self.sets.valid, 0.0, []
        for rows in part.batches(self.detector.together):
            detected = self.model(self.detector.scale(valid.pixels(rows), self.detector.device))
            objects = padded([without_crowds(valid.objects[row]) for row in rows], self.detector.device)
            total += float(detection_loss(detected, objects, 1))
            guesses += self.detector.guesses(detected.layers[-1])
        (total,) = part.sum(total)
        every = part.gather(guesses)
        truths = [truth_of(valid.objects[row]) for row in part.every]
        map50, mean = means(average_precisions(truths, every, len(valid.names)))
        return {"loss": total / len(part.every), "map50": map50, "map": mean}

    def _noised(self, objects: list[np.ndarray], randoms: list[np.random.Generator]) -> Noised:
        """Known objects with noise, for the model."""
        groups, classes = self.config.noised, len(self.sets.train.names)
        most = max(1, *map(len, objects))
        labels = np.zeros((len(objects), groups, most), dtype=np.int64)
        anchors = np.full((len(objects), groups, most, 4), 0.5, dtype=np.float32)
        real = np.zeros((len(objects), groups, most), dtype=bool)
        for at, (own, random) in enumerate(zip(objects, randoms, strict=True)):
            labels[at, :, : len(own)], anchors[at, :, : len(own)] = noise(own, groups, classes, random)
            real[at, :, : len(own)] = True
        device = self.detector.device
        changed_labels, moved, used = (
            torch.from_numpy(one).flatten(1, 2).to(device) for one in (labels, anchors, real)
        )
        return Noised(changed_labels, moved, used, groups)


def without_crowds(objects: np.ndarray) -> np.ndarray:
    """The objects that are to be found."""
    kept: np.ndarray = objects[objects[:, 5] == 0]
    return kept


def padded(objects: list[np.ndarray], device: torch.device) -> Objects:
    """The objects of a batch as tensors."""
    most = max(1, *map(len, objects))
    rows = np.zeros((len(objects), most, 6), dtype=np.float32)
    for place, own in zip(rows, objects, strict=True):
        place[: len(own)] = own
    real = torch.arange(most) < torch.tensor([len(own) for own in objects])[:, None]
    every = torch.from_numpy(rows).to(device)
    return Objects(every[..., 0].long(), every[..., 1:5].contiguous(), real.to(device))
