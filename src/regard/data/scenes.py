"""Built-in pictures of several things: shapes and digits in colours, with exact boxes, and a caption that is true."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from regard.data.glyphs import DIGITS, SHAPES, drawn
from regard.data.progress import counted

SIZE = 64
"""The height and width of a scene, in pixels."""

LABELS = tuple(SHAPES) + tuple(DIGITS)
"""What a thing can be: the names of the shapes, then those of the digits."""

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (225, 45, 45), "green": (50, 180, 60), "blue": (60, 95, 235), "yellow": (235, 215, 50),
    "purple": (175, 60, 200), "white": (240, 240, 240),
}  # fmt: skip
"""Colour → its red, green and blue, around which the colours of things vary."""

SIDES = {"small": (11, 15), "large": (19, 25)}
"""Size → the range of a thing's side before it is turned, in pixels."""

_COUNTS = (0.05, 0.2, 0.3, 0.25, 0.2)
"""The share of scenes with one, two … five things. Single things are rare, because few captions tell them apart."""

_MENTIONED = 4
_TRIES = 30


class Thing(NamedTuple):
    """A thing in a scene.

    Attributes:
        label: one of `LABELS`.
        color: a key of `COLORS`.
        size: a key of `SIDES`.
        box: its left, top, right and bottom edge in pixels, ``x0, y0, x1, y1``: the smallest box around its pixels,
            ``pixels[:, y0:y1, x0:x1]``.
    """

    label: str
    color: str
    size: str
    box: tuple[int, int, int, int]


class Phrase(NamedTuple):
    """The words of a caption for a thing: characters ``[start, end)`` of the caption, and the number of the thing."""

    start: int
    end: int
    thing: int


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture with what is in it.

    Attributes:
        pixels: red, green and blue, (3, `SIZE`, `SIZE`), 0 to 255.
        things: one to five; no two have both label and colour in common, and no two share a pixel.
        caption: a description that is true: ``"a small red circle above a blue three and a white star"``.
        phrases: where the caption mentions a thing, in the order of the caption.
    """

    pixels: np.ndarray
    things: tuple[Thing, ...]
    caption: str
    phrases: tuple[Phrase, ...]


@lru_cache(maxsize=2)
def scenes(count: int, *, seed: int = 0, lines: int = 0) -> tuple[Scene, ...]:
    """``count`` scenes with different captions. The first ones are the same for any count.

    Each has one to five things, in two sizes, before a background of blotches and noise. A caption mentions up to four
    things, each with its colour and some with their size. In ``"A above B"``, the same for ``below``, ``left of`` and
    ``right of``, it is true for these two things.

    Args:
        count: their number.
        seed: of the scenes.
        lines: the number of lines in the background, each in one of the colours of things, from which colours alone do
            not tell a thing.

    >>> one = scenes(8)[7]
    >>> one.caption
    'a large white seven left of a purple star'
    >>> [one.caption[start:end] for start, end, _ in one.phrases]
    ['a large white seven', 'a purple star']
    >>> one.things[one.phrases[0].thing]
    Thing(label='seven', color='white', size='large', box=(3, 1, 20, 22))
    """
    random = np.random.default_rng([seed, 53])
    made: list[Scene] = []
    captions: set[str] = set()
    with counted("generating scenes") as done:
        while len(made) < count:
            scene = _scene(random, lines)
            if scene.caption not in captions:
                captions.add(scene.caption)
                made.append(scene)
                done()
    return tuple(made)


def relation(a: Thing, b: Thing) -> str | None:
    """Where ``a`` is, seen from ``b``: by the larger distance of the centres; None: their boxes overlap that way.

    >>> relation(Thing("star", "red", "small", (0, 0, 9, 9)), Thing("two", "red", "small", (4, 20, 12, 31)))
    'above'
    """
    right, down = (a.box[axis] + a.box[axis + 2] - b.box[axis] - b.box[axis + 2] for axis in (0, 1))
    axis = 0 if abs(right) > abs(down) else 1
    if a.box[axis] < b.box[axis + 2] and b.box[axis] < a.box[axis + 2]:
        return None
    return (("left of", "right of")[right > 0], ("above", "below")[down > 0])[axis]


def _scene(random: np.random.Generator, lines: int) -> Scene:
    """A scene of things that each found a free place; one that found none is left out."""
    pixels = _background(random)
    for _ in range(lines):
        _put(pixels, _line(random), COLORS[str(random.choice(list(COLORS)))], random)
    taken = np.zeros((SIZE, SIZE), dtype=bool)
    wanted = int(random.choice(len(_COUNTS), p=_COUNTS)) + 1
    kinds = random.choice(len(LABELS) * len(COLORS), wanted, replace=False)
    things = []
    for kind in kinds:
        label, color = LABELS[kind // len(COLORS)], list(COLORS)[kind % len(COLORS)]
        size = str(random.choice(list(SIDES)))
        shape = drawn(label, int(random.integers(*SIDES[size])), random)
        height, width = shape.shape
        for _ in range(_TRIES):
            top, left = random.integers(0, SIZE - height + 1), random.integers(0, SIZE - width + 1)
            if not taken[max(0, top - 1) : top + height + 1, max(0, left - 1) : left + width + 1].any():
                _put(pixels[:, top : top + height, left : left + width], shape, COLORS[color], random)
                taken[top : top + height, left : left + width] |= shape
                box = (int(left), int(top), int(left) + width, int(top) + height)
                things.append(Thing(label, color, size, box))
                break
    caption, phrases = _caption(things, random)
    return Scene(pixels.round().clip(0, 255).astype(np.uint8), tuple(things), caption, phrases)


def _background(random: np.random.Generator) -> np.ndarray:
    """Blotches of dim colours, and noise: (3, SIZE, SIZE)."""
    coarse = random.normal(0, 14, (3, SIZE // 8, SIZE // 8)) + random.uniform(40, 110) + random.normal(0, 12, (3, 1, 1))
    return coarse.repeat(8, 1).repeat(8, 2) + random.normal(0, 9, (3, SIZE, SIZE))


def _line(random: np.random.Generator) -> np.ndarray:
    """The pixels of a straight line, boolean (SIZE, SIZE)."""
    start, end = random.uniform(0, SIZE, (2, 2))
    at = np.linspace(start, end, 3 * SIZE)
    thick = random.uniform(0.6, 1.2)
    line = np.zeros((SIZE, SIZE), dtype=bool)
    for offset in (-thick / 2, thick / 2):
        rows, columns = (at + offset).astype(int).clip(0, SIZE - 1).T
        line[rows, columns] = True
    return line


def _put(part: np.ndarray, shape: np.ndarray, color: tuple[int, int, int], random: np.random.Generator) -> None:
    """Draws a shape into a part of the picture, in a shade of the colour."""
    shade = np.array(color) * random.uniform(0.75, 1) + random.normal(0, 8, 3)
    part[:, shape] = shade[:, None] + random.normal(0, 9, (3, int(shape.sum())))


def _caption(things: list[Thing], random: np.random.Generator) -> tuple[str, tuple[Phrase, ...]]:
    """A caption that mentions some of the things, and where: pairs with their relation, and single things."""
    order = [int(number) for number in random.permutation(len(things))[:_MENTIONED]]
    caption, phrases, related = "", [], False
    for before, number in zip([None, *order], order, strict=False):
        words = None if before is None or related else relation(things[before], things[number])
        related = words is not None
        caption += "" if before is None else f" {words or 'and'} "
        thing = things[number]
        adjectives = [thing.size, thing.color] if random.random() < 0.5 else [thing.color]
        phrase = " ".join(["a", *adjectives, thing.label])
        phrases.append(Phrase(len(caption), len(caption) + len(phrase), number))
        caption += phrase
    return caption, tuple(phrases)
