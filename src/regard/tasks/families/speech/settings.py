"""Settings of recordings with their texts, of their augmentation, and of a model that transcribes; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regard.data.bands import RATES, most_bands
from regard.tasks.families.seq2seq.settings import DecodingOptions
from regard.training.ranges import at_least, at_most, not_negative, positive, share


@dataclass(frozen=True)
class RecordingsConfig:
    """Which recordings to train on."""

    train: str | None = None
    """Recordings with their texts: a table of paths and texts (.csv, .tsv, .jsonl, .parquet), such as a manifest of
    NeMo; a Kaldi folder (wav.scp and text); a folder with LibriSpeech's *.trans.txt files; or Sphinx's .fileids. WAV,
    FLAC, Ogg, MP3, AIFF, AU and CAF, or ready features as .npy, .npz or Sphinx's .mfc. By default, built-in
    ones."""
    valid: str | None = None
    """Recordings to validate on, in the same formats; by default, a tenth of the speakers, or of the texts, is set
    aside."""
    rate: int = 16_000
    """Samples per second; sounds of another rate are resampled."""
    seconds: float = 20.0
    """The longest recording to train on; longer ones are left out. Files that are longer than the longest training
    recording are transcribed in windows of at most its length, cut where it is quiet."""
    mfc_width: int = 13
    """Features per frame in Sphinx's .mfc files, which do not say it."""
    sound_column: str | None = None
    """Tables only. Column of the path: its name, or in files without a header its number from 1; by default
    detected."""
    text_column: str | None = None
    """Tables only. Column of the text, likewise."""
    on_bad: Literal["error", "skip"] = "error"
    """What to do with recordings that are damaged, truncated, empty, silent, missing or without a text. error: name the
    first and stop; skip: leave them out and print their number."""
    builtin: Literal["morse", "espeak"] = "morse"
    """The built-in recordings: generated Morse code, of which the time of every character is known; or espeak: the same
    kind of texts, spoken by eSpeak NG (pip install 'regard[espeak]')."""
    builtin_recordings: int = 2000
    """Number of built-in recordings, if no training recordings are given."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            at_least("data.rate", self.rate, RATES[0])
            or at_most("data", self, RATES[1], "rate")
            or positive("data", self, "seconds", "mfc_width")
            or at_most("data", self, 600, "seconds")
            or at_most("data", self, 10_000, "mfc_width")
            or at_least("data.builtin_recordings", self.builtin_recordings, 20)
            or at_most("data", self, 20_000, "builtin_recordings")
        )


@dataclass(frozen=True)
class RecordingAugmentConfig:
    """Augmentation: random changes of a training recording each time it is used."""

    speed: float = 0.1
    """Play faster or slower by at most this share, which changes the pitch too (Ko et al. 2015); 0: as it is."""
    noise: float = 0.0
    """Add noise with at most this share of the standard deviation of the sound; 0: none."""
    time_masks: int = 2
    """Number of masks of time (SpecAugment, Park et al. 2019); 0: none."""
    time_width: float = 0.3
    """The largest width of a mask of time in seconds; at most a fifth of the recording."""
    band_masks: int = 0
    """Number of masks of frequencies, for log-mel energies; not for cepstra, of which each depends on the full
    spectrum."""
    band_width: int = 10
    """The largest width of a mask of frequencies in bands."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            share("augment", self, "speed")
            or not_negative("augment", self, "noise", "time_masks", "time_width", "band_masks", "band_width")
            or at_most("augment", self, 100, "noise", "time_masks", "time_width", "band_masks")
            or at_most("augment", self, 10_000, "band_width")
        )


@dataclass(frozen=True)
class PiecesConfig:
    """How texts are split into tokens."""

    kind: Literal["char", "word"] = "char"
    """char: characters; word: BPE (byte-pair encoding) within words, which makes outputs shorter and needs more
    recordings. Characters that are in no training text are never written."""
    size: int = 500
    """word only. Number of pieces, the characters and four special tokens included."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return at_least("tokenizer.size", self.size, 50) or at_most("tokenizer", self, 1_000_000, "size")


@dataclass(frozen=True)
class TranscriberConfig:
    """The model: two convolutions, an encoder, CTC, and a decoder with attention."""

    kind: Literal["gru", "conformer"] = "gru"
    """The encoder. gru: bidirectional; conformer: self-attention and convolutions (Gulati et al. 2020), of which CTC
    can be exported."""
    attention: Literal["location", "additive", "none"] = "location"
    """Score of the decoder's attention. location: it has the weights of the step before (Chorowski et al. 2015);
    additive (Bahdanau et al. 2015); none: no decoder, only CTC, as a baseline."""
    ctc: float = 0.3
    """Weight of CTC in the loss, above 0 and below 1; the decoder has the rest (Watanabe et al. 2017)."""
    dim: int | None = None
    """Number of features of the encoder's output and of the decoder's state; by default 128 to 320, depending on the
    number of recordings."""
    layers: int = 2
    """Number of layers of the encoder."""
    heads: int = 4
    """conformer only. Number of heads of the self-attention; model.dim must be an even multiple of it."""
    bands: int = 64
    """Number of log-mel energies of a frame; ready features are used as they are."""
    dropout: float = 0.2
    """Dropout probability, on the outputs of the layers."""

    def problem(self, rate: int) -> str | None:
        """The error message for the first setting that is out of range for sounds of this rate; None: there is none."""
        wrong = (
            positive("model", self, "dim", "layers", "heads", "bands", "ctc")
            or at_most("model", self, 10_000, "dim", "heads", "bands")
            or at_most("model", self, 100, "layers")
            or share("model", self, "dropout", "ctc")
        )
        if wrong is None and self.bands > (limit := most_bands(rate)):
            return f"model.bands: must be at most {limit} for data.rate {rate:,}, got {self.bands}"
        multiple = 2 * self.heads if self.kind == "conformer" else 2
        if wrong is None and self.dim is not None and self.dim % multiple:
            return f"model.dim: must be a multiple of {multiple}, got {self.dim}"
        return wrong


@dataclass(frozen=True)
class JointOptions(DecodingOptions):
    """Options of decoding."""

    beam: int = 5
    """Beam size; 1 is greedy search."""
    ctc: float = 0.4
    """Weight of CTC in the scores of the search, from 0, the decoder alone, to 1, CTC alone; without a decoder,
    always 1."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        wrong = super().problem() or at_least("ctc", self.ctc, 0)
        return wrong if wrong or self.ctc <= 1 else f"--ctc: must be at least 0 and at most 1, got {self.ctc}"


@dataclass(frozen=True)
class EvaluateOptions(JointOptions):
    """Options of ``regard eval`` for a transcriber."""

    on_bad: Literal["error", "skip"] | None = None
    """Stop at a recording that cannot be used, or skip it; by default as in training."""
    sound_column: str | None = None
    """The column of a table that has the path; by default as in training."""
    text_column: str | None = None
    """The column of a table that has the text; by default as in training."""
    output: Path | None = None
    """Also write the texts to this file, one per line."""


@dataclass(frozen=True)
class LookOptions(JointOptions):
    """Options of ``regard look``."""

    text: str | None = None
    """Show where this text is heard instead of the model's own."""
    start: float = 0.0
    """The second at which to begin, for files that are longer than the training recordings."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return super().problem() or at_least("start", self.start, 0)
