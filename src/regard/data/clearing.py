"""Lists and removes the files of the cache (`regard.data.cache`), and no others that may be in its folder."""

from __future__ import annotations

import fcntl
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from regard.data import cache

UNFINISHED = "unfinished"
"""The kind of a temporary file: a process is writing it, or was killed before its end."""

_KIND = "|".join(map(re.escape, cache.KINDS))
_NAME = re.compile(rf"(?P<kind>{_KIND})-[0-9a-f]{{32}}|\.(?:{_KIND})-[0-9a-f]{{32}}\.tmp")


@dataclass(frozen=True)
class Entry:
    """A file of the cache.

    Attributes:
        path: where it is.
        kind: one of `cache.KINDS`, or `UNFINISHED`.
        size: in bytes.
        age: the seconds since it was last written.
    """

    path: Path
    kind: str
    size: int
    age: float


def entries(older_than: float = 0.0) -> list[Entry]:
    """The files of the cache that were written more than ``older_than`` seconds ago, sorted by kind and name.

    Files that regard does not write, folders and links are left out.
    """
    listed, now = [], time.time()
    folder = cache.path()
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue  # renamed or removed by another process
        entry = Entry(path, match["kind"] or UNFINISHED, status.st_size, max(0.0, now - status.st_mtime))
        if S_ISREG(status.st_mode) and (entry.age > older_than or older_than == 0):
            listed.append(entry)
    return sorted(listed, key=lambda entry: (entry.kind, entry.path.name))


def remove(listed: Iterable[Entry]) -> list[Entry]:
    """Remove these files, but not those that another process is writing; returns those that were removed.

    A process that has mapped a removed file into memory keeps its content.

    Raises:
        UserError: the folder is not writable.
    """
    try:
        return [entry for entry in listed if (_remove_unlocked if entry.kind == UNFINISHED else _remove)(entry.path)]
    except OSError as error:
        raise cache.unusable(error) from error


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _remove_unlocked(path: Path) -> bool:
    """Remove a temporary file if no process holds its lock, as `cache.entry` does while it writes."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cache.is_named(file, path) and _remove(path)
    except (FileNotFoundError, BlockingIOError):
        return False
