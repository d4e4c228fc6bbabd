"""Built-in sounds to classify: one short gliding tone, which decides the class, among beeps, noise and hum."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from regard.data.codec import digest
from regard.data.ragged import Ragged
from regard.data.sounds import Sounds

Contour = Callable[[np.ndarray], np.ndarray]

GLIDES: dict[str, Contour] = {
    "arch": lambda u: 0.5 - np.abs(2 * u - 1),
    "dip": lambda u: np.abs(2 * u - 1) - 0.5,
    "fall": lambda u: 0.5 - u,
    "rise": lambda u: u - 0.5,
    "warble": lambda u: 0.5 * np.sin(6 * np.pi * u),
}
"""Class → the pitch of its tone, in octaves of its range, at a share of its duration."""

_SECONDS = (1.2, 2.0)
_GLIDE = (0.18, 0.28)
_GAP = 0.03


@lru_cache(maxsize=1)
def tones(count: int, rate: int, *, seed: int = 0) -> Sounds:
    """``count`` sounds of five classes, in an order that depends on the seed.

    Each lasts 1.2 to 2 seconds and has one gliding tone of 0.18 to 0.28 seconds at a random time and pitch, whose glide
    is the class. Two or three steady beeps, one or two bursts of noise, hum and noise are the same for all classes.

    Args:
        count: their number.
        rate: samples per second, at least 8,000 for the full range of pitches.
        seed: of the sounds.

    >>> sounds = tones(3, 8000)
    >>> sounds.names, len(sounds.values)
    (('arch', 'dip', 'fall', 'rise', 'warble'), 3)
    """
    random = np.random.default_rng([seed, 29])
    labels = random.integers(0, len(GLIDES), count)
    values, deciding = [], []
    for label in labels:
        samples, moment = _sound(list(GLIDES)[label], rate, random)
        values.append(samples)
        deciding.append(moment)
    return Sounds(
        values=Ragged.of(values), labels=labels.astype(np.int64), names=tuple(GLIDES),
        keys=tuple(digest(one) for one in values), deciding=np.array(deciding),
    )  # fmt: skip


def _sound(name: str, rate: int, random: np.random.Generator) -> tuple[np.ndarray, tuple[float, float]]:
    """The samples of a sound, int16, and the first and last second of its glide."""
    glide = _tone(GLIDES[name], random.uniform(*_GLIDE), rate, random)
    parts = [glide, *(_beep(rate, random) for _ in range(random.integers(2, 4)))]
    parts += [_burst(rate, random) for _ in range(random.integers(1, 3))]
    free = round(random.uniform(*_SECONDS) * rate) - sum(len(part) + 2 * round(_GAP * rate) for part in parts)
    # The free time is divided at random before, between and after the parts, which are in a random order.
    pauses = (random.dirichlet(np.ones(len(parts) + 1)) * max(0, free)).astype(int)
    pieces, at, start = [], 0, 0
    for pause, number in zip(pauses, random.permutation(len(parts)), strict=False):
        silence = np.zeros(pause + round(_GAP * rate))
        at += len(silence)
        if number == 0:
            start = at
        pieces += [silence, parts[number], np.zeros(round(_GAP * rate))]
        at += len(parts[number]) + round(_GAP * rate)
    x = np.concatenate([*pieces, np.zeros(pauses[-1])])
    hum = np.sin(2 * np.pi * random.choice([50, 60]) * np.arange(len(x)) / rate + random.uniform(0, 6))
    x = x + random.uniform(0, 0.1) * hum + random.uniform(0.01, 0.06) * random.normal(size=len(x))
    samples = np.round(x * (32767 / np.abs(x).max())).astype(np.int16)
    return samples, (start / rate, (start + len(glide)) / rate)


def _tone(contour: Contour, seconds: float, rate: int, random: np.random.Generator) -> np.ndarray:
    """A tone whose pitch follows ``contour``, around a random pitch that leaves it below 3 kHz."""
    u = np.arange(round(seconds * rate)) / round(seconds * rate)
    octaves = random.uniform(0.6, 1.0) * contour(u)
    pitch = np.exp2(random.uniform(np.log2(500), np.log2(2000)) + octaves)
    wave = np.sin(2 * np.pi * np.cumsum(pitch) / rate)
    return np.asarray(random.uniform(0.3, 0.6) * wave * _fade(len(u)))


def _beep(rate: int, random: np.random.Generator) -> np.ndarray:
    return _tone(np.zeros_like, random.uniform(0.08, 0.2), rate, random)


def _burst(rate: int, random: np.random.Generator) -> np.ndarray:
    size = round(random.uniform(0.03, 0.12) * rate)
    return np.asarray(random.uniform(0.1, 0.3) * random.normal(size=size) * _fade(size))


def _fade(size: int) -> np.ndarray:
    """From 0 to 1 and back, at the ends."""
    edge = np.minimum(np.arange(size), np.arange(size)[::-1]) / max(1, size / 8)
    return np.minimum(1, edge)
