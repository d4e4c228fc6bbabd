"""Words with times as captions: SubRip (.srt) and WebVTT (.vtt)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_LETTERS, _SECONDS, _GAP = 42, 6.0, 1.0
"""A caption has at most this many characters and lasts at most this long, and a longer pause ends it."""


class Word(NamedTuple):
    """A word, and the seconds at which it begins and ends."""

    text: str
    start: float
    end: float


def captions(words: Sequence[Word]) -> list[Word]:
    """Words joined to captions, each with its first and last second.

    >>> captions([Word("good", 0.0, 0.4), Word("morning", 0.5, 1.0), Word("all", 4.0, 4.2)])
    [Word(text='good morning', start=0.0, end=1.0), Word(text='all', start=4.0, end=4.2)]
    """
    lines: list[Word] = []
    for word in words:
        line = lines[-1] if lines else None
        if line is not None and word.start - line.end <= _GAP and word.end - line.start <= _SECONDS:
            text = f"{line.text} {word.text}"
            if len(text) <= _LETTERS:
                lines[-1] = Word(text, line.start, word.end)
                continue
        lines.append(word)
    return lines


def srt(words: Sequence[Word]) -> str:
    """Captions in the format of SubRip.

    >>> print(srt([Word("good", 0.0, 0.4)]))
    1
    00:00:00,000 --> 00:00:00,400
    good
    """
    numbered = enumerate(captions(words), 1)
    return "\n\n".join(f"{at}\n{_time(c.start, ',')} --> {_time(c.end, ',')}\n{c.text}" for at, c in numbered)


def vtt(words: Sequence[Word]) -> str:
    """Captions in the format of WebVTT.

    >>> print(vtt([Word("good", 3600.0, 3600.4)]))
    WEBVTT
    <BLANKLINE>
    01:00:00.000 --> 01:00:00.400
    good
    """
    cues = (f"{_time(c.start, '.')} --> {_time(c.end, '.')}\n{_escaped(c.text)}" for c in captions(words))
    return "\n\n".join(("WEBVTT", *cues))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(seconds: float, mark: str) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"
