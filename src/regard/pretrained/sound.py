"""Inputs of a model of sounds of Hugging Face, such as Whisper and Wav2Vec2, and their attention over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from regard.data.sounds import SoundFormat, read_sound
from regard.errors import UserError
from regard.explain.timeline import Timeline
from regard.nn import LogMel
from regard.pretrained.loading import attempt
from regard.views import LayerView, Tokens


@dataclass(frozen=True, eq=False)
class Heard:
    """A sound as a model hears it.

    Attributes:
        features: its spectrogram, ``(frames, bands)``.
        seconds: what the model's positions cover, also where a short sound is padded.
    """

    features: np.ndarray
    seconds: float

    def tokens(self, count: int) -> Tokens:
        """The moments of ``count`` positions."""
        texts = tuple(f"{at * self.seconds / count:.2f} s" for at in range(count))
        return Tokens(texts, tuple(range(count)))

    def timeline(self, layers: Sequence[LayerView], head: int | None) -> Timeline:
        """The share of the weights that each moment receives, the mean of layers and of all heads or of one."""
        shares = [layer.view.received / max(1, len(layer.queries)) for layer in layers]
        weights = torch.stack([one.mean(0) if head is None else one[head] for one in shares]).mean(0)
        return Timeline(self.features, weights.float().cpu().numpy(), self.seconds, self.seconds / len(weights))


def heard(name: str, model: Any, extractor: Any, path: str) -> tuple[dict[str, Any], Heard]:
    """The arguments of a model for a sound file, and what it hears.

    Raises:
        UserError: the file is missing or no sound, or the model's positions are no moments.
    """
    rate = int(extractor.sampling_rate)
    samples = read_sound(Path(path), SoundFormat(rate), 0).astype(np.float32) / 2**15
    given = attempt(
        name, "its feature extractor", lambda: dict(extractor(samples, sampling_rate=rate, return_tensors="pt"))
    )  # fmt: skip
    values = given[model.main_input_name]
    if values.dim() == 3 and values.shape[1] == extractor.feature_size:
        features, seconds = values[0].T, getattr(extractor, "n_samples", len(samples)) / rate
    elif values.dim() == 2:
        wave = F.pad(torch.from_numpy(samples), (0, max(0, rate // 25 - len(samples))))
        features, seconds = LogMel(rate, bands=40)(wave[None])[0], len(samples) / rate
    else:
        raise UserError(
            f"{name}: {type(model).__name__} takes {values.dim()} dimensions that are no moments of a sound; in "
            "Python, regard.looking looks into any model"
        )
    return given, Heard(features.float().numpy(), seconds)
