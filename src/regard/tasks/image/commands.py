"""The commands of image classification: train, resume, classify, evaluate, look, export, demo."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from regard.errors import UserError
from regard.explain.overlay import save_overlay
from regard.tasks.exporting import Exportable
from regard.tasks.image import data
from regard.tasks.image.config import AugmentConfig, DataConfig, ImageConfig, ImageTrainConfig, ModelConfig
from regard.tasks.image.data import Scale
from regard.tasks.image.defaults import defaults
from regard.tasks.image.export import exportable
from regard.tasks.image.model import Classified, load, save_classes
from regard.tasks.image.task import ImageTask, scores
from regard.tasks.running import Training, say
from regard.train import run as runs

TASK = "image"
EVALUATE_OPTIONS = frozenset({"on_bad", "image_column", "label_column"})
LOOK_OPTIONS = frozenset[str]()
"""The command-line options that `evaluate` and `look` accept."""

_CONFUSED = 5
"""How many pairs of classes that are often confused the report lists."""

Settings = Callable[[Path], ImageConfig]
"""Reads the configuration of a run's folder."""


def _samples(config: ImageConfig, run: Path, sets: data.Sets) -> list[str]:
    labeller = load(run, config)
    figures, counts = scores(labeller.model, sets.valid, labeller.scale)
    accuracy = f"Accuracy {figures['accuracy']:.2f} % of {len(sets.valid.labels):,}."
    return [accuracy, "", *_confused(counts, labeller.names)]


_TRAINING = Training(
    name=TASK,
    unit="images",
    read=lambda config, notify: data.read(config.data, config.train.seed, notify),
    fingerprint=data.fingerprint,
    defaults=defaults,
    fill=lambda config, sets, folder: save_classes(folder, sets.train.names, Scale.of(sets.train.pixels)),
    task=lambda config, run, sets, notify: ImageTask.of_run(run, config, sets),
    samples=_samples,
)
train, resume = _TRAINING.train, _TRAINING.resume


def classify(
    run: Path, settings: Settings, paths: Sequence[Path], *, checkpoint: str
) -> Iterator[Classified | UserError]:
    """Classify each image file; for one that cannot be read, the iterator gives the error instead of raising it."""
    runs.check(run, TASK)
    labeller = load(run, settings(run), checkpoint)

    def result(path: Path) -> Classified | UserError:
        try:
            return labeller.classify(path)
        except UserError as error:
            return error

    return map(result, paths)


def look(run: Path, settings: Settings, text: str, *, checkpoint: str) -> Classified:
    """The classification of the image file ``text``, with the attention. Raises UserError: it cannot be read."""
    result = next(classify(run, settings, [Path(text)], checkpoint=checkpoint))
    if isinstance(result, UserError):
        raise result
    return result


def export(run: Path, settings: Settings, *, checkpoint: str) -> Exportable:
    """The model that `regard export` writes to a file."""
    runs.check(run, TASK)
    return exportable(load(run, settings(run), checkpoint))


def draw(result: Classified, path: Path) -> None:
    """Draw the attention over the image. Raises UserError: the model has none."""
    if result.places is None:
        raise UserError(
            "look: this model has no attention over places "
            "(train with --model.attention cbam, self or query, or --model.kind vit)"
        )
    name, probability = result.classes[0]
    save_overlay(result.image, result.places, path, title=f"{name}, {probability:.0%}")


def show(result: Classified, console: Console) -> None:
    """Print the most probable classes of an image."""
    classes = ", ".join(f"{name} {probability:.1%}" for name, probability in result.classes[:3])
    console.print(f"{result.path}: {classes}", highlight=False, markup=False, soft_wrap=True)


def evaluate(
    run: Path, settings: Settings, path: str | None, *, checkpoint: str, **reading: Any
) -> dict[str, tuple[float, str]]:
    """Scores on images, or on the run's own validation set, each with how it was computed.

    ``reading`` replaces settings of `DataConfig` by which the images at ``path`` are read.
    """
    runs.check(run, TASK)
    config = settings(run)
    labeller = load(run, config, checkpoint)
    if path is None:
        images = data.own_validation(run, config.data, labeller.names, config.train.seed, say)
    else:
        images = data.read_one(path, replace(config.data, **reading), say, names=labeller.names)
    figures, counts = scores(labeller.model, images, labeller.scale)
    accuracies = {
        name: 100 * row[label] / row.sum()
        for label, (name, row) in enumerate(zip(labeller.names, counts, strict=True))
        if row.any()
    }
    worst = min(accuracies, key=lambda name: accuracies[name])
    return {
        "accuracy": (figures["accuracy"], f"per cent of {len(images.labels):,} images"),
        "loss": (figures["loss"], "cross-entropy in nats per image"),
        "worst": (float(accuracies[worst]), f"per cent of the images of {worst!r}, the class with the lowest accuracy"),
    }


def show_scores(scored: dict[str, tuple[float, str]], console: Console) -> None:
    """Print scores, one per line."""
    for name, (score, how) in scored.items():
        text = f"{score:.4f}" if name == "loss" else f"{score:.2f}"
        console.print(f"  {name:10}{text:>9}  [dim]{how}[/dim]", highlight=False, soft_wrap=True)


def demo_config() -> ImageConfig:
    """Settings that train in a minute or two on two cores."""
    return ImageConfig(
        data=DataConfig(size=32),
        augment=AugmentConfig(crop=4, flip=False, cutout=8),
        model=ModelConfig(attention="query", width=8, blocks=1),
        train=ImageTrainConfig(epochs=20, batch=64),
    )


def demo(run: Path, written: Callable[[ImageConfig], str]) -> dict[str, tuple[float, str]]:
    """Train on handwritten digits, score the validation set, and draw the attention over one of its images."""
    config, console = demo_config(), Console()
    train(config, run, written)
    console.print("\n[bold]On the validation set[/bold]")
    scored = evaluate(run, lambda folder: config, None, checkpoint="best")
    show_scores(scored, console)
    labeller = load(run, config)
    images = data.read(config.data, config.train.seed, say).valid
    path = run / "digit.png"
    _save(images.pixels[0], path)
    result = labeller.classify(path)
    show(result, console)
    draw(result, run / "overlay.png")
    return scored


def use_line(run: Path, config: ImageConfig) -> str:
    """A command that uses the trained run."""
    has_map = config.model.kind == "vit" or config.model.attention in ("cbam", "self", "query")
    look = " --look overlay.png" if has_map else ""
    return f"regard classify {shlex.quote(str(run))} photo.jpg{look}"


def drawn_line(run: Path) -> str:
    """The line that names the file that the demo drew."""
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
