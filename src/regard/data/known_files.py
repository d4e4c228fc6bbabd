"""The digests of files that have not changed since they were read, kept in the cache: they are not read again."""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from regard.data import cache
from regard.data.class_trees import Item
from regard.data.codec import KEY, Result, digest
from regard.errors import UserError

SETTLED = 2.0
"""Seconds without a change after which a file is known: a later change within the same tick of the clock of the file
system would leave no mark."""


class KnownFiles:
    """The digests of the files of a set, by their marks: path, size, and the times of their last changes.

    The results of items have to be learned in the order of the items.

    Args:
        name: of the set in the cache.
    """

    def __init__(self, name: str):
        self._name = cache.name("digests", name)
        self._known, self._learned = self._kept(), dict[bytes, bytes]()
        self._marks = deque[bytes | None]()

    def noted(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items, each of whose files gets its mark before it is read, so that a change while it is read counts."""
        for item in items:
            self._marks.append(_mark(item.content) if isinstance(item.content, str) else None)
            yield item

    def next_key(self) -> bytes | None:
        """The digest of the next item whose result is learned; None: it is not known."""
        mark = self._marks[0]
        return None if mark is None else self._known.get(mark)

    def learn(self, result: Result) -> None:
        """Note the digest of the next item."""
        mark = self._marks.popleft()
        if mark is not None and result.key:
            self._learned[mark] = result.key

    def save(self) -> None:
        """Keep what was learned, in place of what was known. If the cache cannot be written, files are read again."""
        if self._learned.keys() <= self._known.keys():
            return
        parts = {"marks": list(self._learned), "keys": list(self._learned.values())}
        arrays = {name: np.frombuffer(b"".join(digests), dtype=np.uint8) for name, digests in parts.items()}
        with suppress(OSError, UserError):
            (cache.folder() / self._name).unlink(missing_ok=True)
            cache.entry(self._name, lambda file: cache.finish(file, arrays, {}))

    def _kept(self) -> dict[bytes, bytes]:
        try:
            with (cache.path() / self._name).open("rb") as file:
                _, arrays, _ = cache.load(file)
        except OSError:
            return {}
        marks, keys = (arrays[name].tobytes() for name in ("marks", "keys"))
        return {marks[at : at + KEY]: keys[at : at + KEY] for at in range(0, len(marks), KEY)}


def _mark(path: str) -> bytes | None:
    """Identifies a file as it is now; None: it is no regular file, or has changed just now."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or time.time() - status.st_ctime < SETTLED:
        return None
    # The time of the last change of the file's entry (ctime) cannot be set back, as that of its content (mtime) can.
    return digest(repr((os.path.abspath(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns)).encode())
