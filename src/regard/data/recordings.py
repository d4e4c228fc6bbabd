"""Recordings with their texts, decoded: those of a user's files, and the parts of files that a list names."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from regard.data.class_trees import Item
from regard.data.decoding import decode_items, refusing
from regard.data.file_trees import BadItem, read_file
from regard.data.ragged import Ragged
from regard.data.sound_files import FRAMES_PER_SECOND, HEAD, sound_format
from regard.data.sound_samples import opened
from regard.data.sounds import SoundCodec, SoundFormat, width_of
from regard.data.transcripts import Utterance, read_transcripts
from regard.errors import UserError, require

_SHOWN = 3
_MORE = 0.05
"""Seconds that are read beyond the limit, so that a recording that is longer is noticed."""


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
    """

    path: str
    start: float
    end: float | None

    def __call__(self) -> bytes:
        """The bytes of a WAV file, or of an array of features. Raises BadItem: the file cannot be read."""
        kind = sound_format(read_file(self.path, HEAD))
        if kind is None:
            raise BadItem("is a part of a file that is not a sound; features cannot be cut")
        with open(self.path, "rb") as file, opened(file, kind) as sound:
            first, rate = round(self.start * sound.samplerate), sound.samplerate
            if first >= sound.frames:
                raise BadItem(f"begins at {self.start} s, and the file has {sound.frames / rate:.2f} s")
            sound.seek(first)
            x = sound.read(-1 if self.end is None else round(self.end * rate) - first, dtype="float32")
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
    items = [_item(number, one) for number, one in enumerate(listed.utterances)]
    longer = SoundFormat(form.rate, form.seconds + _MORE, form.mfc_width)
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


def _item(number: int, one: Utterance) -> Item:
    whole = not one.start and one.end is None
    return Item(str(one.sound), str(number), str(one.sound) if whole else Part(str(one.sound), one.start, one.end))
