"""Labelled sounds from a user's files: a folder for each class, archives of it, tables of paths, Hugging Face."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from regard.data.class_trees import Item, Kind, Source
from regard.data.codec import Codec, file_digest, first_usable, version_of
from regard.data.columns import Column
from regard.data.file_tables import read_tree_or_table
from regard.data.file_trees import BadItem, open_file
from regard.data.labelled import Labelled
from regard.data.labelled_files import read_labelled_files
from regard.data.ragged import Ragged
from regard.data.sound_files import HEAD, examine, open_sound, sound_format
from regard.data.sound_samples import LongSound, seconds_of
from regard.errors import UserError

SOUNDS = Kind("sound", HEAD, examine)
"""Files with sounds or features: see `regard.data.class_trees.read_tree`."""

_USUAL = ("path", "file", "filename", "audio", "audio_filepath", "wav", "recording")


@dataclass(frozen=True, kw_only=True)
class Sounds(Labelled):
    """Sounds, or features of sounds.

    Attributes:
        values: of each sound, the samples, int16 ``(n,)``, or features, float32 ``(frames, width)``; of large sets, in
            a mapped file.
        deciding: the first and last second of the moment that decides each class, ``(n, 2)``, if it is known.
    """

    unit = "sound"

    values: Ragged
    deciding: np.ndarray | None = None

    @property
    def width(self) -> int:
        """The number of features of a frame; 0: these are samples."""
        return self.values.width

    def content(self, mask: np.ndarray) -> Mapping[str, Any]:
        """See `Labelled`."""
        return {
            "values": self.values.select(mask), "deciding": None if self.deciding is None else self.deciding[mask],
        }  # fmt: skip


@dataclass(frozen=True)
class SoundFormat:
    """How sounds are decoded: see `regard.data.sound_files.open_sound`."""

    rate: int = 16_000
    seconds: float = 30.0
    mfc_width: int = 13

    def open(self, content: bytes | BinaryIO) -> np.ndarray:
        """See `regard.data.sound_files.open_sound`. Raises BadItem: it cannot be used."""
        return open_sound(content, rate=self.rate, seconds=self.seconds, mfc_width=self.mfc_width)


@dataclass(frozen=True)
class SoundCodec(Codec[Ragged]):
    """Sounds of one rate, or features of one width (0: sounds; None: of any)."""

    kind = "sounds"

    format: SoundFormat
    width: int | None

    @property
    def depends_on(self) -> tuple[object, ...]:
        """See `Codec`."""
        return self.format, self.width, version_of("soundfile"), version_of("soxr")

    def decode(self, content: bytes | np.ndarray) -> np.ndarray:
        """See `Codec`."""
        assert isinstance(content, bytes)
        return self._open(content)

    def keyed(self, item: Item) -> tuple[bytes, Callable[[], np.ndarray]]:
        """See `Codec`. A file on the disk may be large: its content is never in memory as a whole."""
        if not isinstance(item.content, str):
            return super().keyed(item)
        with open_file(item.content) as file:
            return file_digest(file), partial(self._of_file, item.content)

    def _of_file(self, path: str) -> np.ndarray:
        with open_file(path) as file:
            return self._open(file)

    def _open(self, content: bytes | BinaryIO) -> np.ndarray:
        values = self.format.open(content)
        if self.width is not None:
            check_width(values, self.width)
        return values

    def held(self, values: list[np.ndarray]) -> Ragged:
        """See `Codec`."""
        return Ragged.of(values)

    def mapped(self, content: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> Ragged:
        """See `Codec`."""
        width = self.width or 0
        flat = content[: lengths.sum()].view(np.float32 if width else np.int16)
        size = flat.itemsize * max(1, width)
        starts = (lengths.cumsum() - lengths) // size
        return Ragged(flat.reshape(-1, width) if width else flat, starts[rows], lengths[rows] // size)


def check_width(values: np.ndarray, width: int) -> None:
    """Raises BadItem: a file has samples where others have features, or features of another number."""
    own = 0 if values.ndim == 1 else values.shape[1]
    if own != width:
        kinds = [f"{number} features per frame" if number else "samples" for number in (own, width)]
        raise BadItem(f"has {kinds[0]}, where the others have {kinds[1]}")


def read_sounds(
    path: str,
    form: SoundFormat,
    *,
    width: int | None = None,
    names: tuple[str, ...] | None = None,
    several: bool = False,
    on_bad: Literal["error", "skip"] = "error",
    part: Literal["train", "valid"] | None = None,
    sound_column: str | None = None,
    label_column: str | None = None,
) -> Sounds:
    """Read sounds, each with one class, or, from a table, with any number of labels.

    Args:
        path: a folder with a folder per class, a tar or zip archive of it; a table of paths and labels (`.csv`, `.tsv`,
            `.jsonl`, `.parquet`); or ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face dataset. Whether a file is a sound
            depends on its content; features are recognized by their endings.
        form: the rate and length to which they are converted.
        width: the number of features of a frame, 0 for sounds; None: that of the first file.
        names: the known classes; another class is an error. None: the classes of the data.
        several: whether a sound can have several labels, or none: see `regard.data.label_cells`.
        on_bad: what to do with files that are damaged, empty or silent, or are sounds only by their suffix.
        part: the folder to read of data that are divided into folders such as train and val.
        sound_column: the column of a table with the path or the content of the file; None: chosen by type and name.
        label_column: the column of a table with the label; None: likewise.

    Raises:
        UserError: there is no such file or no sound, it is unclear which folder or column is the class, a class is
            unknown or has no sound; with ``on_bad="error"``, a file is bad.
    """

    def opened() -> Source:
        keep_empty = on_bad == "skip" or names is not None
        column = Column("sound", "data.sound_column", sound_column, number=1, usual=_USUAL, kind="any", feature="Audio")
        return read_tree_or_table(
            path, SOUNDS, column, label_column, part=part, several=several, keep_empty=keep_empty
        )  # fmt: skip

    codec = SoundCodec(form, width_of(opened().items, form) if width is None else width)
    origin = (part, sound_column, label_column, several)
    files = read_labelled_files(path, opened, codec, origin, names=names, on_bad=on_bad, several=several)
    if several and not files.names:
        raise UserError(f"{path}: no sound has a label; check which column is the label (--data.label-column)")
    sounds = Sounds(values=files.values, **files.labelled)
    longest = round(form.seconds * form.rate)
    cut = 0 if sounds.width else int((sounds.values.lengths >= longest).sum())
    if cut:
        note = f"used the first {form.seconds:g} seconds of {cut:,} sound{'s' if cut > 1 else ''}; see --data.seconds"
        sounds = Sounds(values=files.values, **{**files.labelled, "notes": (*files.notes, note)})
    return sounds


def width_of(items: Iterable[Item], form: SoundFormat) -> int:
    """The number of features of the first usable file; 0: it has samples, or there is none."""
    first = first_usable(items, SoundCodec(form, None))
    return 0 if first is None or first.ndim == 1 else first.shape[1]


def read_sound(path: Path, form: SoundFormat, width: int) -> np.ndarray:
    """The samples or features of a file, as `regard.data.sound_files.open_sound`.

    Raises:
        UserError: it cannot be read or used, or has another number of features than ``width``.
    """
    with _opened(path) as file:
        return _values(file, form, width)


def read_blocks(path: Path, form: SoundFormat, width: int) -> tuple[int, Iterator[np.ndarray]]:
    """The length of a file, and all its samples or features, in blocks if it is a sound longer than ``form.seconds``.

    Raises:
        UserError: see `read_sound`; also while the blocks are read.
    """
    with _opened(path) as file:
        kind = sound_format(file.read(HEAD))
        if kind is not None and path.is_file() and seconds_of(file, kind) > form.seconds:
            check_width(np.zeros(0), width)
            long = LongSound.of(path, kind, form.rate)
            return long.length, long.blocks()
        values = _values(file, replace(form, seconds=math.inf), width)
    return len(values), iter([values])


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file, of which any part can be read, from a pipe, too. Errors name it."""
    try:
        with path.open("rb") as file:
            yield file if file.seekable() else io.BytesIO(file.read())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except BadItem as error:
        raise UserError(f"{path}: not a usable sound: {error}") from error


def _values(file: BinaryIO, form: SoundFormat, width: int) -> np.ndarray:
    values = form.open(file)
    check_width(values, width)
    return values
