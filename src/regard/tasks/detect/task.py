"""Detection: how `regard.tasks.running` trains, scores and shows it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from regard.data import split
from regard.data.boxed import BoxedImages, boxed_scenes, read_boxed
from regard.data.image_batches import Scale
from regard.data.stratify import first_equal
from regard.errors import UserError
from regard.models.detector import Detector
from regard.tasks.detect.settings import DetectConfig
from regard.tasks.exporting import Exportable
from regard.tasks.families.boxes.evaluation import precisions_of, scores_of
from regard.tasks.families.boxes.predictor import BoxDetector, LastLayer
from regard.tasks.families.boxes.trainable import BoxSets, DetectTrainable
from regard.tasks.families.classify.labeller import load_classes, save_classes
from regard.tasks.inputs.images import exportable, save_example
from regard.tasks.results import Scores
from regard.tasks.task import Notify, Task, own_data
from regard.training import checkpoint as checkpoints
from regard.training.defaults import bounded, epochs, known
from regard.training.fingerprint import Fingerprint, check_validation

_BATCHES_PER_EPOCH = 16
_SCORED = 500
"""The number of generated scenes that a run on generated scenes is scored on."""


class ImageDetector(BoxDetector):
    """See `BoxDetector`."""

    def exportable(self) -> Exportable:
        """See `regard.tasks.task.Predictor`."""
        notes = {
            "task": "detect", "classes": self.names,
            "use": "images are RGB from 0 to 1, scaled to fit at the top left of the square, the rest 0.5; boxes are "
            "left, top, right and bottom as parts of the square; the score of a class is the sigmoid of its logit; "
            "several boxes can be of the same object",
        }  # fmt: skip
        return exportable(LastLayer(self.model), self.scale, self.size, notes, ("logits", "boxes"))


class Detect(Task[DetectConfig, BoxSets, ImageDetector]):
    """See `regard.tasks.task.Task`."""

    unit = "images"

    def read(self, config: DetectConfig, notify: Notify) -> BoxSets:
        """See `Task`."""
        data, seed = config.data, config.train.seed
        source = f"{data.builtin_scenes:,} generated scenes of shapes and digits"
        path = own_data(data.train, data.valid, source, "a part of the generated scenes is set aside", notify)
        if path is None:
            every = boxed_scenes(data.builtin_scenes, data.size, seed=seed)
            return _divided(every, np.arange(len(every)) >= 0.9 * len(every))
        train = _read(config, path, notify)
        if data.valid is not None:
            sets = BoxSets(train, _read(config, data.valid, notify, names=train.names))
            if both := split.repeated(train.keys, sets.valid.keys):
                notify(split.shared_notice(both, len(sets.valid), self.unit))
            return sets
        groups = np.unique(first_equal(train.keys), return_inverse=True)[1]
        if groups.max() < 1:
            raise UserError(f"{path}: has one image; training needs two at least, one of them for validation")
        held_out = split.by_group(groups, share=0.1, most=5000, seed=seed)
        notify(split.notice(f"{int(held_out.sum()):,} of {len(train):,} images"))
        return _divided(train, held_out)

    def fingerprint(self, sets: BoxSets) -> Fingerprint:
        """See `Task`."""
        return Fingerprint.of(self.unit, _rows(sets.train), _rows(sets.valid), sets.train.names)

    def defaults(self, config: DetectConfig, sets: BoxSets) -> Mapping[str, object]:
        """Settings by the size and the number of the images, and by the number of their objects."""
        count, most = len(sets.train), int(sets.train.objects.lengths.max(initial=1))
        batch = config.train.batch or bounded(count / _BATCHES_PER_EPOCH, 4, 32)
        return {
            "model.halvings": bounded(math.log2(config.data.size / 16), 1, 4),
            "model.queries": bounded(2 * most + 10, 20, 300),
            "train.batch": batch,
            "train.epochs": epochs(1000 + 30 * math.sqrt(count), count / batch),
        }

    def prepare(self, config: DetectConfig, sets: BoxSets, folder: Path, notify: Notify) -> None:
        """Write the classes and the normalization of pixels."""
        rows = range(min(len(sets.train), 1000))
        save_classes(folder, sets.train.names, **asdict(Scale.of(sets.train.pixels(rows))))

    def untrained(self, config: DetectConfig, run: Path) -> ImageDetector:
        """A new model with random weights, with the classes of a run's folder."""
        names, scale = load_classes(run, "mean", "deviation")
        model = config.model
        made = Detector(
            len(names), width=model.width, halvings=known(model.halvings), blocks=model.blocks,
            encoder_layers=model.encoder_layers, decoder_layers=model.decoder_layers, heads=model.heads,
            queries=known(model.queries), attention=model.attention, dropout=model.dropout,
        )  # fmt: skip
        return ImageDetector(made, names, Scale(*map(tuple, scale.values())), config.data.size)

    def trainable(self, config: DetectConfig, run: Path, sets: BoxSets, notify: Notify) -> DetectTrainable:
        """See `Task`."""
        torch.manual_seed(config.train.seed)
        return DetectTrainable(self.untrained(config, run), sets, config.train, config.augment)

    def predictor(self, config: DetectConfig, run: Path, checkpoint: str) -> ImageDetector:
        """See `Task`."""
        detector = self.untrained(config, run)
        checkpoints.fill(detector.model, run, checkpoint)
        detector.model.eval()
        return detector

    def evaluate(
        self,
        detector: ImageDetector,
        config: DetectConfig,
        run: Path,
        path: str | None,
        notify: Notify,
        *,
        images: str | None = None,
        on_bad: str | None = None,
    ) -> Scores:
        """Mean average precision, and the attention on the objects; of a run on generated scenes, for new scenes.

        Raises:
            UserError: the images cannot be used, or the run's own have changed since training.
        """
        if path is not None:
            given: dict[str, Any] = {"images": images, "on_bad": on_bad or config.data.on_bad}
            config = replace(config, data=replace(config.data, **given))
            return scores_of(detector, _read(config, path, notify, names=detector.names))
        if config.data.train is None:
            count = min(_SCORED, config.data.builtin_scenes)
            return scores_of(detector, boxed_scenes(count, config.data.size, seed=config.train.seed + 2))
        sets = self.read(config, notify)
        check_validation(run, self.fingerprint(sets))
        return scores_of(detector, sets.valid)

    def samples(self, detector: ImageDetector, config: DetectConfig, sets: BoxSets) -> Sequence[str]:
        """A table of the classes with the lowest average precision."""
        precisions, _ = precisions_of(detector, sets.valid)
        there = np.flatnonzero(~np.isnan(precisions[:, 0]))
        lowest = there[np.argsort(precisions[there, 0], kind="stable")][:20]
        table = ["| class | AP at 0.5, % | AP, % |", "|---|---|---|"]
        for label in lowest:
            name = detector.names[label].replace("|", "¦")
            table.append(f"| {name} | {100 * precisions[label, 0]:.1f} | {100 * precisions[label].mean():.1f} |")
        return table

    def example(self, config: DetectConfig) -> str:
        """See `Task`."""
        return "photo.jpg" + (" --look where.png" if config.model.attention == "cross" else "")

    def inputs(self, config: DetectConfig, folder: Path) -> list[str]:
        """Two scenes that are not trained on."""
        pixels = boxed_scenes(2, config.data.size, seed=config.train.seed + 1).pixels([0, 1])
        return [
            save_example(one, folder / name) for one, name in zip(pixels, ("scene.png", "scene-2.png"), strict=True)
        ]

    def finish_demo(self, detector: ImageDetector, config: DetectConfig, run: Path, console: Console) -> str:
        """Find the objects of the example inputs, and draw the attention for the first."""
        for number, item in enumerate(self.inputs(config, run)):
            result = detector.look(item)
            result.show(console)
            if number == 0:
                (result.save if result.objects else result.draw)(run / "boxes.png")
        return f"boxes      {run / 'boxes.png'}"


def _read(config: DetectConfig, path: str, notify: Notify, *, names: tuple[str, ...] | None = None) -> BoxedImages:
    data = config.data
    images = read_boxed(path, data.size, images=data.images, names=names, on_bad=data.on_bad)
    for line in (*images.notes, images.describe()):
        notify(f"{path}: {line}")
    return images


def _divided(images: BoxedImages, held_out: np.ndarray) -> BoxSets:
    return BoxSets(images.select(~held_out), images.select(held_out))


def _rows(images: BoxedImages) -> Iterator[tuple[str, bytes, bytes]]:
    for row, key in enumerate(images.keys):
        yield "", key, np.ascontiguousarray(images.objects[row]).tobytes()
