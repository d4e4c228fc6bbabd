"""The results of a detector: the objects of an image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from regard.errors import UserError
from regard.explain.boxes import save_attended, save_boxes
from regard.explain.documents import document, grid
from regard.explain.pictures import png
from regard.explain.save import save
from regard.viewer.document import Axis, Document


@dataclass(frozen=True)
class DetectedObject:
    """An object.

    Attributes:
        label: its class.
        score: how sure the model is, from 0 to 1.
        box: the left, top, right and bottom edge, in pixels of the image.
        places: the attention of its query to the places of the image, ``(h, w)``, which sums to 1; None: the model has
            none, or it was not asked for.
    """

    label: str
    score: float
    box: tuple[float, float, float, float]
    places: np.ndarray | None = None

    @property
    def text(self) -> str:
        """Label, score and edges, such as ``"cat 0.97 10,20,50,80"``."""
        return f"{self.label} {self.score:.2f} {','.join(f'{edge:.0f}' for edge in self.box)}"

    def to_dict(self, *, attention: bool) -> dict[str, Any]:
        """The object as JSON can represent it."""
        weights = {"attention": self.places.tolist()} if attention and self.places is not None else {}
        return {"label": self.label, "score": self.score, "box": list(self.box), **weights}


@dataclass(frozen=True)
class Detections:
    """The objects of an image.

    Attributes:
        input: the name of its file.
        image: uint8 ``(3, H, W)``.
        objects: the surest first.
        attends: whether the model has attention to the places of the image.
    """

    input: str
    image: np.ndarray
    objects: tuple[DetectedObject, ...]
    attends: bool

    def line(self) -> str:
        """The input and its objects, separated by tabs."""
        return "\t".join([self.input, *(one.text for one in self.objects)])

    def show(self, console: Console) -> None:
        """Print the objects, one per line."""
        console.print(f"{self.input}: {len(self.objects)} objects", highlight=False, markup=False, soft_wrap=True)
        for one in self.objects:
            console.print(f"  {one.text}", highlight=False, markup=False, soft_wrap=True)

    def draw(self, path: Path) -> None:
        """Draw the image with its boxes. Raises UserError: the file cannot be written."""
        save_boxes(self.image, [(one.text, one.box) for one in self.objects], path)

    def save(self, path: str | Path) -> None:
        """Draw the image with its boxes, and for each box what its query attended to.

        Raises:
            UserError: the model has no attention, or found no object, or the file cannot be written.
        """
        places = self._places()
        objects = [(one.text, one.box) for one in self.objects]
        save(path, self.document, partial(save_attended, self.image, objects, places))

    def document(self) -> Document:
        """What the viewer shows: the boxes, and the patches of the image that the query of each attended to.

        Raises:
            UserError: the model has no attention, or found no object.
        """
        places = self._places()
        height, width = self.image.shape[1:]
        picture, side = png(self.image), max(height, width)
        edges = np.array([one.box for one in self.objects]) / np.tile((width, height), 2)
        queries = Axis(
            tuple(f"{one.label} {one.score:.2f}" for one in self.objects), unit="box", pictures=(picture,),
            places=tuple((0, *box) for box in edges.tolist()),
        )  # fmt: skip
        keys = grid(places[0].shape, picture, right=side / width, bottom=side / height)
        title = f"{Path(self.input).name}: {len(self.objects)} objects"
        return document(title, queries, keys, {"attention": np.stack(places).reshape(len(places), -1)})

    def _places(self) -> list[np.ndarray]:
        if not self.attends:
            raise UserError("look: this model has no attention (train with --model.attention cross)")
        if not self.objects:
            raise UserError(f"{self.input}: no object was found in it; a lower --threshold shows what is less sure")
        return [one.places for one in self.objects if one.places is not None]

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """The input and its objects; with ``attention``, also the weight of each place for each object."""
        objects = [one.to_dict(attention=attention) for one in self.objects]
        height, width = self.image.shape[1:]
        size = {"width": width, "height": height} if attention else {}
        return {"image": self.input, "objects": objects, **size}
