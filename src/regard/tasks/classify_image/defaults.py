"""The settings of an image classifier that follow the number of images."""

from __future__ import annotations

import math

from regard.tasks.classify_image.data import Sets
from regard.tasks.classify_image.settings import ClassifyImageConfig
from regard.training.defaults import bounded, epochs

_BATCHES_PER_EPOCH = 16


def defaults(config: ClassifyImageConfig, sets: Sets) -> dict[str, object]:
    """Batch size and epochs by the number of images.

    The number of steps grows with the square root of the number of images, from 150 for the smallest data;
    benchmarks/defaults.py measures what comes of it.
    """
    images = len(sets.train.labels)
    batch = config.train.batch or bounded(images / _BATCHES_PER_EPOCH, 8, 128)
    steps = max(150.0, 12 * math.sqrt(images))
    return {"train.batch": batch, "train.epochs": epochs(steps, images / batch)}
