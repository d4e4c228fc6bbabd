"""The samples of a sound file: a whole short sound, or a long one in blocks."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from regard.data.file_trees import BadItem
from regard.errors import UserError, require

LOUDEST = 32767
"""The largest sample after decoding."""

_SILENCE = 1e-4
"""The largest sample of a silent file, −80 dB."""
_RATES = (1000, 768_000)
_UNKNOWN = 2**63 - 1
"""The length of a FLAC file that does not state it, by libsndfile, which then cannot read it through Python."""
_BLOCK = 1 << 16
"""Samples that are read at a time."""

_XING = re.compile(rb"(?:Xing|Info)(.{12})", re.DOTALL)
_XING_PLACE = 64
"""In the first of these bytes of an MP3 file, behind its tags, is the header of Xing, if it has one."""
_XING_BYTES = 0b11
"""The flags of a header with the numbers of frames and of bytes, of which the latter is not exact in every file."""
_XING_SHARE = 0.98


def whole(file: BinaryIO, kind: str, *, rate: int, seconds: float) -> np.ndarray:
    """The samples of the first ``seconds`` of a sound file; see `regard.data.sound_files.open_sound`.

    Args:
        file: can be read from any place.
        kind: its format, such as ``"WAV"``.
        rate: samples per second of the result.
        seconds: the largest length.

    Raises:
        BadItem: it is damaged, truncated, empty or silent.
    """
    x = np.concatenate(list(_resampled(file, kind, rate, seconds)))
    x = x - x.mean()
    return _scaled(x, float(np.abs(x).max()))


@dataclass(frozen=True)
class LongSound:
    """A sound file that is read in blocks, so that memory does not grow with its length.

    Attributes:
        path: the file.
        kind: its format.
        rate: samples per second of the blocks.
        length: the number of samples.
        mean: of the samples of the file.
        loudest: their largest distance from the mean.
    """

    path: Path
    kind: str
    rate: int
    length: int
    mean: float
    loudest: float

    @classmethod
    def of(cls, path: Path, kind: str, rate: int) -> LongSound:
        """Read the file once. Raises BadItem, OSError: see `whole`."""
        length, total, least, most = 0, 0.0, math.inf, -math.inf
        with path.open("rb") as file:
            for block in _resampled(file, kind, rate, math.inf):
                length, total = length + len(block), total + float(block.sum(dtype=np.float64))
                least, most = min(least, float(block.min())), max(most, float(block.max()))
        mean = total / length
        return cls(path, kind, rate, length, mean, max(most - mean, mean - least))

    def blocks(self) -> Iterator[np.ndarray]:
        """The samples as those of `whole`, int16 ``(n,)`` each. Raises UserError: the file cannot be read any more."""
        try:
            with self.path.open("rb") as file:
                for block in _resampled(file, self.kind, self.rate, math.inf):
                    yield _scaled(block - np.float32(self.mean), self.loudest)
        except (BadItem, OSError) as error:
            raise UserError(f"{self.path}: changed while it was read ({error})") from error


def seconds_of(file: BinaryIO, kind: str) -> float:
    """The length of a sound file, as it states it. Raises BadItem: it is damaged or truncated."""
    with opened(file, kind) as sound:
        return float(sound.frames / sound.samplerate)


@contextmanager
def opened(file: BinaryIO, kind: str) -> Iterator[Any]:
    """A sound file as a `soundfile.SoundFile`; arguments as of `whole`. Raises BadItem: it is damaged or truncated."""
    soundfile: Any = require("soundfile", "speech", "reading sounds")
    if kind in _CHECKS:
        _CHECKS[kind](file)
    file.seek(0)
    try:
        with soundfile.SoundFile(file) as sound:
            if not _RATES[0] <= sound.samplerate <= _RATES[1]:
                raise BadItem(f"has {sound.samplerate:,} samples per second; expected {_RATES[0]:,} to {_RATES[1]:,}")
            if sound.frames == _UNKNOWN:
                raise BadItem("does not state its length, like a file that was written to a pipe; convert it to WAV")
            yield sound
    except (soundfile.LibsndfileError, RuntimeError, ValueError, MemoryError) as error:
        reason = str(getattr(error, "error_string", error)).strip()  # without the file object, which has no use here
        raise BadItem(f"cannot be read as {kind}: {reason or type(error).__name__}") from error


def _resampled(file: BinaryIO, kind: str, rate: int, seconds: float) -> Iterator[np.ndarray]:
    """The first samples of a file, its channels mixed, at another rate, float32 ``(n,)`` each; at least one."""
    with opened(file, kind) as sound:
        own, expected = sound.samplerate, sound.frames
        if seconds * own < expected:
            expected = math.ceil(seconds * own)
        stream, read, least, most = None, 0, math.inf, -math.inf
        if own != rate:
            soxr: Any = require("soxr", "speech", "resampling sounds")
            stream = soxr.ResampleStream(own, rate, 1, dtype="float32")
        while read < expected:
            x = sound.read(min(_BLOCK, expected - read), dtype="float32", always_2d=True).mean(1)
            if not len(x):
                break
            if not np.isfinite(x).all():
                raise BadItem("has samples that are not finite")
            read, least, most = read + len(x), min(least, float(x.min())), max(most, float(x.max()))
            if len(x := x if stream is None else stream.resample_chunk(x)):
                yield x
    if not read:
        raise BadItem("has no samples")
    if read < expected and kind != "MP3":  # an MP3 file states its length only approximately
        raise BadItem(f"is truncated: has {read:,} of {expected:,} samples")
    if max(-least, most) < _SILENCE or most - least < _SILENCE:
        raise BadItem("is silent")
    if stream is not None:
        yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _scaled(x: np.ndarray, loudest: float) -> np.ndarray:
    return np.asarray(np.round(x * (LOUDEST / max(loudest, 1e-9))), dtype=np.int16)


def _check_wav(file: BinaryIO) -> None:
    """Raises BadItem: a WAV file ends before its samples do, which libsndfile does not report."""
    size = file.seek(0, 2)
    file.seek(0)
    order, at = ">" if file.read(4) == b"RIFX" else "<", 12
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if name == b"data":
            left = size - at - 8
            if left < length < 0xFFFFFF00:  # larger ones stand for a length that was not known
                raise BadItem(f"is truncated: has {left:,} of {length:,} bytes of samples")
            break
        at += 8 + length + length % 2


def _check_mp3(file: BinaryIO) -> None:
    """Raises BadItem: an MP3 file is shorter than the header of its encoder says; without one, that cannot be told."""
    size, at = file.seek(0, 2), 0
    file.seek(0)
    while (tag := file.read(10))[:3] == b"ID3" and len(tag) == 10:
        at += 10 + sum((byte & 127) << 7 * (3 - place) for place, byte in enumerate(tag[6:]))
        file.seek(at)
    file.seek(at)
    match = _XING.search(file.read(_XING_PLACE))
    if match is None:
        return
    flags, *numbers = struct.unpack(">3I", match[1])
    if flags & _XING_BYTES == _XING_BYTES and size - at < _XING_SHARE * numbers[1]:
        raise BadItem(f"is truncated: has {size - at:,} of {numbers[1]:,} bytes")


_CHECKS: dict[str, Callable[[BinaryIO], None]] = {"WAV": _check_wav, "MP3": _check_mp3}
"""Of formats of which libsndfile reads a truncated file without an error."""
