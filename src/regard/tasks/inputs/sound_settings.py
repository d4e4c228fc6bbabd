"""Settings of labelled sounds, of their augmentation, and of a model of sounds; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regard.data.bands import RATES, most_bands
from regard.data.fold import fold_problem
from regard.training.ranges import at_least, at_most, not_negative, positive, share


@dataclass(frozen=True)
class LabelledSoundsConfig:
    """Which sounds to train on."""

    train: str | None = None
    """Sounds to train on: a folder with a subfolder per class, a tar or zip archive of it, a table of paths and labels
    (.csv, .tsv, .jsonl, .parquet), or a Hugging Face dataset as "hf:NAME". WAV, FLAC, Ogg, MP3, AIFF, AU and CAF, or
    ready features as .npy, .npz or Sphinx's .mfc. By default, generated tones."""
    labels: Literal["single", "multi"] = "single"
    """single: a sound has exactly one class; multi, for tables: any number of labels or none, separated by |, a comma
    or a semicolon, or as a list in JSON and Parquet."""
    valid: str | None = None
    """Sounds to validate on, in the same formats; by default, those of a folder val or valid beside the folder train,
    or else a tenth of each class, which is set aside."""
    fold: str | None = None
    """K/N: validate on the K-th of N folds of the training sounds, which have the same share of each class. The same
    train.seed gives the same folds."""
    rate: int = 16_000
    """Samples per second; sounds of another rate are resampled."""
    seconds: float = 10.0
    """Of longer sounds, only the first part of this length is used."""
    mfc_width: int = 13
    """Features per frame in Sphinx's .mfc files, which do not say it."""
    sound_column: str | None = None
    """Tables only. Column of the path, or of the content of the file: its name, or in files without a header its number
    from 1; by default detected."""
    label_column: str | None = None
    """Tables only. Column of the label, likewise."""
    on_bad: Literal["error", "skip"] = "error"
    """What to do with files that are damaged, truncated, empty, silent or of an unknown format. error: name the first
    and stop; skip: leave them out and print their number."""
    builtin_sounds: int = 1500
    """Number of built-in sounds, if no training sounds are given."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            at_least("data.rate", self.rate, RATES[0])
            or at_most("data", self, RATES[1], "rate")
            or positive("data", self, "seconds", "mfc_width")
            or at_most("data", self, 3600, "seconds")
            or at_most("data", self, 10_000, "mfc_width")
            or at_least("data.builtin_sounds", self.builtin_sounds, 50)
            or at_most("data", self, 200_000, "builtin_sounds")
            or fold_problem(self.fold, self.valid)
        )


@dataclass(frozen=True)
class LabelledSoundsOptions:
    """Options of ``regard eval`` for labelled sounds."""

    on_bad: Literal["error", "skip"] | None = None
    """Stop at a sound that cannot be used, or skip it; by default as in training."""
    sound_column: str | None = None
    """The column of a table that has the sound; by default as in training."""
    label_column: str | None = None
    """The column of a table that has the label; by default as in training."""


@dataclass(frozen=True)
class SoundAugmentConfig:
    """Augmentation: random changes of a training sound each time it is used."""

    shift: float = 0.1
    """Begin later or earlier by a random time of at most this many seconds; 0: no shift."""
    speed: float = 0.1
    """Play faster or slower by at most this share, which changes the pitch too; 0: as it is."""
    noise: float = 0.1
    """Add noise with at most this share of the standard deviation of the sound; 0: none."""
    mixup: float = 0.0
    """Mix two sounds and their classes in a ratio drawn from Beta(mixup, mixup), often with 0.2 (Zhang et al. 2018); 0:
    no mixing."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            not_negative("augment", self, "shift", "noise", "mixup")
            or at_most("augment", self, 60, "shift")
            or at_most("augment", self, 100, "noise")
            or share("augment", self, "speed")
        )


@dataclass(frozen=True)
class SoundModelConfig:
    """The classifier: log-mel energies, convolutions, and attention over time."""

    attention: Literal["additive", "none"] = "additive"
    """additive: a learned query attends to the moments of a sound (Bahdanau et al. 2015); none: the mean over the
    moments, as a baseline."""
    bands: int = 64
    """Number of log-mel energies of a frame; ready features are used as they are."""
    width: int = 16
    """Channels of the first of the three convolutions; the others have two and four times as many."""
    heads: int = 4
    """Number of heads of the attention."""
    dropout: float = 0.2
    """Dropout probability on the features of each moment and of the sound."""

    def problem(self, rate: int) -> str | None:
        """The error message for the first setting that is out of range for sounds of this rate; None: there is none."""
        wrong = (
            positive("model", self, "bands", "width", "heads")
            or at_most("model", self, 10_000, "bands", "width", "heads")
            or share("model", self, "dropout")
        )
        if wrong is None and 4 * self.width % self.heads:
            return f"model.heads: must divide 4 · model.width, {4 * self.width}, got {self.heads}"
        if wrong is None and self.bands > (limit := most_bands(rate)):
            return f"model.bands: must be at most {limit} for data.rate {rate:,}, got {self.bands}"
        return wrong
