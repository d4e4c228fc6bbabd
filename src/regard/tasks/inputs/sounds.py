"""What a model of sounds needs whatever it computes: files, normalization, export, attention on a known moment."""

from __future__ import annotations

import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.data.file_trees import BadItem
from regard.data.sound_batches import sound_batch
from regard.data.sounds import SoundFormat, Sounds, check_width
from regard.errors import UserError
from regard.explain.timeline import Timeline
from regard.models.sound import STEP, OneLength, SoundClassifier
from regard.nn import LogMel
from regard.tasks.exporting import Exportable
from regard.tasks.results import Score

_MEASURED = 1000
"""The number of training sounds from which the normalization is computed."""

Scale = tuple[list[float], list[float]]
"""The mean and the standard deviation of each feature."""


def read_sound(path: Path, form: SoundFormat, width: int) -> np.ndarray:
    """The samples or features of a file, as `regard.data.sound_files.open_sound`.

    Raises:
        UserError: it cannot be read or used, or has another number of features than ``width``.
    """
    try:
        values = form.open(path.read_bytes())
        check_width(values, width)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except BadItem as error:
        raise UserError(f"{path}: not a usable sound: {error}") from error
    return values


def scale_of(sounds: Sounds, rate: int, bands: int) -> Scale:
    """The normalization of the features of sounds, from at most a thousand of them, evenly spaced."""
    mel = None if sounds.width else LogMel(rate, bands=bands)
    total, squares, count = torch.zeros(1), torch.zeros(1), 0
    for row in range(0, len(sounds.values), -(-len(sounds.values) // _MEASURED)):
        x, _ = sound_batch(sounds.values, [row], 1 if mel is None else mel.size)
        features = (x if mel is None else mel(x))[0].double()
        total, squares, count = total + features.sum(0), squares + features.square().sum(0), count + len(features)
    mean = total / count
    deviation = (squares / count - mean.square()).clamp(min=1e-6).sqrt()
    return mean.tolist(), deviation.tolist()


def exportable(model: SoundClassifier, rate: int, width: int, notes: Mapping[str, Any]) -> Exportable:
    """A model from samples or features to logits, with what its export needs. ``notes``: see `Exportable`."""
    size, step = (1, 1) if model.mel is None else (model.mel.size, model.mel.step)
    least = size + STEP * step  # two steps; a traced graph differs for one

    def sample(sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
        length = least + step * (sizes["length"] - 1) + (0 if width else sizes["length"] % 3)
        return (torch.randn(sizes["batch"], length, width) if width else 0.1 * torch.randn(sizes["batch"], length),)

    if width:
        inputs: dict[str, tuple[str | int, ...]] = {"features": ("batch", "length", width)}
        use = "features as they are in the files"
    else:
        inputs = {"samples": ("batch", "length")}
        use = f"{rate} samples per second, one channel, with the mean 0 and the loudest at 1 or -1"
    every = {**notes, "rate": rate, "use": use}
    return Exportable(OneLength(model), inputs, sample, notes=every, minimums={"length": least})


def on_moment(timelines: Sequence[Timeline], deciding: np.ndarray) -> Score:
    """The mean attention on the moment that decides, beside what it would be with equal weights.

    Args:
        timelines: of the sounds.
        deciding: the first and last second of the moment of each, ``(n, 2)``.
    """
    shares = np.array([one.share(*moment) for one, moment in zip(timelines, deciding.tolist(), strict=True)])
    share, chance = 100 * shares.mean(0)
    how = f"per cent of the attention is on the moment that decides the class; by chance {chance:.1f}"
    return Score(float(share), how)


def save_example(samples: np.ndarray, rate: int, path: Path) -> str:
    """Write int16 samples to a WAV file, and return its name."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, len(samples), "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return str(path)
