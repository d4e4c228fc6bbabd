"""Image classification: its models, the images, and where a model looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from regard.data.digits import digits
from regard.data.image_batches import Scale, augment
from regard.data.image_files import read_image, squared
from regard.data.images import Images, read_images
from regard.errors import UserError
from regard.explain.documents import document, grid
from regard.explain.overlay import save_overlay
from regard.explain.pictures import png
from regard.explain.save import save
from regard.models.vision import Classifier, Mirrored, ResNet, Seen, ViT
from regard.tasks.classify_image.settings import ClassifyImageConfig
from regard.tasks.exporting import Exportable
from regard.tasks.families.classify.labeller import Classified, Labeller, load_classes, save_classes
from regard.tasks.families.classify.task import ClassifyTask, PartName
from regard.tasks.families.classify.trainable import Sets, mixed
from regard.tasks.inputs.images import exportable, save_example
from regard.tasks.results import Scores
from regard.tasks.task import Notify
from regard.viewer.document import Axis, Document

_PIXELS = 256 * 32 * 32
"""Pixels of a validation batch, whose activations are much larger than the images."""


@dataclass(frozen=True)
class ClassifiedImage(Classified):
    """The classes of an image file.

    Attributes:
        image: its middle square, uint8 ``(3, side, side)``.
        places: the weight of each place of the image, ``(h, w)``; None: the model has no attention over places.
    """

    unit = "image"

    image: np.ndarray
    places: np.ndarray | None

    def save(self, path: str | Path) -> None:
        """Draw the attention over the image. Raises UserError: the model has none."""
        save(path, self.document, partial(save_overlay, self.image, self._weighted(), title=self._title))

    def document(self) -> Document:
        """See `Classified`: the patches of the image."""
        places = self._weighted()
        queries, keys = Axis((self.classes[0][0],), unit="class"), grid(places.shape, png(self.image))
        return document(self._title, queries, keys, {"attention": places.reshape(1, -1)}, [self.printed])

    @property
    def _title(self) -> str:
        name, probability = self.classes[0]
        return f"{name}, {probability:.0%}"

    def _weighted(self) -> np.ndarray:
        if self.places is None:
            raise UserError(
                "look: this model has no attention over places "
                "(train with --model.attention cbam, self or query, or --model.kind vit)"
            )
        return self.places

    def weights(self) -> Mapping[str, Any]:
        """The weight of each place."""
        return {} if self.places is None else {"places": self.places.tolist()}


@dataclass(frozen=True)
class ImageLabeller(Labeller[Images, tuple[str, np.ndarray]]):
    """A trained image classifier with the normalization of its pixels and the size of its images."""

    apart = Labeller.apart | {"scale"}

    model: Classifier
    scale: Scale
    size: int

    def open(self, item: str) -> tuple[str, np.ndarray]:
        """The name of an image file, and its pixels. Raises UserError: it cannot be read, or is no image."""
        return str(Path(item)), read_image(Path(item))

    def seen(self, inputs: Sequence[tuple[str, np.ndarray]]) -> Seen:
        """See `Labeller`."""
        return self.model.look(self.scale(np.stack([squared(image, self.size) for _, image in inputs]), self.device))

    def result(self, item: tuple[str, np.ndarray], seen: Seen, at: int) -> ClassifiedImage:
        """See `Labeller`."""
        name, image = item
        places = None if seen.places is None else seen.places[at].float().cpu().numpy()
        return ClassifiedImage(name, self.ranked(seen.logits[at]), squared(image, min(image.shape[1:])), places)

    def inputs(self, examples: Images, rows: Sequence[int]) -> tuple[Tensor]:
        """See `Labeller`."""
        return (self.scale(examples.pixels[list(rows)], self.device),)

    def batch_size(self, examples: Images) -> int:
        """See `Labeller`."""
        return max(1, _PIXELS // self.size**2)

    def own_exportable(self) -> Exportable:
        """See `Labeller`."""
        notes = {
            "task": "classify-image", "classes": self.names,
            "use": "images are RGB from 0 to 1, cut to their middle square; the logits are in the order of the classes",
        }  # fmt: skip
        return exportable(self.model, self.scale, self.size, notes)


class ClassifyImage(ClassifyTask[ClassifyImageConfig, Images, ImageLabeller]):
    """See `regard.tasks.task.Task`."""

    unit = "images"
    built_in = "digits"
    built_in_source = "the handwritten digits of scikit-learn"
    place = "the images of each class belong in a subfolder of it"
    drawing = "overlay.png"

    def examples(
        self,
        config: ClassifyImageConfig,
        path: str | None,
        *,
        part: PartName | None = None,
        names: tuple[str, ...] | None = None,
    ) -> Images:
        """See `ClassifyTask`."""
        data = config.data
        if path is None:
            return digits(data.size)
        return read_images(
            path, data.size, names=names, on_bad=data.on_bad, part=part,
            image_column=data.image_column, label_column=data.label_column,
        )  # fmt: skip

    def prepare(self, config: ClassifyImageConfig, sets: Sets[Images], folder: Path, notify: Notify) -> None:
        """Write the classes and the normalization of pixels."""
        save_classes(folder, sets.train.names, **asdict(Scale.of(sets.train.pixels)))

    def build(self, config: ClassifyImageConfig, run: Path) -> tuple[nn.Module, ImageLabeller]:
        """See `ClassifyTask`."""
        names, scale = load_classes(run, "mean", "deviation")
        settings, size = config.model, config.data.size
        model: ResNet | ViT
        if settings.kind == "vit":
            sizes = {"width": 4 * settings.width, "layers": 2 * settings.blocks, "heads": settings.heads}
            model = ViT(len(names), size=size, **sizes, dropout=settings.dropout)
        else:
            model = ResNet(len(names), width=settings.width, blocks=settings.blocks, attention=settings.attention)
        in_use = Mirrored(model) if settings.mirror else model
        return model, ImageLabeller(in_use, names, Scale(*map(tuple, scale.values())), size)

    def augment(
        self, config: ClassifyImageConfig, inputs: tuple[Tensor, ...], target: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """See `ClassifyTask`."""
        how = config.augment
        x = augment(inputs[0], crop=how.crop, flip=how.flip, cutout=how.cutout)
        if how.mixup:
            x, target = mixed(x, target, how.mixup)
        return (x,), target

    def evaluate(
        self,
        labeller: ImageLabeller,
        config: ClassifyImageConfig,
        run: Path,
        path: str | None,
        notify: Notify,
        *,
        on_bad: str | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
    ) -> Scores:
        """See `Task`. The options apply to ``path``."""
        config = self.with_options(
            config, path, on_bad=on_bad, image_column=image_column, label_column=label_column
        )  # fmt: skip
        return self.score(labeller, config, run, path, notify)

    def example(self, config: ClassifyImageConfig) -> str:
        """See `Task`."""
        has_map = config.model.kind == "vit" or config.model.attention in ("cbam", "self", "query")
        return "photo.jpg" + (" --look overlay.png" if has_map else "")

    def inputs(self, config: ClassifyImageConfig, folder: Path) -> list[str]:
        """Two digits of the validation set."""
        pixels = self.read(config, lambda line: None).valid.pixels[:2]
        return [
            save_example(one, folder / name) for one, name in zip(pixels, ("digit.png", "digit-2.png"), strict=True)
        ]
