"""Scores of a trained matching model: recall in both directions, and where words look in scenes that are known."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch
from torch import Tensor

from regard.data.captioned import Captioned
from regard.data.progress import counted
from regard.models.boxes import covered
from regard.models.matching import Captions, Pictures
from regard.tasks.families.rank.matcher import AGAIN, Matcher
from regard.tasks.families.rank.scores import ScoresOf, matching_places, matching_scores
from regard.tasks.results import Score, Scores, attention_on

_BELOW = 1e4
"""Taken from the scores of candidates that are not ranked again, so that they come after those that are."""
_POINTED = 500
"""The number of scenes on which the words are looked at."""


def scores_of(matcher: Matcher, images: Captioned) -> Scores:
    """R@1, R@5, R@10 and the median rank in both directions; for built-in scenes also where the words look."""
    began = time.perf_counter()
    with counted("encoding images") as count:
        pictures = matcher.see(images.pixels, count)
    captions = matcher.read([text for texts in images.texts for text in texts])
    owners = np.repeat(np.arange(len(images)), [len(texts) for texts in images.texts])
    of_images = partial(similarities, pictures.vectors, captions.vectors)
    of_texts = partial(similarities, captions.vectors, pictures.vectors)
    places, how = matching_places(of_images, of_texts, owners, len(images)), "by the similarity of their vectors"
    result = {} if matcher.model.attends else matching_scores(places, how)
    if matcher.model.attends:
        before, again = matching_scores(places, f"{how} alone"), partial(_again, matcher, pictures, captions)
        places = matching_places(
            partial(again, of_images, of_texts=False), partial(again, of_texts, of_texts=True), owners, len(images)
        )
        result = matching_scores(places, f"the {AGAIN} most similar ranked again by the attention of the words")
        result |= {f"{name}_before": before[name] for name in ("image_to_text_r1", "text_to_image_r1")}
        if images.scenes:
            result |= _pointing(matcher, images)
    speed = f"{len(owners):,} captions; {len(images) / (time.perf_counter() - began):,.0f} images per second"
    return result | {"images": Score(float(len(images)), speed, 0)}


def similarities(inputs: Tensor, candidates: Tensor, rows: slice) -> np.ndarray:
    """The similarity of some inputs and all candidates, by their vectors, ``(rows, candidates)``."""
    result: np.ndarray = (inputs[rows] @ candidates.T).cpu().numpy()
    return result


def _again(
    matcher: Matcher, pictures: Pictures, captions: Captions, similarity: ScoresOf, rows: slice, *, of_texts: bool
) -> np.ndarray:
    """``similarity`` with the agreement added for the most similar candidates of each of some inputs."""
    own = similarity(rows)
    first = np.argsort(-own, kind="stable")[:, :AGAIN]
    at, chosen = np.repeat(np.arange(len(first)), first.shape[1]), first.flatten()
    inputs = at + rows.start
    images, texts = (chosen, inputs) if of_texts else (inputs, chosen)
    scores: np.ndarray = own - _BELOW
    scores[at, chosen] = own[at, chosen] + matcher.agreements_of(pictures, captions, images, texts)
    return scores


def _pointing(matcher: Matcher, images: Captioned) -> Scores:
    """The pointing game (Zhang et al. 2016, arXiv:1608.00507) on scenes whose boxes are known."""
    hits, shares = list[tuple[bool, float]](), list[tuple[float, float]]()
    for row, scene in enumerate(images.scenes[:_POINTED]):
        located, _ = matcher.attended(images.texts[row][0], images.pixels[[row]][0])
        for start, end, thing in scene.phrases:
            weights = located.of_phrase(start, end)
            box, size, side = scene.things[thing].box, scene.pixels.shape[1], len(weights)
            inside = covered(torch.tensor([box]) / size, side)[0].view(side, side).numpy()
            y, x = np.unravel_index(int(weights.argmax()), weights.shape)
            hits.append((contains(box, size, side, int(y), int(x)), float(inside.mean())))
            shares.append((float((weights * inside).sum()), float(inside.mean())))
    hit, chance = (100 * float(np.mean(values)) for values in zip(*hits, strict=True))
    how = f"per cent of the phrases whose most attended place has its middle in the box; by chance {chance:.1f}"
    return {"pointing": Score(hit, how, 1), "in_box": attention_on("box of the phrase", shares)}


def contains(box: tuple[int, int, int, int], size: int, side: int, row: int, column: int) -> bool:
    """Whether the middle of a place is in a box.

    Args:
        box: left, top, right and bottom, in pixels.
        size: height and width of the image.
        side: the number of places in a row.
        row: of the place.
        column: likewise.

    >>> contains((0, 0, 3, 4), 8, 2, 0, 0), contains((0, 0, 3, 4), 8, 2, 0, 1)
    (True, False)
    """
    x, y = (column + 0.5) * size / side, (row + 0.5) * size / side
    return box[0] <= x < box[2] and box[1] <= y < box[3]
