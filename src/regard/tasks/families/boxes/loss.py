"""The loss of a detector: which query is for which object, and how well classes and boxes fit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.errors import require
from regard.models.boxes import overlaps
from regard.models.detector import Detected
from regard.models.queries import Predictions

_CLASS, _SIDES, _SHARED = 2.0, 5.0, 2.0
"""The weights of the class, of the distance of the edges and of the overlap (Zhu et al. 2021, arXiv:2010.04159)."""
_FOCUS = 2.0
_REPEATS = 4
"""How many places of the encoder each object gets (the one-to-many matching of Jia et al. 2023, arXiv:2207.13080)."""


class Objects(NamedTuple):
    """The objects of a batch: labels int64 ``(B, N)``, boxes ``(B, N, 4)`` from 0 to 1, and which are not padding."""

    labels: Tensor
    boxes: Tensor
    real: Tensor


class Matched(NamedTuple):
    """Pairs of a query and an object: the number of the image, of the query and of the object, each ``(pairs,)``."""

    image: Tensor
    query: Tensor
    object: Tensor


def detection_loss(detected: Detected, objects: Objects, groups: int) -> Tensor:
    """The loss of all layers, of the known objects with noise and of the places, summed over objects.

    Args:
        detected: the output of the model.
        objects: what there is.
        groups: of the known objects.
    """
    total = prediction_loss(detected.places, objects, match(detected.places, objects, repeats=_REPEATS)) / _REPEATS
    for predictions in detected.layers:
        total = total + prediction_loss(predictions, objects, match(predictions, objects))
    many = Objects(*(one.repeat(1, groups, *[1] * (one.dim() - 2)) for one in objects))
    image, place = many.real.nonzero(as_tuple=True)
    for predictions in detected.noised:
        total = total + prediction_loss(predictions, many, Matched(image, place, place), many.real) / groups
    return total


def prediction_loss(predictions: Predictions, objects: Objects, matched: Matched, real: Tensor | None = None) -> Tensor:
    """The loss of the predictions of a layer: a number.

    The class of a query that has an object should be as probable as its box is good, and all others improbable: the
    varifocal loss (Zhang et al. 2021, arXiv:2008.13367).

    Args:
        predictions: of a layer.
        objects: what there is.
        matched: which query has which object.
        real: boolean ``(B, Q)``: the queries that count; None: all.
    """
    image, query, number = matched
    boxes, wanted = predictions.boxes[image, query].float(), objects.boxes[image, number]
    shared, generalized = overlaps(boxes, wanted)
    logits = predictions.logits.float()
    target = torch.zeros_like(logits)
    target[image, query, objects.labels[image, number]] = shared.detach().clamp(min=0.0)
    missed = logits.sigmoid().detach() ** _FOCUS * 0.75
    weight = torch.where(target > 0, target, missed)
    entropy = F.binary_cross_entropy_with_logits(logits, target, weight, reduction="none").sum(-1)
    classes = entropy.sum() if real is None else entropy[real].sum()
    sides = (boxes - wanted).abs().sum()
    return _CLASS * classes + _SIDES * sides + _SHARED * (1 - generalized).sum()


@torch.no_grad()
def match(predictions: Predictions, objects: Objects, *, repeats: int = 1) -> Matched:
    """The pairs of queries and objects with the smallest total cost, by the Hungarian method.

    Args:
        predictions: of a layer.
        objects: what there is.
        repeats: the number of queries that each object gets, if there are enough.
    """
    optimize = require("scipy.optimize", "image", "training a detector")
    chance = predictions.logits.float().sigmoid()
    own = chance.gather(2, objects.labels[:, None].expand(-1, chance.shape[1], -1))
    cost_class = 0.25 * (1 - own) ** 2 * -(own + 1e-8).log() - 0.75 * own**2 * -(1 - own + 1e-8).log()
    boxes = predictions.boxes.float()[:, :, None]
    sides = (boxes - objects.boxes[:, None]).abs().sum(-1)
    _, shared = overlaps(boxes, objects.boxes[:, None])
    costs = (_CLASS * cost_class + _SIDES * sides - _SHARED * shared).nan_to_num(1e4).cpu().numpy()
    pairs = []
    for image, (cost, count) in enumerate(zip(costs, objects.real.sum(1).tolist(), strict=True)):
        times = max(1, min(repeats, cost.shape[0] // max(1, count)))
        queries, places = optimize.linear_sum_assignment(np.tile(cost[:, :count], times))
        pairs.append(np.stack([np.full_like(queries, image), queries, places % max(1, count)]))
    return Matched(*torch.from_numpy(np.concatenate(pairs, 1)).to(predictions.logits.device))
