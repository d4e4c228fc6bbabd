"""Features of sounds: log-mel energies and cepstra, as Kaldi computes them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from regard.nn.layer import check_shape

_FRAME, _STEP = 0.025, 0.010
_PREEMPHASIS = 0.97
_LIFTER = 22
_SMALLEST = torch.finfo(torch.float32).eps


class LogMel(nn.Module):
    """Logarithms of the energies in bands of equal width on the mel scale, 100 frames per second.

    Frames of 25 ms every 10 ms, without the mean, with a pre-emphasis of 0.97 and Povey's window; the power spectrum;
    triangular bands from 20 Hz to half the sampling rate (Davis and Mermelstein 1980). The result is that of Kaldi's
    ``compute-fbank-feats`` without dither and energy, up to rounding.

    Args:
        rate: samples per second.
        bands: their number.

    Raises:
        ValueError: a number is not positive, or there are so many bands that one would be empty.

    Example:
        >>> LogMel(16_000, bands=40)(torch.randn(2, 16_000)).shape
        torch.Size([2, 98, 40])
    """

    window: Tensor
    weights: Tensor

    def __init__(self, rate: int, *, bands: int = 80):
        super().__init__()
        if min(rate, bands) < 1:
            raise ValueError(f"rate and bands must be positive, got {rate} and {bands}")
        self.rate, self.bands = rate, bands
        self.size, self.step = round(_FRAME * rate), round(_STEP * rate)
        at = torch.arange(self.size, dtype=torch.float64)
        povey = (0.5 - 0.5 * torch.cos(2 * math.pi * at / (self.size - 1))) ** 0.85
        self.points = 2 ** math.ceil(math.log2(self.size))
        weights = _triangles(rate, self.points, bands)
        if (weights.sum(0) == 0).any():
            raise ValueError(f"bands: {bands} are too many for {rate:,} samples per second; some would be empty")
        self.register_buffer("window", povey.float(), persistent=False)
        self.register_buffer("weights", weights.float(), persistent=False)

    def frames(self, samples: Tensor) -> Tensor:
        """The number of frames of sounds with these numbers of samples."""
        return (samples - self.size) // self.step + 1

    def forward(self, x: Tensor) -> Tensor:
        """Compute the features.

        Args:
            x: samples, ``(B, N)`` or ``(N,)``, at least one frame.

        Returns:
            ``(B, frames, bands)`` or ``(frames, bands)``; frames is ``1 + (N − size) // step``, with ``size`` and
            ``step`` in samples.

        Raises:
            ValueError: ``x`` has another number of dimensions, or is shorter than a frame.
        """
        check_shape("x", x, "B N", "N")
        if x.shape[-1] < self.size:
            raise ValueError(f"x: must have at least {self.size} samples, a frame, got {x.shape[-1]}")
        frames = x.unfold(-1, self.size, self.step)
        frames = frames - frames.mean(-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], -1)
        frames = (frames - _PREEMPHASIS * before) * self.window
        spectrum = torch.view_as_real(torch.fft.rfft(frames, self.points))
        energies = spectrum.square().sum(-1) @ self.weights
        return energies.clamp(min=_SMALLEST).log()


class Cepstra(nn.Module):
    """Mel-frequency cepstral coefficients (MFCC): the cosine transform of `LogMel` (Davis and Mermelstein 1980).

    With a lifter of 22, as Kaldi's ``compute-mfcc-feats`` without dither and energy, up to rounding.

    Args:
        rate: samples per second.
        bands: the number of bands.
        count: the number of coefficients, the first ones.

    Raises:
        ValueError: see `LogMel`, or there are more coefficients than bands.

    Example:
        >>> Cepstra(8000)(torch.randn(8000)).shape
        torch.Size([98, 13])
    """

    transform: Tensor

    def __init__(self, rate: int, *, bands: int = 23, count: int = 13):
        super().__init__()
        if not 1 <= count <= bands:
            raise ValueError(f"count: must be from 1 to the number of bands, {bands}, got {count}")
        self.mel = LogMel(rate, bands=bands)
        at = torch.arange(bands, dtype=torch.float64)[:, None]
        number = torch.arange(count, dtype=torch.float64)
        transform = torch.cos(math.pi / bands * (at + 0.5) * number) * math.sqrt(2 / bands)
        transform[:, 0] = math.sqrt(1 / bands)
        lifter = 1 + 0.5 * _LIFTER * torch.sin(math.pi * number / _LIFTER)
        self.register_buffer("transform", (transform * lifter).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """As `LogMel.forward`; the last axis has the coefficients."""
        cepstra: Tensor = self.mel(x) @ self.transform
        return cepstra


def _triangles(rate: int, points: int, bands: int) -> Tensor:
    """The weight of each frequency of the spectrum in each band, float64 ``(points / 2 + 1, bands)``."""
    frequencies = torch.arange(points // 2 + 1, dtype=torch.float64) * rate / points
    mel = 1127 * torch.log1p(frequencies / 700)
    low, high = (1127 * math.log1p(frequency / 700) for frequency in (20, rate / 2))
    width = (high - low) / (bands + 1)
    left = low + width * torch.arange(bands, dtype=torch.float64)
    rising = (mel[:, None] - left) / width
    weights = torch.minimum(rising, 2 - rising).clamp(min=0)
    weights[-1] = 0  # as Kaldi: without the highest frequency
    return weights
