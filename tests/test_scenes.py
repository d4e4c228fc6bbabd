"""The generated scenes: boxes are tight, captions are true, and a seed gives the same scenes."""

from __future__ import annotations

import numpy as np
import pytest

from regard.data.glyphs import drawn
from regard.data.scenes import COLORS, LABELS, SIDES, SIZE, Scene, relation, scenes


@pytest.fixture(scope="module")
def many() -> tuple[Scene, ...]:
    return scenes(150, seed=3)


def test_boxes_are_tight(many: tuple[Scene, ...]) -> None:
    """The first row and column within each edge has the colour of the thing, the one outside of it does not."""
    within, outside = [], []
    for scene in many:
        pixels = np.pad(scene.pixels.astype(float), ((0, 0), (1, 1), (1, 1)))
        for thing in scene.things:
            color = np.array(COLORS[thing.color])
            # A shade is a multiple of the colour, so the direction of the colour tells a thing from most backgrounds.
            length = np.linalg.norm(pixels, axis=0)
            cosine = (pixels * color[:, None, None]).sum(0) / (length + 1) / np.linalg.norm(color)
            close = (cosine > 0.98) & (length > 0.6 * np.linalg.norm(color))
            x0, y0, x1, y1 = (edge + 1 for edge in thing.box)
            within += [close[edge].any() for edge in
                       (np.s_[y0, x0:x1], np.s_[y1 - 1, x0:x1], np.s_[y0:y1, x0], np.s_[y0:y1, x1 - 1])]  # fmt: skip
            outside += [close[edge].any() for edge in
                        (np.s_[y0 - 1, x0:x1], np.s_[y1, x0:x1], np.s_[y0:y1, x0 - 1], np.s_[y0:y1, x1])]  # fmt: skip
            assert 0 <= thing.box[0] < thing.box[2] <= SIZE
            assert 0 <= thing.box[1] < thing.box[3] <= SIZE
    assert np.mean(within) > 0.95
    assert np.mean(outside) < 0.05


def test_a_mask_has_no_empty_edge() -> None:
    random = np.random.default_rng(5)
    for label in LABELS:
        for sides in SIDES.values():
            mask = drawn(label, sides[0], random)
            assert all(edge.any() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
            assert sides[0] * 0.6 < mask.shape[0] < sides[0] * 1.4


def test_things_differ_and_hardly_overlap(many: tuple[Scene, ...]) -> None:
    for scene in many:
        assert len({(thing.label, thing.color) for thing in scene.things}) == len(scene.things)
        covered = np.zeros((SIZE, SIZE), dtype=int)
        for x0, y0, x1, y1 in (thing.box for thing in scene.things):
            covered[y0:y1, x0:x1] += 1
        assert (covered > 1).mean() < 0.05


def test_captions_are_true(many: tuple[Scene, ...]) -> None:
    said = set()
    for scene in many:
        assert len(scene.phrases) == min(4, len(scene.things))
        for start, end, number in scene.phrases:
            words, thing = scene.caption[start:end].split(), scene.things[number]
            assert words == ["a", *([thing.size] if len(words) == 4 else []), thing.color, thing.label]
        for one, other in zip(scene.phrases, scene.phrases[1:], strict=False):
            between = scene.caption[one.end : other.start].strip()
            said.add(between)
            if between != "and":
                a, b = scene.things[one.thing].box, scene.things[other.thing].box
                gap = {"above": b[1] - a[3], "below": a[1] - b[3], "left of": b[0] - a[2], "right of": a[0] - b[2]}
                assert gap[between] >= 0
    assert said == {"and", "above", "below", "left of", "right of"}
    assert len({scene.caption for scene in many}) == len(many)


def test_a_relation_turns_around(many: tuple[Scene, ...]) -> None:
    back = {"above": "below", "below": "above", "left of": "right of", "right of": "left of", None: None}
    for scene in many:
        for a in scene.things:
            for b in scene.things:
                assert relation(a, b) == back[relation(b, a)]


def test_a_seed_gives_the_same_scenes(many: tuple[Scene, ...]) -> None:
    fewer = scenes(20, seed=3)
    assert [scene.caption for scene in fewer] == [scene.caption for scene in many[:20]]
    assert all(a.pixels.tobytes() == b.pixels.tobytes() for a, b in zip(fewer, many, strict=False))
    assert fewer[0].pixels.tobytes() != scenes(1, seed=4)[0].pixels.tobytes()


def test_lines_are_behind_the_things() -> None:
    plain, lined = np.stack([one.pixels for one in scenes(20)]), np.stack([one.pixels for one in scenes(20, lines=6)])
    assert lined.std() / plain.std() > 1.1
    for scene in scenes(20, lines=6):
        for thing in scene.things:
            x0, y0, x1, y1 = thing.box
            part = scene.pixels[:, y0:y1, x0:x1].reshape(3, -1).astype(float)
            color = np.array(COLORS[thing.color])
            cosine = (part * color[:, None]).sum(0) / np.linalg.norm(part, axis=0) / np.linalg.norm(color)
            assert (cosine > 0.95).mean() > 0.15  # the strokes of a digit
