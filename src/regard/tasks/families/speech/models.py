"""Makes the model that the settings describe."""

from __future__ import annotations

from collections.abc import Sequence

from regard.data.sound_files import FRAMES_PER_SECOND
from regard.data.tokenizer import PAD
from regard.models.spec_augment import SpecAugment
from regard.models.transcriber import Transcriber
from regard.tasks.families.speech.settings import RecordingAugmentConfig, TranscriberConfig
from regard.training.defaults import known


def build(
    config: TranscriberConfig,
    augment: RecordingAugmentConfig,
    size: int,
    *,
    rate: int,
    width: int,
    scale: tuple[Sequence[float], Sequence[float]],
) -> Transcriber:
    """A new model with random weights, for ``size`` tokens; the others are arguments of `Transcriber`."""
    masks = SpecAugment(
        times=augment.time_masks, frames=round(augment.time_width * FRAMES_PER_SECOND),
        frequencies=augment.band_masks, bands=augment.band_width,
    )  # fmt: skip
    return Transcriber(
        size, rate=rate, width=width, bands=config.bands, dim=known(config.dim), layers=config.layers,
        kind=config.kind, heads=config.heads, attention=config.attention, ctc=config.ctc, dropout=config.dropout,
        masking=masks, scale=scale, blank=PAD,
    )  # fmt: skip
