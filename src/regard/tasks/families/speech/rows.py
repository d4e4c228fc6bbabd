"""Recordings with texts for training: their batches, a part that is set aside, and the sounds that a model reads."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.data import split
from regard.data.padding import pad
from regard.data.ragged import Ragged
from regard.data.recordings import Recordings, read_recordings
from regard.data.sound_batches import augment, sound_batch
from regard.data.sound_files import FRAMES_PER_SECOND
from regard.data.sounds import SoundFormat
from regard.data.tokenizer import BOS, EOS, PAD, Tokenizer
from regard.errors import UserError
from regard.models.transcriber import STEP, Transcriber
from regard.tasks.families.speech.settings import RecordingAugmentConfig, RecordingsConfig
from regard.training.fingerprint import Fingerprint

_SET_ASIDE = 0.1
_MOST_SET_ASIDE = 2000


@dataclass(frozen=True)
class Sound:
    """What a model reads: the samples or features of a part of a recording, and where it begins.

    Attributes:
        values: samples, int16, or features.
        steps: the number of steps of the encoder, which is also the length of the sound.
        start: the second of its beginning in the file.
    """

    values: np.ndarray
    steps: int
    start: float = 0.0

    def __len__(self) -> int:
        return self.steps


@dataclass(frozen=True)
class Listener:
    """How sounds become the tensors of a model.

    Attributes:
        model: the model.
    """

    model: Transcriber

    @property
    def least(self) -> int:
        """The smallest length of a sound, in samples or frames."""
        return 1 if self.model.mel is None else self.model.mel.size

    def frames(self, lengths: np.ndarray) -> np.ndarray:
        """The number of frames of sounds with these lengths."""
        mel, lengths = self.model.mel, np.maximum(lengths, self.least)
        return lengths if mel is None else (lengths - mel.size) // mel.step + 1

    def sound(self, values: np.ndarray, start: float = 0.0) -> Sound:
        """A sound."""
        return Sound(values, -(-int(self.frames(np.array(len(values)))) // STEP), start)

    def batch(self, values: Ragged, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Some sounds, padded, and their lengths."""
        x, lengths = sound_batch(values, rows, self.least)
        return x.to(self.model.device), lengths.to(self.model.device)


@dataclass(frozen=True)
class SpokenRows:
    """Recordings as `Transcriber` reads them; see `regard.tasks.families.seq2seq.trainable.Examples`.

    Attributes:
        recordings: the recordings.
        tokenizer: of the texts.
        listener: makes the batches of sounds.
        change: the augmentation; None: in validation.
    """

    recordings: Recordings
    tokenizer: Tokenizer
    listener: Listener
    change: RecordingAugmentConfig | None = None

    @cached_property
    def targets(self) -> list[list[int]]:
        """The tokens of each text, with EOS."""
        return [[*tokens, EOS] for tokens in self.tokenizer.encode_batch(self.recordings.texts)]

    @cached_property
    def lengths(self) -> np.ndarray:
        """See `Examples`; those of sounds are in frames."""
        frames = self.listener.frames(self.recordings.values.lengths)
        return np.stack((frames, [len(tokens) for tokens in self.targets]), 1)

    def __len__(self) -> int:
        return len(self.recordings)

    def note_too_long(self, notify: Callable[[str], None]) -> None:
        """Say how many texts have more tokens than their sounds have steps, of which CTC learns nothing."""
        steps = -(-self.lengths[:, 0] // STEP)
        # Equal neighbours take a step more: a blank between them.
        needed = [len(one) - 1 + sum(map(operator.eq, one, one[1:])) for one in self.targets]
        if count := int((steps < needed).sum()):
            notify(
                f"{count:,} of {len(self):,} texts have more tokens than their sounds have steps of "
                f"{1000 * STEP // FRAMES_PER_SECOND} ms, so CTC learns nothing from them; check that they belong "
                "together"
            )

    def batch(self, rows: Sequence[int], device: torch.device) -> tuple[tuple[Tensor, ...], int]:
        """See `Examples`."""
        x, lengths = self.listener.batch(self.recordings.values, rows)
        if self.change is not None and (self.change.speed or self.change.noise):
            how = self.change
            x, lengths = augment(
                x, lengths, shift=0, speed=how.speed, noise=how.noise, least=self.listener.least
            )  # fmt: skip
        targets = [self.targets[row] for row in rows]
        return (x, lengths, *pad([[BOS, *tokens] for tokens in targets], PAD, device)), sum(map(len, targets))


@dataclass(frozen=True)
class RecordingData:
    """Training and validation recordings."""

    train: Recordings
    valid: Recordings

    def fingerprint(self) -> Fingerprint:
        """Identifies both."""
        train, valid = (zip(part.keys, part.texts, strict=True) for part in (self.train, self.valid))
        return Fingerprint.of("recordings", train, valid)


def sound_format(config: RecordingsConfig) -> SoundFormat:
    """How sounds are decoded."""
    return SoundFormat(config.rate, config.seconds, config.mfc_width)


def read_part(
    path: str,
    config: RecordingsConfig,
    notify: Callable[[str], None],
    width: int | None = None,
    options: Mapping[str, str | None] = MappingProxyType({}),
) -> Recordings:
    """The recordings at ``path``; messages about them go to ``notify``.

    Args:
        path: see `regard.data.transcripts.read_transcripts`.
        config: settings.
        notify: gets the messages.
        width: the number of features that the others have; None: these are the first.
        options: settings that replace those of ``config``, if they are not None.

    Raises:
        UserError: they cannot be used.
    """
    chosen: Any = {name: value for name, value in options.items() if value is not None}
    config = replace(config, **chosen)
    recordings = read_recordings(
        path, sound_format(config), width=width, on_bad=config.on_bad, sound_column=config.sound_column,
        text_column=config.text_column,
    )  # fmt: skip
    for note in recordings.notes:
        notify(f"{path}: {note}")
    return recordings


def read_own(path: str, config: RecordingsConfig, seed: int, notify: Callable[[str], None]) -> RecordingData:
    """The user's recordings to train on, and those to validate on or a part that is set aside: see `read_part`."""
    train = read_part(path, config, notify)
    if config.valid is None:
        return set_aside(train, seed, notify)
    valid = read_part(config.valid, config, notify, train.values.width)
    if shared := split.repeated(train.keys, valid.keys):
        notify(split.shared_notice(shared, len(valid), "recordings"))
    return RecordingData(train, valid)


def set_aside(recordings: Recordings, seed: int, notify: Callable[[str], None]) -> RecordingData:
    """Set a tenth of the speakers aside for validation; of the different texts, if not all speakers are known.

    Raises:
        UserError: there is only one.
    """
    speakers = recordings.speakers
    known = None not in speakers and len(set(speakers)) > 1
    names: Any = speakers if known else recordings.texts
    groups = np.unique(np.array(names, dtype=object).astype(str), return_inverse=True)[1]
    if not groups.any():
        raise UserError("data.train: needs recordings of at least two different texts, one of them for validation")
    held_out = split.by_group(groups, share=_SET_ASIDE, most=_MOST_SET_ASIDE, seed=seed)
    whose = f" of {len(set(groups[held_out].tolist())):,} speakers" if known else ""
    notify(split.notice(f"{int(held_out.sum()):,} of {len(recordings):,} recordings{whose}"))
    return RecordingData(recordings.select(np.flatnonzero(~held_out)), recordings.select(np.flatnonzero(held_out)))


def duration(values: Ragged, rate: int) -> float:
    """The hours of all recordings together."""
    return float(values.lengths.sum()) / (FRAMES_PER_SECOND if values.width else rate) / 3600


def longest(values: Ragged, rate: int) -> float:
    """The seconds of the longest recording."""
    return float(values.lengths.max()) / (FRAMES_PER_SECOND if values.width else rate)
