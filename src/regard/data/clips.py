"""Labelled clips from a user's files, as poses or as frames: a folder for each class, archives of it, tables."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from regard.data.class_trees import Kind, Source
from regard.data.clip_trees import with_folders
from regard.data.codec import Codec, first_usable
from regard.data.columns import Column
from regard.data.file_tables import read_tree_or_table
from regard.data.file_trees import BadItem, open_tree
from regard.data.labelled import Labelled
from regard.data.labelled_files import read_labelled_files
from regard.data.packed import read_whole
from regard.data.ragged import Ragged
from regard.errors import UserError

_USUAL = ("path", "file", "filename", "pose", "poses", "keypoints", "video", "frames")


@dataclass(frozen=True, kw_only=True)
class Clips(Labelled):
    """Clips, each as poses or as frames.

    Attributes:
        values: of each clip, poses, float32 ``(frames, joints, dims)``, or frames, uint8 ``(frames, 3, size, size)``;
            of large sets, in a mapped file.
        moments: the first frame of the moment that decides each class, and the one after its last, ``(n, 2)``, if it is
            known.
        places: which joints, or which places of the frames, decide, bool ``(n, places)``, if it is known.
    """

    unit = "clip"

    values: Ragged
    moments: np.ndarray | None = None
    places: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values of a frame."""
        return self.values.flat.shape[1:]

    def content(self, mask: np.ndarray) -> Mapping[str, Any]:
        """See `Labelled`."""
        known = {"moments": self.moments, "places": self.places}
        selected = {name: None if array is None else array[mask] for name, array in known.items()}
        return {"values": self.values.select(mask), **selected}


@dataclass(frozen=True)
class ClipCodec(Codec[Ragged]):
    """How clips are decoded.

    Attributes:
        every: use each n-th frame.
        longest: of more frames, only the first ones are used.
        shape: of the values of a frame; None: it is that of the first clip.
    """

    kind = "clips"
    dtype: ClassVar[type]
    """Of the values."""
    head: ClassVar[int]
    """The number of bytes of a file from which its format is recognized."""

    every: int = 1
    longest: int = 1000
    shape: tuple[int, ...] | None = None

    @abstractmethod
    def open(self, content: bytes) -> np.ndarray:
        """The values of a clip, ``(frames, …)``, from its file, or its packed folder. Raises BadItem."""

    @abstractmethod
    def examine(self, name: str, head: bytes) -> bool:
        """Whether a file is a clip: see `regard.data.class_trees.Kind`."""

    @abstractmethod
    def is_frame(self, name: str, head: bytes) -> bool:
        """Whether a file is a frame of a clip, which is then the folder of the file."""

    @abstractmethod
    def difference(self, shape: tuple[int, ...], other: tuple[int, ...]) -> str:
        """Why a clip with frames of ``shape`` cannot be used with others, of the shape ``other``."""

    def decode(self, content: bytes | np.ndarray) -> np.ndarray:
        """See `Codec`."""
        assert isinstance(content, bytes)
        return self._fitting(self.open(content))

    def open_path(self, path: str) -> np.ndarray:
        """The values of a clip, from the path of its file or folder. Raises BadItem."""
        return self.open(read_whole(path))

    def _fitting(self, values: np.ndarray) -> np.ndarray:
        if self.shape is not None and values.shape[1:] != self.shape:
            raise BadItem(self.difference(values.shape[1:], self.shape))
        return values

    def read(self, path: str) -> np.ndarray:
        """The values of the clip of a file or folder. Raises UserError: it cannot be used."""
        try:
            return self._fitting(self.open_path(path))
        except BadItem as error:
            raise UserError(f"{path}: not a usable clip: {error}") from error

    def held(self, values: list[np.ndarray]) -> Ragged:
        """See `Codec`."""
        return Ragged.of(values)

    def mapped(self, content: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> Ragged:
        """See `Codec`."""
        assert self.shape is not None
        size = int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize
        flat: np.ndarray = content[: lengths.sum()].view(self.dtype).reshape(-1, *self.shape)
        return Ragged(flat, ((lengths.cumsum() - lengths) // size)[rows], lengths[rows] // size)


def read_clips(
    path: str,
    codec: ClipCodec,
    *,
    names: tuple[str, ...] | None = None,
    several: bool = False,
    on_bad: Literal["error", "skip"] = "error",
    part: Literal["train", "valid"] | None = None,
    clip_column: str | None = None,
    label_column: str | None = None,
    advice: str = "",
) -> Clips:
    """Read clips, each with one class, or, from a table, with any number of labels.

    Args:
        path: a folder with a folder per class, in which a clip is a file or a folder with a file per frame; a tar or
            zip archive of it; a table (`.csv`, `.tsv`, `.jsonl`, `.parquet`) of labels and of paths of such files or
            folders, or, in JSONL, of the poses themselves; or ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face dataset.
        codec: decodes them.
        names: the known classes; another class is an error. None: the classes of the data.
        several: whether a clip can have several labels, or none: see `regard.data.label_cells`.
        on_bad: what to do with clips that are damaged or empty, or are clips only by their suffix.
        part: the folder to read of data that are divided into folders such as train and val.
        clip_column: the column of a table with the clip; None: chosen by its name.
        label_column: the column of a table with the label; None: likewise.
        advice: what to do if there is no clip, after the error.

    Raises:
        UserError: there is no such file or no clip, it is unclear which folder or column is the class, a class is
            unknown or has no clip; with ``on_bad="error"``, a clip is bad.
    """
    kind = Kind("clip", codec.head, codec.examine)

    def opened() -> Source:
        return read_tree_or_table(
            path, kind, Column("clip", "data.clip_column", clip_column, number=1, usual=_USUAL, kind="any"),
            label_column, part=part, several=several, keep_empty=on_bad == "skip" or names is not None,
            entries=lambda place: with_folders(open_tree(place), codec.is_frame, codec.head, path), read_cell=_cell,
        )  # fmt: skip

    if codec.shape is None:
        first = first_usable(opened().items, codec)
        codec = codec if first is None else replace(codec, shape=first.shape[1:])
    files = read_labelled_files(
        path, opened, codec, (part, clip_column, label_column, several), names=names, on_bad=on_bad, several=several,
        advice=lambda: [advice] if advice else [],
    )  # fmt: skip
    if several and not files.names:
        raise UserError(f"{path}: no clip has a label; check which column is the label (--data.label-column)")
    clips = Clips(values=files.values, **files.labelled)
    cut = int((clips.values.lengths >= codec.longest).sum())
    if cut:
        have = "clip has" if cut == 1 else "clips have"
        note = f"{cut:,} {have} {codec.longest:,} frames or more, of which the first are used; see --data.longest"
        clips = replace(clips, notes=(*clips.notes, note))
    return clips


def _cell(cell: Any) -> bytes | None:
    """Poses in a cell, as the content of a JSON file; None: the cell has another content."""
    if isinstance(cell, dict) and not cell.keys().isdisjoint(("bytes", "path")):
        return None
    return json.dumps(cell).encode() if isinstance(cell, list | dict) else None
