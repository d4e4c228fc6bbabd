"""Small sound files in every format."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np


def tone(pitch: float = 440.0, seconds: float = 0.3, rate: int = 8000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encoded(x: np.ndarray, rate: int = 8000, kind: str = "WAV", **options: Any) -> bytes:
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, x, rate, format=kind, **options)
    return out.getvalue()


def saved(array: np.ndarray, other: np.ndarray | None = None) -> bytes:
    """An array as ``.npy``, or two as ``.npz``."""
    out = io.BytesIO()
    if other is None:
        np.save(out, array)
    else:
        np.savez(out, array, other)
    return out.getvalue()


def sphinx(features: np.ndarray, order: str) -> bytes:
    return np.array(features.size, f"{order}i4").tobytes() + features.astype(f"{order}f4").tobytes()


def write_classes(folder: Path, count: int = 4, seconds: float = 0.3) -> Path:
    """A folder with low and high tones, as WAV files."""
    for label, pitch in (("low", 300.0), ("high", 1500.0)):
        for number in range(count):
            path = folder / "sounds" / label / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(tone(pitch + 20 * number, seconds)))
    return folder / "sounds"
