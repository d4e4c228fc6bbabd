"""Log-mel energies and cepstra are those of Kaldi."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from regard.nn import Cepstra, LogMel

TOLERANCE = 5e-4
"""The largest difference of a logarithm of an energy, or of a coefficient; Kaldi computes in single precision too."""


def _kaldi(name: str, x: np.ndarray, rate: int, **options: Any) -> np.ndarray:
    kaldi = pytest.importorskip("kaldi_native_fbank")
    wanted = kaldi.FbankOptions() if name == "OnlineFbank" else kaldi.MfccOptions()
    wanted.frame_opts.samp_freq, wanted.frame_opts.dither = rate, 0
    for option, value in options.items():
        target, _, field = option.rpartition("__")
        setattr(getattr(wanted, target) if target else wanted, field, value)
    computer = getattr(kaldi, name)(wanted)
    computer.accept_waveform(rate, x.tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(at) for at in range(computer.num_frames_ready)])


@pytest.fixture
def x() -> np.ndarray:
    random = np.random.default_rng(0)
    tones = sum(np.sin(np.arange(9000) * pitch) for pitch in (0.05, 0.3, 1.1))
    return (0.1 * tones + 0.05 * random.normal(size=9000) + 0.2).astype(np.float32)


@pytest.mark.parametrize(("rate", "bands"), [(16_000, 80), (8000, 23), (44_100, 64)])
def test_log_mel_energies_are_those_of_kaldi(rate: int, bands: int, x: np.ndarray) -> None:
    expected = _kaldi("OnlineFbank", x, rate, mel_opts__num_bins=bands)
    mel = LogMel(rate, bands=bands)
    assert np.abs(mel(torch.from_numpy(x)).numpy() - expected).max() < TOLERANCE
    assert int(mel.frames(torch.tensor(len(x)))) == len(expected)


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_cepstra_are_those_of_kaldi(rate: int, x: np.ndarray) -> None:
    expected = _kaldi("OnlineMfcc", x, rate, use_energy=False)
    assert np.abs(Cepstra(rate)(torch.from_numpy(x)).numpy() - expected).max() < TOLERANCE


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="must have at least 400 samples, a frame, got 399"):
        LogMel(16_000)(torch.zeros(2, 399))
    with pytest.raises(ValueError, match="200 are too many for 8,000 samples per second"):
        LogMel(8000, bands=200)
    with pytest.raises(ValueError, match="count: must be from 1 to the number of bands, 23, got 24"):
        Cepstra(8000, count=24)
