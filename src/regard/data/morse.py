"""Built-in recordings to transcribe: short texts in Morse code, of which the time of every character is known."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from regard.data import cldr
from regard.data.codec import digest
from regard.data.ragged import Ragged
from regard.data.recordings import Recordings

CODE = {
    "a": ".-", "b": "-...", "c": "-.-.", "d": "-..", "e": ".", "f": "..-.", "g": "--.", "h": "....", "i": "..",
    "j": ".---", "k": "-.-", "l": ".-..", "m": "--", "n": "-.", "o": "---", "p": ".--.", "q": "--.-", "r": ".-.",
    "s": "...", "t": "-", "u": "..-", "v": "...-", "w": ".--", "x": "-..-", "y": "-.--", "z": "--..",
    "0": "-----", "1": ".----", "2": "..---", "3": "...--", "4": "....-", "5": ".....", "6": "-....", "7": "--...",
    "8": "---..", "9": "----.", ".": ".-.-.-", ",": "--..--", ":": "---...", "/": "-..-.", "-": "-....-",
    "(": "-.--.", ")": "-.--.-", "'": ".----.", "?": "..--..", "$": "...-..-",
}  # fmt: skip
"""The international Morse code (ITU-R M.1677-1) of the characters that occur, and ``$``."""

_UNITS = {".": 1, "-": 3}
_BETWEEN, _AFTER_WORD = 3, 7
"""Units of silence between two characters, and in place of a space."""

_SECONDS = (0.025, 0.045)
"""The duration of a unit: 48 to 27 words per minute."""
_PITCH = (350.0, 900.0)
_NOISE = (0.02, 0.35)
_JITTER = 0.08
"""Standard deviation of the logarithm of each duration, as of a human hand."""
_EDGE = 0.004
_PAUSE = (0.08, 0.3)


@lru_cache(maxsize=4)
def morse(count: int, rate: int, *, split: cldr.Split = "train", longest: int = 10, seed: int = 0) -> Recordings:
    """``count`` different English texts of the CLDR as Morse code, in an order that depends on the seed.

    Each recording has its own speed, pitch and noise; the durations of its tones and pauses vary. A character's time is
    that of its tones and of the pause of three units after them; that of a space is the rest of the pause.

    Args:
        count: their number.
        rate: samples per second, at least 2,000.
        split: ``"train"``, ``"valid"`` or ``"test"``; a text is in only one of them.
        longest: the largest number of characters of a text.
        seed: of the texts and the sounds.

    Raises:
        UserError: Babel is not installed.
        ValueError: the split has fewer texts.

    >>> recordings = morse(2, 4000)
    >>> len(recordings.values), recordings.spans[0].shape == (len(recordings.texts[0]), 2)
    (2, True)
    """
    texts = short_texts(count, split, longest, seed)
    random = np.random.default_rng([seed, ("train", "valid", "test").index(split), 31])
    values, spans = zip(*(_sound(text, rate, random) for text in texts), strict=True)
    return Recordings(
        values=Ragged.of(list(values)), texts=texts, keys=tuple(map(digest, values)),
        speakers=(None,) * count, spans=spans,
    )  # fmt: skip


def short_texts(count: int, split: cldr.Split, longest: int, seed: int) -> tuple[str, ...]:
    """Different English texts of the CLDR in small letters, of characters that have a Morse code."""
    characters, drawn = {*CODE, " "}, 2 * count + 50
    while True:
        lines = dict.fromkeys(english.lower() for english, _ in cldr.corpus(drawn, seed=seed, split=split))
        usable = [line for line in lines if len(line) <= longest and characters.issuperset(line)]
        if len(usable) >= count:
            return tuple(usable[:count])
        drawn += drawn // 2


def _sound(text: str, rate: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The samples of a text, int16, and the first and last second of each of its characters."""
    on, ends = list[float](), list[int]()  # durations in units, tones and pauses in turn; the parts of each character
    for character in text:
        if character == " ":
            on[-1] = _AFTER_WORD
        else:
            for sign in CODE[character]:
                on += [_UNITS[sign], 1]
            on[-1] = _BETWEEN
        ends.append(len(on))
    unit = random.uniform(*_SECONDS)
    durations = unit * np.array(on) * np.exp(_JITTER * random.normal(size=len(on)))
    first, last = random.uniform(*_PAUSE, size=2)
    times = first + np.concatenate([[0.0], durations.cumsum()])
    samples = np.round(rate * np.concatenate([[0.0], times[:-1], [times[-1] + last]])).astype(int)
    # The first pause, tones and pauses in turn, the last pause.
    levels = np.concatenate([[0.0], np.tile([1.0, 0.0], len(on) // 2), [0.0]])[: len(samples) - 1]
    envelope = np.repeat(levels, np.diff(samples))
    window = np.hanning(max(3, round(2 * _EDGE * rate)))
    envelope = np.convolve(envelope, window / window.sum(), mode="same").astype(np.float32)
    phase = np.float32(2 * np.pi * random.uniform(*_PITCH) / rate) * np.arange(len(envelope), dtype=np.float32)
    noise = random.standard_normal(len(envelope), dtype=np.float32)
    x = envelope * np.sin(phase + np.float32(random.uniform(0, 6))) + np.float32(random.uniform(*_NOISE)) * noise
    return np.round(x * (32767 / np.abs(x).max())).astype(np.int16), _spans(text, times, ends)


def _spans(text: str, times: np.ndarray, ends: list[int]) -> np.ndarray:
    """The first and last second of each character. A pause between words is divided: 3 of 7 units, and the space."""
    starts = [0, *ends[:-1]]
    spans = np.array([(times[start], times[end]) for start, end in zip(starts, ends, strict=True)])
    for at in (at for at, character in enumerate(text) if character == " "):
        pause = times[ends[at]] - times[ends[at] - 1]
        spans[at] = times[ends[at]] - pause * (1 - _BETWEEN / _AFTER_WORD), times[ends[at]]
        spans[at - 1, 1] = spans[at, 0]
    return spans
