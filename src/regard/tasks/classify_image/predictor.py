"""The classifier of a run: the model with the names of its classes, from an image file to probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from regard.data.image_files import BadImage, open_image, squared
from regard.errors import UserError
from regard.explain.overlay import save_overlay
from regard.models.vision import Classifier, Mirrored, ResNet, ViT
from regard.tasks.classify_image.data import Scale
from regard.tasks.classify_image.export import exportable
from regard.tasks.classify_image.settings import ClassifyImageConfig
from regard.tasks.exporting import Exportable
from regard.tasks.results import Failure
from regard.tasks.task import Predictor
from regard.training import checkpoint

_CLASSES = "classes.json"


@dataclass(frozen=True)
class Classified:
    """The classification of one image.

    Attributes:
        path: of the image file.
        image: its middle square, uint8 ``(3, side, side)``.
        classes: names and probabilities, the most probable first.
        places: the weight of each place of the image, ``(h, w)``; None: the model has no attention over places.
    """

    path: Path
    image: np.ndarray
    classes: tuple[tuple[str, float], ...]
    places: np.ndarray | None

    def line(self) -> str:
        """The file and its classes with their probabilities, separated by tabs."""
        return "\t".join([str(self.path), *(f"{name} {probability:.4f}" for name, probability in self.classes)])

    def show(self, console: Console) -> None:
        """Print the most probable classes."""
        classes = ", ".join(f"{name} {probability:.1%}" for name, probability in self.classes[:3])
        console.print(f"{self.path}: {classes}", highlight=False, markup=False, soft_wrap=True)

    def save(self, path: str | Path) -> None:
        """Draw the attention over the image. Raises UserError: the model has none."""
        if self.places is None:
            raise UserError(
                "look: this model has no attention over places "
                "(train with --model.attention cbam, self or query, or --model.kind vit)"
            )
        name, probability = self.classes[0]
        save_overlay(self.image, self.places, Path(path), title=f"{name}, {probability:.0%}")

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """The file and its classes with their probabilities; with ``attention``, also the weight of each place."""
        places = {"places": self.places.tolist()} if attention and self.places is not None else {}
        return {"image": str(self.path), "classes": dict(self.classes), **places}


@dataclass(frozen=True)
class Labeller(Predictor):
    """A trained classifier with the names of its classes and the normalization of its pixels."""

    model: Classifier
    names: tuple[str, ...]
    scale: Scale
    size: int

    def predict(self, inputs: Iterable[str], *, top: int | None = None) -> Iterator[Classified | Failure]:
        """The classes of each image file, the ``top`` most probable ones; a file that is no image gives a `Failure`."""
        for path in inputs:
            try:
                result = self.classify(Path(path))
            except UserError as error:
                yield Failure(path, str(error))
            else:
                yield replace(result, classes=result.classes[:top])

    def look(self, item: str) -> Classified:
        """The classification of an image file, with the attention. Raises UserError: it cannot be read."""
        return self.classify(Path(item))

    def exportable(self) -> Exportable:
        """See `regard.tasks.task.Predictor`."""
        return exportable(self.model, self.names, self.scale, self.size)

    def classify(self, path: Path) -> Classified:
        """Classify an image file. Raises UserError: it cannot be read, or is no image."""
        try:
            image = open_image(path.read_bytes())
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}") from error
        except BadImage as error:
            raise UserError(f"{path}: not a usable image: {error}") from error
        batch = self.scale(squared(image, self.size)[None], self.model.output.weight.device)
        with torch.inference_mode():
            output = self.model.eval().look(batch)
        probabilities = output.logits[0].float().softmax(-1)
        order = probabilities.argsort(descending=True).tolist()
        places = None if output.places is None else output.places[0].float().cpu().numpy()
        side = min(image.shape[1:])
        classes = tuple((self.names[label], float(probabilities[label])) for label in order)
        return Classified(path, squared(image, side), classes, places)


def build(config: ClassifyImageConfig, classes: int) -> ResNet | ViT:
    """A new model with random weights."""
    model = config.model
    if model.kind == "vit":
        return ViT(
            classes, size=config.data.size, width=4 * model.width, layers=2 * model.blocks, heads=model.heads,
            dropout=model.dropout,
        )  # fmt: skip
    return ResNet(classes, width=model.width, blocks=model.blocks, attention=model.attention)


def in_use(model: ResNet | ViT, config: ClassifyImageConfig) -> Classifier:
    """The model as it is used after training: with ``model.mirror``, on each image and its mirror image."""
    return Mirrored(model) if config.model.mirror else model


def save_classes(folder: Path, names: tuple[str, ...], scale: Scale) -> None:
    """Write both to a run's folder, for `load`."""
    checkpoint.write_json(folder / _CLASSES, {"names": names, **asdict(scale)})


def load_classes(run: Path) -> tuple[tuple[str, ...], Scale]:
    """The names and the scale that `save_classes` wrote. Raises UserError: the file is missing or damaged."""
    content: dict[str, Any] = checkpoint.read_json(run / _CLASSES)
    try:
        return tuple(content["names"]), Scale(tuple(content["mean"]), tuple(content["deviation"]))
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{run / _CLASSES}: not a file of classes ({error}); restore it as training wrote it"
        ) from error


def load(run: Path, config: ClassifyImageConfig, which: str = "best") -> Labeller:
    """The classifier of a run's folder.

    Raises:
        UserError: the run has no such checkpoint, a file is missing or unreadable, or the weights do not fit.
    """
    names, scale = load_classes(run)
    model = build(config, len(names))
    checkpoint.fill(model, run, which)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return Labeller(in_use(model, config).eval(), names, scale, config.data.size)
