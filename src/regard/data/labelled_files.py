"""Labelled files of one kind, such as images: their values, their classes as numbers, and notes on the bad ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal

import numpy as np

from regard.data.class_trees import Source
from regard.data.codec import Codec, Values
from regard.data.decoding import decode_items, refusing
from regard.data.label_cells import labels_of
from regard.data.labelled import number_classes, number_labels
from regard.errors import UserError

_SHOWN = 3


@dataclass(frozen=True)
class LabelledFiles(Generic[Values]):
    """The values of the examples, and what `regard.data.labelled.Labelled` has of them."""

    values: Values
    labels: np.ndarray
    names: tuple[str, ...]
    keys: tuple[bytes, ...]
    notes: tuple[str, ...]
    parts: frozenset[str]

    @property
    def labelled(self) -> dict[str, Any]:
        """All but the values, by name."""
        return {name: getattr(self, name) for name in ("labels", "names", "keys", "notes", "parts")}


def read_labelled_files(
    path: str,
    opened: Callable[[], Source],
    codec: Codec[Values],
    origin: tuple[object, ...],
    *,
    names: tuple[str, ...] | None,
    on_bad: Literal["error", "skip"],
    several: bool = False,
    advice: Callable[[], list[str]] = list,
) -> LabelledFiles[Values]:
    """Read labelled files.

    Args:
        path: where they are, for messages and as a part of the set's name in the cache.
        opened: lists the files; called again if those in the cache are others.
        codec: decodes them.
        origin: what the set depends on besides ``path``.
        names: the known classes; another class is an error. None: the classes of the data.
        on_bad: what to do with files that cannot be used.
        several: whether a file can have several labels, or none, separated as `regard.data.label_cells` says.
        advice: what to do if there is no usable file, after the error.

    Raises:
        UserError: no file is usable, a class is unknown; with ``on_bad="error"``, a file is bad.
    """
    kind, one = codec.kind, codec.kind.removesuffix("s")
    source = opened()
    unread = [source]
    place = path if path.startswith("hf:") else os.path.realpath(path)
    check = refusing(path, kind, on_bad)
    decoded = decode_items(lambda: (unread.pop() if unread else opened()).items, codec, (place, *origin), check)
    notes, bad = source.notes, decoded.bad
    if bad:
        more = f" and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
        count = f"one {one} that is" if len(bad) == 1 else f"{len(bad):,} {kind} that are"
        notes = (*notes, f"left out {count} not usable: {'; '.join(bad[:_SHOWN])}{more}")
    if not decoded.keys:
        raise UserError("; ".join((f"{path}: no {kind} in it", *notes, *advice())))
    if several:
        numbers, known = number_labels([labels_of(label) for label in decoded.labels], names, path)
    else:
        numbers, known = number_classes(decoded.labels, names, path)
    return LabelledFiles(decoded.values, numbers, known, tuple(decoded.keys), notes, source.parts)
