"""A trained detector with the names of its classes: boxes of images, and what their queries attended to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from regard.attend import Look
from regard.data.image_batches import Scale
from regard.data.image_files import fitted, fitted_shape, read_image
from regard.errors import UserError
from regard.models.detector import Detector
from regard.models.modules import evaluating
from regard.models.queries import Predictions
from regard.tasks.families.boxes.precision import Guess, Truth, distinct
from regard.tasks.families.boxes.results import DetectedObject, Detections
from regard.tasks.results import Failure
from regard.tasks.task import Predictor

_MOST = 100
"""The largest number of boxes of an image that are scored."""
_PIXELS = 64 * 64 * 128
"""Pixels of a validation batch."""


@dataclass(frozen=True)
class BoxDetector(Predictor):
    """A trained detector.

    Attributes:
        model: the model.
        names: of its classes.
        scale: the normalization of pixels.
        size: the side of the square into which images are fitted.
    """

    model: Detector
    names: tuple[str, ...]
    scale: Scale
    size: int

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def together(self) -> int:
        """The number of images that are validated together."""
        return max(1, _PIXELS // self.size**2)

    def predict(
        self, inputs: Iterable[str], *, threshold: float = 0.3, out: Path | None = None
    ) -> Iterator[Detections | Failure]:
        """The objects of each image file, in order; an unusable file gives a `Failure`.

        Args:
            inputs: names of files.
            threshold: the smallest score of an object.
            out: a folder into which each image is drawn with its boxes.

        Raises:
            UserError: the folder cannot be written.
        """
        if out is not None:
            try:
                out.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"out: {out} cannot be made a folder ({error.strerror})") from error
        drawn = Counter[str]()
        for item in inputs:
            try:
                result = self.find(item, threshold, look=False)
            except UserError as error:
                yield Failure(item, str(error))
                continue
            if out is not None:
                name = Path(item).stem
                drawn[name] += 1  # files of several folders can have the same name
                result.draw(out / (f"{name}.png" if drawn[name] == 1 else f"{name}-{drawn[name]}.png"))
            yield result

    def look(self, item: str, *, threshold: float = 0.3) -> Detections:
        """The objects of an image, with the attention of the query of each. Raises UserError: it cannot be used."""
        return self.find(item, threshold, look=True)

    @torch.inference_mode()
    def find(self, item: str, threshold: float, *, look: bool) -> Detections:
        """The objects of an image file. Raises UserError: it cannot be read, or is no image."""
        image = read_image(Path(item))
        evaluating(self.model)
        x = self.scale(fitted(image, self.size)[None], self.device)
        predictions, view = self.model.look(x, Look(rows=slice(None)) if look and self.model.attends else None)
        best = predictions.logits[0].float().sigmoid().max(-1)
        scores, labels = best.values.cpu().numpy(), best.indices.cpu().numpy()
        height, width = image.shape[1:]
        inner = np.array(fitted_shape(height, width, self.size)[::-1]) / self.size
        edges = predictions.boxes[0].float().cpu().numpy() * np.tile((width, height) / inner, 2)
        edges = edges.clip(0, np.tile((width, height), 2))
        objects = []
        for query in distinct(Guess(labels, scores, edges), among_classes=True).tolist():
            left, top, right, bottom = map(float, edges[query])
            if float(scores[query]) < threshold or not (left < right and top < bottom):
                continue
            places = None if view is None else self.map_of(view.rows[0, :, query].float().mean(0))
            name = self.names[int(labels[query])]
            objects.append(DetectedObject(name, float(scores[query]), (left, top, right, bottom), places))
        return Detections(str(Path(item)), image, tuple(objects), self.model.attends)

    def map_of(self, weights: Tensor) -> np.ndarray:
        """The weights of the places ``(N,)`` as a map, ``(h, w)``."""
        side = round(weights.shape[0] ** 0.5)
        weighted: np.ndarray = weights.unflatten(0, (side, side)).cpu().numpy()
        return weighted

    def guesses(self, predictions: Predictions) -> list[Guess]:
        """The most probable pairs of a query and a class of each image, for `average_precisions`.

        Boxes of the same class that overlap too much are left out (`distinct`): after a short training, several queries
        find the same object.
        """
        classes = predictions.logits.shape[-1]
        scores = predictions.logits.float().sigmoid().flatten(1)
        best, at = scores.topk(min(_MOST, scores.shape[1]), dim=1)
        boxes = predictions.boxes.float().gather(1, (at // classes)[..., None].expand(-1, -1, 4))
        rows = zip(*((one.cpu().numpy()) for one in (at % classes, best, boxes)), strict=True)
        guesses = [Guess(*row) for row in rows]
        return [Guess(*(part[distinct(one)] for part in one)) for one in guesses]


def truth_of(objects: np.ndarray) -> Truth:
    """The objects of an image, for `average_precisions`; ``objects``: see `BoxedImages`."""
    return Truth(objects[:, 0].astype(np.int64), objects[:, 1:5], objects[:, 5] > 0)


class LastLayer(nn.Module):
    """A detector as it is exported: images ``(B, 3, size, size)`` to the logits and boxes of `Predictions`.

    Args:
        model: the detector.
    """

    def __init__(self, model: Detector):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The logits and the boxes of the last layer."""
        predictions, _ = self.model.look(x, None)
        return predictions.logits, predictions.boxes
