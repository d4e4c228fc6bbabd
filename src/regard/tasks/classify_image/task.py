"""Image classification: how `regard.tasks.running` trains, scores and shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from regard.tasks.classify_image import data
from regard.tasks.classify_image.data import Scale, Sets
from regard.tasks.classify_image.defaults import defaults
from regard.tasks.classify_image.predictor import Labeller, load, save_classes
from regard.tasks.classify_image.settings import ClassifyImageConfig
from regard.tasks.classify_image.trainable import ImageTask, scores
from regard.tasks.results import Score, Scores
from regard.tasks.task import Notify, Task
from regard.training.fingerprint import Fingerprint

_CONFUSED = 5
"""How many pairs of classes that are often confused the report lists."""


class ClassifyImage(Task[ClassifyImageConfig, Sets, Labeller]):
    """See `regard.tasks.task.Task`."""

    unit = "images"

    def read(self, config: ClassifyImageConfig, notify: Notify) -> Sets:
        """See `Task`."""
        return data.read(config.data, config.train.seed, notify)

    def fingerprint(self, sets: Sets) -> Fingerprint:
        """See `Task`."""
        return data.fingerprint(sets)

    def defaults(self, config: ClassifyImageConfig, sets: Sets) -> Mapping[str, object]:
        """See `Task`."""
        return defaults(config, sets)

    def prepare(self, config: ClassifyImageConfig, sets: Sets, folder: Path, notify: Notify) -> None:
        """Write the classes and the normalization of pixels."""
        save_classes(folder, sets.train.names, Scale.of(sets.train.pixels))

    def trainable(self, config: ClassifyImageConfig, run: Path, sets: Sets, notify: Notify) -> ImageTask:
        """See `Task`."""
        return ImageTask.of_run(run, config, sets)

    def predictor(self, config: ClassifyImageConfig, run: Path, checkpoint: str) -> Labeller:
        """See `Task`."""
        return load(run, config, checkpoint)

    def evaluate(
        self,
        labeller: Labeller,
        config: ClassifyImageConfig,
        run: Path,
        path: str | None,
        notify: Notify,
        *,
        on_bad: str | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
    ) -> Scores:
        """Scores on images, or on the run's own validation set.

        Raises:
            UserError: the images cannot be used, or the run's own have changed since training.
        """
        if path is None:
            images = data.own_validation(run, config.data, labeller.names, config.train.seed, notify)
        else:
            reading: dict[str, Any] = {"on_bad": on_bad, "image_column": image_column, "label_column": label_column}
            given = {name: value for name, value in reading.items() if value is not None}
            images = data.read_one(path, replace(config.data, **given), notify, names=labeller.names)
        figures, counts = scores(labeller.model, images, labeller.scale)
        accuracies = {
            name: 100 * row[label] / row.sum()
            for label, (name, row) in enumerate(zip(labeller.names, counts, strict=True))
            if row.any()
        }
        worst = min(accuracies, key=lambda name: accuracies[name])
        lowest = f"per cent of the images of {worst!r}, the class with the lowest accuracy"
        return {
            "accuracy": Score(figures["accuracy"], f"per cent of {len(images.labels):,} images"),
            "loss": Score(figures["loss"], "cross-entropy in nats per image", 4),
            "worst": Score(float(accuracies[worst]), lowest),
        }

    def samples(self, labeller: Labeller, config: ClassifyImageConfig, sets: Sets) -> Sequence[str]:
        """The accuracy, and the classes that are confused most often."""
        figures, counts = scores(labeller.model, sets.valid, labeller.scale)
        accuracy = f"Accuracy {figures['accuracy']:.2f} % of {len(sets.valid.labels):,}."
        return [accuracy, "", *_confused(counts, labeller.names)]

    def example(self, config: ClassifyImageConfig) -> str:
        """See `Task`."""
        has_map = config.model.kind == "vit" or config.model.attention in ("cbam", "self", "query")
        return "photo.jpg" + (" --look overlay.png" if has_map else "")

    def inputs(self, config: ClassifyImageConfig, folder: Path) -> list[str]:
        """Two digits of the validation set."""
        images = data.read(config.data, config.train.seed, lambda line: None).valid
        paths = [folder / "digit.png", folder / "digit-2.png"]
        for path, pixels in zip(paths, images.pixels[:2], strict=True):
            _save(pixels, path)
        return [str(path) for path in paths]

    def finish_demo(self, labeller: Labeller, config: ClassifyImageConfig, run: Path, console: Console) -> str:
        """Classify two digits of the validation set, and draw the attention over the first."""
        for path in self.inputs(config, run):
            labeller.look(path).show(console)
        labeller.look(str(run / "digit.png")).save(run / "overlay.png")
        return f"overlay    {run / 'overlay.png'}"


def _save(pixels: np.ndarray, path: Path) -> None:
    from PIL import Image

    Image.fromarray(pixels.transpose(1, 2, 0)).resize((128, 128), Image.Resampling.NEAREST).save(path)


def _confused(counts: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """The pairs of classes that are confused most often, as a Markdown table."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(wrong, axis=None)[::-1][:_CONFUSED]
    pairs = [(int(at) // len(names), int(at) % len(names)) for at in order if wrong.flat[at]]
    rows = [f"| {names[true]} | {names[predicted]} | {wrong[true, predicted]} |" for true, predicted in pairs]
    return ["| class | classified as | times |", "| --- | --- | ---: |", *rows] if rows else []
