"""Batches of sounds as a model takes them: padded, and changed at random in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from regard.data.ragged import Ragged
from regard.data.stretch import real, stretched


def sound_batch(values: Ragged, rows: Sequence[int], least: int) -> tuple[Tensor, Tensor]:
    """Some sounds, padded with zeros: float32 ``(B, N)`` or features ``(B, T, width)``; and their lengths, ``(B,)``.

    Args:
        values: samples, int16, which become numbers from −1 to 1, or features.
        rows: which sounds.
        least: shorter ones are padded to this length, which is also their length in the result.

    >>> x, lengths = sound_batch(Ragged.of([np.array([16384], np.int16), np.array([0, -32768], np.int16)]), [0, 1], 1)
    >>> x.tolist(), lengths.tolist()
    ([[0.5, 0.0], [0.0, -1.0]], [1, 2])
    """
    x, lengths = values.padded(rows, least)
    if x.dtype == np.int16:
        x = x / np.float32(32768)
    return torch.from_numpy(x), torch.from_numpy(lengths)


def augment(x: Tensor, lengths: Tensor, *, shift: int, speed: float, noise: float, least: int) -> tuple[Tensor, Tensor]:
    """Change sounds at random, each in another way, with PyTorch's generator.

    Args:
        x: samples ``(B, N)`` or features ``(B, T, width)``.
        lengths: of each, ``(B,)``.
        shift: begin later or earlier by at most this many samples or frames; silence, or the first frame, comes before.
        speed: play faster or slower by at most this share, samples with a higher or lower pitch.
        noise: add normal noise with at most this share of the standard deviation of the sound.
        least: the smallest length of the result.

    Returns:
        Both, as they were given.
    """
    if shift or speed:
        x, lengths = stretched(x, lengths, shift=shift, speed=speed, least=least, silence=x.ndim == 2)
    if noise:
        every = tuple(range(1, x.ndim))
        levels = noise * torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) * x.std(every, keepdim=True)
        x = (x + levels * torch.randn_like(x)) * real(x, lengths)
    return x, lengths
