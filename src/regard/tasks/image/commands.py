"""What the command line does for image classification."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from regard.data.images import Images
from regard.errors import UserError
from regard.explain.overlay import save_overlay
from regard.tasks.exporting import Exportable
from regard.tasks.image import data
from regard.tasks.image.config import AugmentConfig, DataConfig, ImageConfig, ImageTrainConfig, ModelConfig
from regard.tasks.image.data import Scale
from regard.tasks.image.export import exportable
from regard.tasks.image.model import Classified, load, save_classes
from regard.tasks.image.task import ImageTask, scores
from regard.tasks.running import Training, say
from regard.train import run as runs
from regard.train.fingerprint import check_validation

TASK = "image"
EVALUATE_OPTIONS = frozenset({"on_bad", "image_column", "label_column"})
LOOK_OPTIONS = frozenset[str]()
"""Which of the command line's options `evaluate` and `look` have a meaning for."""

_CONFUSED = 5
"""How many pairs of classes that are taken for each other are told."""

Settings = Callable[[Path], ImageConfig]
"""Reads the configuration of a run's folder."""


def _samples(config: ImageConfig, run: Path, sets: data.Sets) -> list[str]:
    labeller = load(run, config)
    found, counts = scores(labeller.model, sets.valid, labeller.scale)
    told = f"Accuracy {found['accuracy']:.2f} % of {len(sets.valid.labels):,}."
    return [told, "", *_confused(counts, labeller.names)]


_TRAINING = Training(
    name=TASK,
    unit="images",
    read=lambda config, tell: data.read(config.data, config.train.seed, tell),
    fingerprint=data.fingerprint,
    fill=lambda config, sets, folder: save_classes(folder, sets.train.names, Scale.of(sets.train.pixels)),
    task=lambda config, run, sets, tell: ImageTask.of_run(run, config, sets),
    samples=_samples,
)
train, resume = _TRAINING.train, _TRAINING.resume


def classify(
    run: Path, settings: Settings, paths: Sequence[Path], *, checkpoint: str
) -> Iterator[Classified | UserError]:
    """Name what is in each image file; in the place of one that cannot be read comes the error that says why."""
    runs.check(run, TASK)
    labeller = load(run, settings(run), checkpoint)

    def one(path: Path) -> Classified | UserError:
        try:
            return labeller.classify(path)
        except UserError as error:
            return error

    return map(one, paths)


def look(run: Path, settings: Settings, text: str, *, checkpoint: str) -> Classified:
    """What is in the image file ``text``, and where the model looked. Raises UserError: it cannot be read."""
    result = next(classify(run, settings, [Path(text)], checkpoint=checkpoint))
    if isinstance(result, UserError):
        raise result
    return result


def export(run: Path, settings: Settings, *, checkpoint: str) -> Exportable:
    """What `regard export` writes into a file."""
    runs.check(run, TASK)
    return exportable(load(run, settings(run), checkpoint))


def draw(found: Classified, path: Path) -> None:
    """Draw where the model looked over the image."""
    if found.places is None:
        raise UserError(
            "look: this run tells nothing of places "
            "(train with --model.attention cbam, self or query, or --model.kind vit)"
        )
    name, chance = found.classes[0]
    save_overlay(found.picture, found.places, path, title=f"{name}, {chance:.0%}")


def show(found: Classified, console: Console) -> None:
    """Print the likeliest classes of an image."""
    told = ", ".join(f"{name} {chance:.1%}" for name, chance in found.classes[:3])
    console.print(f"{found.path}: {told}", highlight=False, markup=False, soft_wrap=True)


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
        images = _own_validation(run, config)
    else:
        images = data.read_one(path, replace(config.data, **reading), say, names=labeller.names)
    found, counts = scores(labeller.model, images, labeller.scale)
    each = {
        name: 100 * row[at] / row.sum()
        for at, (name, row) in enumerate(zip(labeller.names, counts, strict=True))
        if row.any()
    }
    worst = min(each, key=lambda name: each[name])
    return {
        "accuracy": (found["accuracy"], f"per cent of {len(images.labels):,} images"),
        "loss": (found["loss"], "cross-entropy in nats an image"),
        "worst": (float(each[worst]), f"per cent of the class {worst!r}"),
    }


def _own_validation(run: Path, config: ImageConfig) -> Images:
    sets = data.read(config.data, config.train.seed, say)
    check_validation(run, data.fingerprint(sets))
    return sets.valid


def show_scores(found: dict[str, tuple[float, str]], console: Console) -> None:
    """Print scores, one a line."""
    for name, (score, how) in found.items():
        text = f"{score:.4f}" if name == "loss" else f"{score:.2f}"
        console.print(f"  {name:10}{text:>9}  [dim]{how}[/dim]", highlight=False, soft_wrap=True)


def demo_config() -> ImageConfig:
    """Small enough to be trained in a minute or two on two cores."""
    return ImageConfig(
        data=DataConfig(size=32),
        augment=AugmentConfig(crop=4, flip=False, cutout=8),
        model=ModelConfig(attention="query", width=8, blocks=1),
        train=ImageTrainConfig(epochs=20, batch=64),
    )


def demo(run: Path, written: str) -> dict[str, tuple[float, str]]:
    """Train on handwritten digits, score those set aside, draw where it looked at one of them."""
    config, console = demo_config(), Console()
    train(config, run, written)
    console.print("\n[bold]On the digits set aside[/bold]")
    found = evaluate(run, lambda folder: config, None, checkpoint="best")
    show_scores(found, console)
    labeller = load(run, config)
    images = data.read(config.data, config.train.seed, say).valid
    path = run / "digit.png"
    _save(images.pixels[0], path)
    seen = labeller.classify(path)
    show(seen, console)
    draw(seen, run / "overlay.png")
    return found


def use_line(run: Path) -> str:
    """How to go on with a trained run."""
    return f"regard classify {run} photo.jpg --look overlay.png"


def drawn_line(run: Path) -> str:
    """What the demo drew."""
    return f"overlay    {run / 'overlay.png'}"


def _save(pixels: np.ndarray, path: Path) -> None:
    from PIL import Image

    Image.fromarray(pixels.transpose(1, 2, 0)).resize((128, 128), Image.Resampling.NEAREST).save(path)


def _confused(counts: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """The classes that are most often taken for another, as a table in Markdown."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(wrong, axis=None)[::-1][:_CONFUSED]
    pairs = [(int(at) // len(names), int(at) % len(names)) for at in order if wrong.flat[at]]
    rows = [f"| {names[true]} | {names[given]} | {wrong[true, given]} |" for true, given in pairs]
    return ["| is | taken for | times |", "| --- | --- | ---: |", *rows] if rows else []
