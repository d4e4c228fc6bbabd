"""Recordings with their texts, decoded: those of a user's files, and the parts of files that a list names."""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from regard.data.class_trees import Item
from regard.data.decoding import decode_items, refusing
from regard.data.file_trees import BadItem, open_file, read_file
from regard.data.ragged import Ragged
from regard.data.sound_files import FRAMES_PER_SECOND, HEAD, sound_format
from regard.data.sound_samples import opened
from regard.data.sounds import SoundCodec, SoundFormat, width_of
from regard.data.transcripts import Utterance, read_transcripts
from regard.errors import UserError, require

_SHOWN = 3
_MORE = 0.05
"""Seconds that are read beyond the limit, so that a recording that is longer is noticed."""

_BEYOND = 0.1
"""Seconds by which a part may end after its file, as times in lists are rounded."""


@dataclass(frozen=True)
class Recordings:
    """Recordings with their texts.

    Attributes:
        values: of each, samples, int16 ``(n,)``, or features, float32 ``(frames, width)``.
        texts: what is said.
        keys: a digest of the content of each.
        speakers: who speaks; None: that is not known.
        spans: the first and last second of each character of each text, ``(characters, 2)``, if they are known.
        notes: what was left out and why.
    """

    values: Ragged
    texts: tuple[str, ...]
    keys: tuple[bytes, ...]
    speakers: tuple[str | None, ...]
    spans: tuple[np.ndarray, ...] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, rows: np.ndarray) -> Recordings:
        """Some of them, by their numbers, without the notes."""
        texts, keys, speakers = (tuple(part[row] for row in rows) for part in (self.texts, self.keys, self.speakers))
        spans = None if self.spans is None else tuple(self.spans[row] for row in rows)
        return Recordings(self.values.select(rows), texts, keys, speakers, spans)


@dataclass(frozen=True)
class Part:
    """The content of a part of a file, as a file: called where it is decoded, in another process.

    Attributes:
        path: the file.
        start: the second at which the part begins.
        end: the second at which it ends; None: with the file.
        seconds: no more than this is read of it.
    """

    path: str
    start: float
    end: float | None
    seconds: float

    def __call__(self) -> bytes:
        """The bytes of a WAV file. Raises BadItem: the file cannot be read, or ends before the part."""
        kind = sound_format(read_file(self.path, HEAD))
        if kind is None:
            raise BadItem("is a part of a file that is not a sound; features cannot be cut")
        with open_file(self.path) as file, opened(file, kind) as sound:
            rate, length = sound.samplerate, sound.frames / sound.samplerate
            if self.start >= length:
                raise BadItem(f"begins at {self.start:g} s, and the file has {length:.2f} s")
            if self.end is not None and self.end > length + _BEYOND:
                raise BadItem(f"ends at {self.end:g} s, and the file has {length:.2f} s")
            first = sound.seek(round(self.start * rate))
            end = min(sound.frames, first + math.ceil(self.seconds * rate), round((self.end or length) * rate))
            x = sound.read(end - first, dtype="float32")
            if len(x) < end - first and kind != "MP3":  # an MP3 file states its length only approximately
                raise BadItem(f"is truncated: has {first + len(x):,} of {sound.frames:,} samples")
        out = io.BytesIO()
        soundfile: Any = require("soundfile", "speech", "reading sounds")
        soundfile.write(out, x, rate, format="WAV", subtype="FLOAT")
        return out.getvalue()


def read_recordings(
    path: str,
    form: SoundFormat,
    *,
    width: int | None = None,
    on_bad: Literal["error", "skip"] = "error",
    sound_column: str | None = None,
    text_column: str | None = None,
) -> Recordings:
    """Read recordings with their texts, and decode them.

    Args:
        path: see `regard.data.transcripts.read_transcripts`.
        form: the rate to which they are converted; longer ones than ``form.seconds`` are left out, with a note.
        width: the number of features of a frame, 0 for sounds; None: that of the first file.
        on_bad: what to do with a file that is damaged, empty or silent, and with one that is missing.
        sound_column: see `read_transcripts`.
        text_column: likewise.

    Raises:
        UserError: there is no usable recording; with ``on_bad="error"``, a file is bad.
    """
    listed = read_transcripts(path, sound_column=sound_column, text_column=text_column, on_bad=on_bad)
    longer = SoundFormat(form.rate, form.seconds + _MORE, form.mfc_width)
    items = [_item(number, one, longer.seconds) for number, one in enumerate(listed.utterances)]
    codec = SoundCodec(longer, width_of(items, longer) if width is None else width)
    check = refusing(path, "sounds", on_bad)
    decoded = decode_items(lambda: iter(items), codec, (os.path.realpath(path), "recordings"), check)
    notes = list(listed.notes)
    if decoded.bad:
        more = f" and {len(decoded.bad) - _SHOWN:,} more" if len(decoded.bad) > _SHOWN else ""
        notes.append(f"left out sounds that are not usable: {'; '.join(decoded.bad[:_SHOWN])}{more}")
    said = [listed.utterances[int(number)] for number in decoded.labels]
    limit = form.seconds * (FRAMES_PER_SECOND if codec.width else form.rate)
    rows = np.flatnonzero(decoded.values.lengths <= limit)
    if len(rows) < len(said):
        notes.append(f"left out {len(said) - len(rows):,} recordings longer than {form.seconds:g} s (--data.seconds)")
    if not len(rows):
        raise UserError("; ".join((f"{path}: no usable recording in it", *notes)))
    every = Recordings(
        decoded.values, tuple(one.text for one in said), tuple(decoded.keys), tuple(one.speaker for one in said)
    )
    chosen = every.select(rows)
    return Recordings(chosen.values, chosen.texts, chosen.keys, chosen.speakers, notes=tuple(notes))


def _item(number: int, one: Utterance, seconds: float) -> Item:
    path, whole = str(one.sound), not one.start and one.end is None
    return Item(path, str(number), path if whole else Part(path, one.start, one.end, seconds))
