"""Scores of a trained detector: average precision, and where the queries of the objects look."""

from __future__ import annotations

import time

import numpy as np
import torch

from regard.attend import Look
from regard.data.boxed import BoxedImages
from regard.models.boxes import covered
from regard.tasks.families.boxes.loss import match
from regard.tasks.families.boxes.precision import Guess, average_precisions, means
from regard.tasks.families.boxes.predictor import BoxDetector, truth_of
from regard.tasks.families.boxes.trainable import padded, without_crowds
from regard.tasks.results import Score, Scores, attention_on


def precisions_of(detector: BoxDetector, images: BoxedImages) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """The average precision of each class, and the attention in the box of each object with the area of the box.

    The attention is that of the query that is matched with the object, and empty for a model without attention.
    """
    guesses: list[Guess] = []
    shares: list[tuple[float, float]] = []
    detector.model.eval()
    with torch.inference_mode():
        for start in range(0, len(images), detector.together):
            rows = range(start, min(len(images), start + detector.together))
            x = detector.scale(images.pixels(rows), detector.device)
            predictions, view = detector.model.look(x, Look(rows=slice(None)) if detector.model.attends else None)
            guesses += detector.guesses(predictions)
            if view is not None:
                objects = padded([without_crowds(images.objects[row]) for row in rows], detector.device)
                image, query, number = match(predictions, objects)
                weights = view.rows.float().mean(1)[image, query]
                inside = covered(objects.boxes[image, number], round(weights.shape[-1] ** 0.5))
                shares += zip((weights * inside).sum(-1).tolist(), inside.mean(-1).tolist(), strict=True)
    truths = [truth_of(images.objects[row]) for row in range(len(images))]
    return average_precisions(truths, guesses, len(images.names)), shares


def scores_of(detector: BoxDetector, images: BoxedImages) -> Scores:
    """Mean average precision, the attention on the objects, and the speed."""
    began = time.perf_counter()
    precisions, shares = precisions_of(detector, images)
    speed = len(images) / (time.perf_counter() - began)
    map50, mean = means(precisions)
    there = int((~np.isnan(precisions[:, 0])).sum())
    result = {
        "map50": Score(map50, f"per cent, mean average precision of {there} classes at an overlap of 0.5"),
        "map": Score(mean, "per cent, the same, the mean over overlaps of 0.5, 0.55, … 0.95 (COCO)"),
    }
    if shares:
        result["on_object"] = attention_on("object of the query", shares)
    return result | {"images": Score(float(len(images)), f"{speed:,.0f} images per second", 0)}
