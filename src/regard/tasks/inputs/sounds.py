"""What a model of sounds needs whatever it computes: files, normalization, export, an example."""

from __future__ import annotations

import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regard.data.ragged import Ragged
from regard.data.sound_batches import sound_batch
from regard.models.sound import STEP
from regard.nn import LogMel
from regard.tasks.exporting import Exportable

_MEASURED = 1000
"""The number of training sounds from which the normalization is computed."""

Scale = tuple[list[float], list[float]]
"""The mean and the standard deviation of each feature."""


def scale_of(values: Ragged, rate: int, bands: int) -> Scale:
    """The normalization of the features of sounds, from at most a thousand of them, evenly spaced."""
    mel = None if values.width else LogMel(rate, bands=bands)
    total, squares, count = torch.zeros(1), torch.zeros(1), 0
    for row in range(0, len(values), -(-len(values) // _MEASURED)):
        x, _ = sound_batch(values, [row], 1 if mel is None else mel.size)
        features = (x if mel is None else mel(x))[0].double()
        total, squares, count = total + features.sum(0), squares + features.square().sum(0), count + len(features)
    mean = total / count
    deviation = (squares / count - mean.square()).clamp(min=1e-6).sqrt()
    return mean.tolist(), deviation.tolist()


def exportable(module: nn.Module, mel: LogMel | None, rate: int, width: int, notes: Mapping[str, Any]) -> Exportable:
    """A module from samples or features to logits, with what its export needs.

    Args:
        module: takes sounds without padding.
        mel: computes its features; None: it takes features.
        rate: samples per second.
        width: the number of features; 0: it takes samples.
        notes: see `Exportable`.
    """
    size, step = (1, 1) if mel is None else (mel.size, mel.step)
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
    return Exportable(module, inputs, sample, notes=every, minimums={"length": least})


def save_example(samples: np.ndarray, rate: int, path: Path) -> str:
    """Write int16 samples to a WAV file, and return its name."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, len(samples), "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return str(path)
