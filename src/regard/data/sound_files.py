"""The samples of a sound file, or features that are ready in a file: which formats are read, by their content."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from typing import BinaryIO

import numpy as np

from regard.data.file_trees import BadItem
from regard.data.sound_samples import whole

HEAD = 64
"""The number of bytes of a file from which its format is recognized."""

FRAMES_PER_SECOND = 100
"""Of features: those of `regard.nn.LogMel`, and of files that do not say it."""

_MAGIC = (
    ("WAV", rb"RIFF....WAVE|RIFX....WAVE|RF64....WAVE"),
    ("FLAC", rb"fLaC"),
    ("Ogg", rb"OggS"),
    ("MP3", rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"),
    ("AIFF", rb"FORM....AIF[FC]"),
    ("AU", rb"\.snd"),
    ("CAF", rb"caff"),
)
_MAGIC_NOT_READ = (
    ("M4A or MP4", rb"....ftyp"),
    ("WMA", rb"\x30\x26\xb2\x75"),
    ("AMR", rb"#!AMR"),
    ("WebM", rb"\x1a\x45\xdf\xa3"),
)
_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_MOST_SPHINX = 1 << 24
"""Numbers in a file of Sphinx, some hours of features; the first four bytes of any text would be a larger number."""
_SOUND_ENDINGS = (
    ".aac", ".aif", ".aifc", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".snd",
    ".wav", ".wave", ".webm", ".wma",
)  # fmt: skip
_FEATURE_ENDINGS = (".npy", ".npz", ".mfc")


def sound_format(head: bytes) -> str | None:
    """The format of a sound file by its first bytes; None: not a format that is read."""
    return next((name for name, magic in _MAGIC if re.match(magic, head, re.DOTALL)), None)


def examine(name: str, head: bytes) -> bool:
    """Whether a file is a sound or has features. Raises BadItem: only by its name, or in a format that is not read."""
    ending = name[name.rfind(".") :].lower() if "." in name else ""
    if sound_format(head) is not None or (ending in _FEATURE_ENDINGS and head):
        return True
    if ending not in (*_SOUND_ENDINGS, *_FEATURE_ENDINGS):
        return False
    raise BadItem(_why_not(head))


def _why_not(head: bytes, size: int = 0) -> str:
    """Why a file with these first bytes is not one that is read; ``size``, if known, is that of the file."""
    if not head:
        return "the file is empty"
    other = next((kind for kind, magic in _MAGIC_NOT_READ if re.match(magic, head, re.DOTALL)), None)
    if other is not None:
        return f"{other} is not supported; convert it to WAV, FLAC, Ogg or MP3"
    stated = min(struct.unpack(f"{order}i", head[:4])[0] for order in "<>") if len(head) >= 4 else 0
    if size and size // 4 - 1 < stated <= _MOST_SPHINX:
        return f"is truncated: has {size // 4 - 1:,} of {stated:,} numbers"
    return "its content is not a sound"


def open_sound(content: bytes | BinaryIO, *, rate: int, seconds: float, mfc_width: int) -> np.ndarray:
    """The samples of a sound file, int16 ``(n,)``, or the features of another file, float32 ``(frames, width)``.

    Channels are mixed to one. The samples have the mean 0, and the loudest one is ±32,767, so that the volume of a
    recording makes no difference.

    Args:
        content: of the file, or the file, of which a sound is read no further than ``seconds``.
        rate: samples per second of the result; others are resampled.
        seconds: a longer sound is cut to its first part of this length.
        mfc_width: features per frame in Sphinx's files (``.mfc``), which do not say it.

    Raises:
        BadItem: it is damaged, truncated, empty, silent, or of a format that is not read.
        UserError: a package that reads it is not installed.
    """
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    file.seek(0)
    if (kind := sound_format(file.read(HEAD))) is not None:
        return whole(file, kind, rate=rate, seconds=seconds)
    file.seek(0)
    content = file.read()
    if content.startswith((_NPY, _ZIP)):
        return _checked(_array(content))
    if len(content) >= 8 and (order := _sphinx_order(content)) is not None:
        values = np.frombuffer(content, dtype=f"{order}f4", offset=4).astype(np.float32)
        if len(values) % mfc_width:
            raise BadItem(
                f"has {len(values):,} numbers, not a multiple of {mfc_width}, the features per frame (data.mfc_width)"
            )
        return _checked(values.reshape(-1, mfc_width))
    raise BadItem(_why_not(content[:HEAD], len(content)))


def _array(content: bytes) -> np.ndarray:
    """The only array of a ``.npy`` or ``.npz`` file. Nothing is unpickled."""
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        if len(loaded.files) != 1:
            raise BadItem(f"has {len(loaded.files)} arrays; expected one, frames × features")
        return np.asarray(loaded[loaded.files[0]])
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, MemoryError) as error:
        raise BadItem(f"cannot be read as an array of NumPy: {str(error).splitlines()[0]}") from error


def _sphinx_order(content: bytes) -> str | None:
    """The byte order of Sphinx's features, which begin with their number as int32; None: these are none."""
    return next((o for o in "<>" if struct.unpack(f"{o}i", content[:4])[0] == len(content) // 4 - 1), None)


def _checked(features: np.ndarray) -> np.ndarray:
    """Features as float32. Raises BadItem: they are not numbers, frames × features, or all equal."""
    if features.ndim != 2 or features.dtype.kind not in "fiu":
        shape = " × ".join(map(str, features.shape))
        raise BadItem(f"expected numbers, frames × features, got {features.dtype} of shape {shape}")
    features = np.ascontiguousarray(features, dtype=np.float32)
    if not features.size:
        raise BadItem("has no frames")
    if not np.isfinite(features).all():
        raise BadItem("has numbers that are not finite")
    if np.ptp(features) == 0:
        raise BadItem("is silent: all numbers are equal")
    return features
