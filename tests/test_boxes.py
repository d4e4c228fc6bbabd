"""Boxes: their overlaps, average precision, the matching of queries and objects, and changes of images."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from regard import Look
from regard.data.box_batches import Change, changed, noise
from regard.models.boxes import anchors_of, boxes_of, centres, overlaps
from regard.models.detector import Detector, Noised
from regard.models.queries import AnchorAttention, Predictions
from regard.tasks.families.boxes.loss import Matched, Objects, match, prediction_loss
from regard.tasks.families.boxes.precision import THRESHOLDS, Guess, Truth, average_precisions, distinct, means

_SQUARE = [0.0, 0.0, 10.0, 10.0]


def _truth(*boxes: list[float], crowd: bool = False) -> Truth:
    return Truth(np.zeros(len(boxes), np.int64), np.array(boxes), np.full(len(boxes), crowd))


def _guess(*scored: tuple[float, list[float]]) -> Guess:
    scores, boxes = zip(*scored, strict=True)
    return Guess(np.zeros(len(boxes), np.int64), np.array(scores), np.array(boxes))


def test_overlaps_are_those_computed_by_hand() -> None:
    a, b = torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([4.0, 0.0, 6.0, 2.0])
    shared, generalized = overlaps(a, b)
    assert shared.item() == 0
    assert generalized.item() == pytest.approx(-4 / 12)  # 4 of the 12 units around both are in none
    assert overlaps(a, torch.tensor([0.0, 0.0, 2.0, 1.0]))[0].item() == pytest.approx(0.5)
    boxes = torch.rand(5, 4).sort(-1).values[:, [0, 1, 2, 3]]
    assert torch.allclose(boxes_of(anchors_of(boxes)), boxes)


@pytest.mark.parametrize(
    ("guess", "expected"),
    [
        ([(0.9, _SQUARE)], 1.0),
        ([(0.9, _SQUARE), (0.8, _SQUARE)], 1.0),  # a second box for the object is wrong, but comes after recall 1
        ([(0.9, [50.0, 50.0, 60.0, 60.0]), (0.8, _SQUARE)], 0.5),
        ([(0.9, [0.0, 0.0, 10.0, 4.0])], 0.0),  # an overlap of 0.4
    ],
)
def test_average_precision_of_one_object(guess: list[tuple[float, list[float]]], expected: float) -> None:
    precisions = average_precisions([_truth(_SQUARE)], [_guess(*guess)], 1)
    assert precisions[0, 0] == pytest.approx(expected)


def test_a_box_over_a_crowd_does_not_count() -> None:
    truth = Truth(np.zeros(2, np.int64), np.array([_SQUARE, [20.0, 20, 60, 60]]), np.array([False, True]))
    guess = _guess((0.9, [22.0, 22, 30, 30]), (0.8, _SQUARE))
    assert average_precisions([truth], [guess], 1)[0, 0] == pytest.approx(1.0)
    assert np.isnan(average_precisions([_truth(_SQUARE, crowd=True)], [guess], 1)).all()
    assert means(np.full((2, 10), np.nan)) == (0.0, 0.0)


def _random_case(seed: int, images: int, classes: int) -> tuple[list[Truth], list[Guess]]:
    random = np.random.default_rng(seed)
    truths, guesses = [], []
    for _ in range(images):
        count = int(random.integers(0, 6))
        corner, size = random.uniform(0, 60, (count, 2)), random.uniform(5, 40, (count, 2))
        boxes = np.concatenate([corner, corner + size], 1)
        labels = random.integers(0, classes, count)
        truths.append(Truth(labels, boxes, random.random(count) < 0.15))
        moved = np.repeat(boxes, 3, 0) + random.normal(0, 2.5, (3 * count, 4))
        extra = np.tile([0.0, 0.0, 20.0, 20.0], (2, 1)) + random.uniform(0, 40, (2, 1))
        every = np.concatenate([moved, extra])
        every[:, 2:] = np.maximum(every[:, 2:], every[:, :2] + 1)
        own = np.concatenate([np.repeat(labels, 3), random.integers(0, classes, 2)])
        own = np.where(random.random(len(own)) < 0.2, random.integers(0, classes, len(own)), own)
        guesses.append(Guess(own, random.permutation(1000)[: len(own)] / 1000 + random.random() * 1e-4, every))
    return truths, guesses


def _by_coco(truths: list[Truth], guesses: list[Guess], classes: int) -> np.ndarray:
    coco = pytest.importorskip("faster_coco_eval")

    def sides(box: np.ndarray) -> list[float]:
        return [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]

    annotations: list[dict[str, Any]] = [
        {"image_id": at, "category_id": int(label) + 1, "bbox": sides(box), "iscrowd": int(crowd),
         "area": float((box[2:] - box[:2]).prod())}
        for at, truth in enumerate(truths, 1) for label, box, crowd in zip(*truth, strict=True)
    ]  # fmt: skip
    known = coco.COCO({
        "images": [{"id": at, "width": 200, "height": 200} for at in range(1, len(truths) + 1)],
        "categories": [{"id": label + 1, "name": str(label)} for label in range(classes)],
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations, 1)],
    })  # fmt: skip
    found = known.loadRes([
        {"image_id": at, "category_id": int(label) + 1, "bbox": sides(box), "score": float(score)}
        for at, guess in enumerate(guesses, 1) for label, score, box in zip(*guess, strict=True)
    ])  # fmt: skip
    scored = coco.COCOeval_faster(known, found, iouType="bbox", print_function=lambda *line: None)
    scored.evaluate()
    scored.accumulate()
    precision = scored.eval["precision"][:, :, :, 0, -1]  # thresholds, recalls, classes
    result: np.ndarray = np.where(precision > -1, precision, np.nan).mean(1).T
    return result


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_coco(seed: int) -> None:
    truths, guesses = _random_case(seed, 30, 3)
    expected = _by_coco(truths, guesses, 3)
    assert expected.shape == (3, len(THRESHOLDS))
    np.testing.assert_allclose(average_precisions(truths, guesses, 3), expected, atol=1e-6)


def _batch() -> tuple[Predictions, Objects]:
    generator = torch.Generator().manual_seed(1)
    boxes = boxes_of(0.2 + 0.4 * torch.rand(2, 4, 4, generator=generator))
    logits = torch.randn(2, 4, 3, generator=generator)
    objects = boxes_of(0.2 + 0.4 * torch.rand(2, 3, 4, generator=generator))
    real = torch.tensor([[True, True, True], [True, False, False]])
    return Predictions(logits, boxes), Objects(torch.tensor([[0, 1, 2], [1, 0, 0]]), objects, real)


def test_the_matching_has_the_smallest_cost_of_all() -> None:
    found, objects = _batch()
    image, query, number = match(found, objects)
    assert image.tolist() == [0, 0, 0, 1]
    chosen = dict(zip(number[image == 0].tolist(), query[image == 0].tolist(), strict=True))

    def cost(queries: tuple[int, ...]) -> float:
        total = 0.0
        for at, row in enumerate(queries):
            p = found.logits[0, row, objects.labels[0, at]].sigmoid().item()
            focal = 0.25 * (1 - p) ** 2 * -np.log(p) - 0.75 * p**2 * -np.log(1 - p)
            _, shared = overlaps(found.boxes[0, row], objects.boxes[0, at])
            sides = (found.boxes[0, row] - objects.boxes[0, at]).abs().sum().item()
            total += 2 * focal + 5 * sides - 2 * shared.item()
        return total

    best = min(permutations(range(4), 3), key=cost)
    assert tuple(chosen[at] for at in range(3)) == best
    repeated = match(found, objects, repeats=2)
    assert len(repeated.query) == 3 + 2  # the four queries of the first image are not enough for two each


def test_perfect_boxes_have_almost_no_loss_and_padding_has_none() -> None:
    _, objects = _batch()
    sure = torch.full((2, 3, 3), -20.0)
    for image, place in objects.real.nonzero().tolist():
        sure[image, place, objects.labels[image, place]] = 20.0
    perfect, worse = Predictions(sure, objects.boxes), Predictions(sure, boxes_of(anchors_of(objects.boxes) + 0.05))
    assert prediction_loss(perfect, objects, match(perfect, objects)).item() < 1e-3
    assert prediction_loss(worse, objects, match(worse, objects)).item() > 1
    twice = Objects(*(one.repeat(1, 2, *[1] * (one.dim() - 2)) for one in objects))
    known = Predictions(*(one.repeat(1, 2, 1) for one in worse))
    image, place = twice.real.nonzero(as_tuple=True)
    alone = prediction_loss(worse, objects, match(worse, objects), objects.real)
    loss = prediction_loss(known, twice, Matched(image, place, place), twice.real)
    assert loss.item() == pytest.approx(2 * alone.item(), rel=1e-4)


def test_queries_do_not_see_the_known_objects() -> None:
    """The queries find the same with and without known objects, and a group the same whatever another one has."""
    torch.manual_seed(0)
    model = Detector(3, width=16, queries=5, decoder_layers=2).eval()
    x = torch.randn(2, 3, 32, 32)
    labels, anchors = torch.randint(0, 3, (2, 4)), torch.rand(2, 4, 4) * 0.4 + 0.2
    real = torch.tensor([[True, True, True, True], [True, False, True, False]])
    alone, taught = model(x), model(x, Noised(labels, anchors, real, 2))
    torch.testing.assert_close(taught.layers[-1], alone.layers[-1])
    other = model(x, Noised(labels.roll(1, 0), torch.cat([anchors[:, :2], 1 - anchors[:, 2:]], 1), real, 2))
    same = model(x, Noised(labels.roll(1, 0), anchors, real, 2))
    torch.testing.assert_close(other.noised[-1].boxes[:, :2], same.noised[-1].boxes[:, :2])
    assert not torch.allclose(other.noised[-1].boxes[:, 2:], same.noised[-1].boxes[:, 2:])


def test_attention_is_concentrated_around_the_anchor() -> None:
    torch.manual_seed(0)
    layer = AnchorAttention(16, 4)
    places = centres(8, 8, torch.device("cpu"))
    anchors = torch.tensor([[[0.25, 0.75, 0.2, 0.2]]])
    zeros = torch.zeros(1, 64, 16)
    _, view = layer(torch.zeros(1, 1, 16), anchors, (8, 8), zeros, zeros, Look(rows=slice(None)))
    assert view is not None
    middle = (view.rows[0, :, 0].mean(0)[:, None] * places).sum(0)
    assert torch.allclose(middle, torch.tensor([0.25, 0.75]), atol=0.03)


def test_a_place_beside_a_better_one_is_no_first_anchor() -> None:
    model = Detector(1, width=16, queries=2)
    logits = torch.full((1, 64, 1), -9.0)
    logits[0, [27, 28, 35]] = torch.tensor([[3.0], [2.0], [2.5]])  # three neighbours
    logits[0, 62] = 1.0
    boxes = boxes_of(torch.rand(1, 64, 4) * 0.2 + 0.4)
    _, anchors = model._start(Predictions(logits, boxes), (8, 8))
    torch.testing.assert_close(anchors, anchors_of(boxes[:, [27, 62]]))


def test_only_the_surest_of_boxes_of_the_same_object_is_kept() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 5], [0, 1, 10, 10.0]])
    guess = Guess(np.array([1, 1, 1, 2]), np.array([0.5, 0.9, 0.2, 0.6]), boxes)
    assert distinct(guess).tolist() == [1, 3, 2]
    assert distinct(guess, among_classes=True).tolist() == [1, 2]


def test_boxes_follow_the_image() -> None:
    random = np.random.default_rng(0)
    for seed in range(20):
        left, top = random.integers(4, 36, 2)
        x = torch.zeros(1, 3, 64, 64)
        x[..., top : top + 20, left : left + 14] = 1
        objects = np.array([[2, left / 64, top / 64, (left + 14) / 64, (top + 20) / 64, 0]])
        change = Change.draw(np.random.default_rng(seed), flip=True, zoom=0.3)
        (moved,) = change.objects(objects)
        inside = changed(x, [change])[0, 0] > 0.5
        rows, columns = inside.any(1).nonzero().flatten() / 64, inside.any(0).nonzero().flatten() / 64
        edges = [columns[0], rows[0], columns[-1] + 1 / 64, rows[-1] + 1 / 64]
        np.testing.assert_allclose(moved[1:5], [edge.item() for edge in edges], atol=1.1 / 64)
    assert not len(Change(False, 1.0, 0.9, 0.0).objects(objects))


def test_noise_keeps_boxes_near_their_objects() -> None:
    objects = np.array([[1, 0.2, 0.2, 0.6, 0.5, 0.0], [2, 0.5, 0.5, 0.7, 0.9, 0.0]])
    labels, anchors = noise(objects, 50, 4, np.random.default_rng(0))
    assert labels.shape == (50, 2)
    assert 0.7 < (labels == [1, 2]).mean() < 0.95
    centre, size = (objects[:, 1:3] + objects[:, 3:5]) / 2, objects[:, 3:5] - objects[:, 1:3]
    assert (np.abs(anchors[..., :2] - centre) <= 0.4 * size + 1e-9).all()
    assert (np.abs(anchors[..., 2:] / size - 1) <= 0.4 + 1e-9).all()
    assert anchors.std(0).min() > 0
