"""Files that are made once from the user's data and found again by the next start, in the folder of the cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from regard.errors import UserError

SMALL = 20_000_000
"""Data of at most this many bytes are held in memory, and nothing is written for them."""

_VERSION = 1
"""A part of every name, so that a version of regard that writes other files does not read these."""

KINDS = {
    "text": "text of large files",
    "pairs": "pairs of large files",
    "tokens": "tokens of large text",
    "tokenizer": "tokenizers trained on large text",
    "images": "decoded images",
    "sounds": "decoded sounds",
    "clips": "decoded clips",
    "digests": "digests of files, which are read again if they have changed",
    "vectors": "vectors of images to search",
    "part": "fingerprints of large data",
    "set-aside": "the examples that are set aside for validation",
    "shared": "how many examples of large data are for training and for validation",
}
"""Kind of file, with which its name begins → what is in it."""

_MAGIC = b"regard:1"


def path() -> Path:
    """The folder of the cache, which may not exist."""
    given, shared = os.environ.get("REGARD_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else Path(shared) / "regard" if shared else Path("~/.cache/regard").expanduser()


def unusable(error: OSError) -> UserError:
    """The error that the cache cannot be written."""
    return UserError(
        f"{path()}: the cache cannot be written ({error.strerror or error}); "
        "name another folder in the environment variable REGARD_CACHE"
    )


def unnamed() -> IO[bytes]:
    """A file in the folder of the cache that is removed when it is closed. Raises UserError: see `folder`."""
    return tempfile.TemporaryFile(dir=folder())


def folder() -> Path:
    """The folder of the cache, which is created: ``$REGARD_CACHE``, ``$XDG_CACHE_HOME/regard`` or ``~/.cache/regard``.

    Raises:
        UserError: it cannot be created.
    """
    try:
        path().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(error) from error
    return path()


def writable() -> bool:
    """Whether the folder can be written."""
    try:
        return os.access(folder(), os.W_OK)
    except UserError:
        return False


def exists(name: str) -> bool:
    """Whether the cache has a file ``name``."""
    return (path() / name).exists()


def name(kind: str, *parts: object) -> str:
    """The name of a file that is made from ``parts``; ``kind`` is one of `KINDS`.

    >>> name("tokens", "a", 3) == name("tokens", "a", 3) != name("tokens", "a", 4)
    True
    """
    assert kind in KINDS, kind
    digest = hashlib.blake2b(repr((_VERSION, *parts)).encode(), digest_size=16)
    return f"{kind}-{digest.hexdigest()}"


def entry(name: str, write: Callable[[IO[bytes]], object]) -> Path:
    """The file ``name`` of the cache; ``write`` makes its content if it does not exist.

    Of several processes, one writes and the others wait for it. The file is written under a temporary name, so that it
    is complete or does not exist. What a killed process has left is written again from its beginning.

    Raises:
        UserError: the folder cannot be written.

    >>> from unittest.mock import patch
    >>> with tempfile.TemporaryDirectory() as place, patch.dict(os.environ, REGARD_CACHE=place):
    ...     entry("example", lambda file: file.write(b"content")).read_bytes()
    b'content'
    """
    path = folder() / name
    temporary = path.with_name(f".{name}.tmp")
    while not path.exists():
        try:
            with temporary.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not is_named(file, temporary):
                    continue  # the process that held the lock has renamed or removed the file
                try:
                    file.truncate(0)
                    with _synced_early(file):
                        write(file)
                    file.flush()
                    os.fsync(file.fileno())
                    temporary.rename(path)
                except BaseException:  # KeyboardInterrupt and SystemExit too
                    temporary.unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise unusable(error) from error
    return path


@contextmanager
def _synced_early(file: IO[bytes]) -> Iterator[None]:
    """A context in which the disk receives what is written to ``file`` once a second, instead of all of it at the end.

    The other thread has its own descriptor, since a signal ends the context without waiting for the disk.
    """
    ended, descriptor = threading.Event(), os.dup(file.fileno())

    def sync() -> None:
        while not ended.wait(1.0):
            with suppress(OSError):  # the caller's own call reports it
                os.fsync(descriptor)
        os.close(descriptor)

    threading.Thread(target=sync, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def facts(name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The JSON object in the file ``name`` of the cache, which ``compute`` makes if the file does not exist.

    >>> from unittest.mock import patch
    >>> with tempfile.TemporaryDirectory() as place, patch.dict(os.environ, REGARD_CACHE=place):
    ...     [facts("sizes", lambda: {"bytes": size}) for size in (1, 2)]
    [{'bytes': 1}, {'bytes': 1}]
    """
    path = entry(name, lambda file: file.write(json.dumps(compute()).encode()))
    result: dict[str, Any] = json.loads(path.read_bytes())
    return result


def finish(file: IO[bytes], arrays: dict[str, np.ndarray], notes: dict[str, Any]) -> None:
    """End a file whose first part is data of any length: ``arrays`` and ``notes`` follow, and then an index of them."""
    places = {}
    for name, array in arrays.items():
        file.write(bytes(-file.tell() % 8))
        places[name] = {"at": file.tell(), "dtype": array.dtype.str, "count": len(array)}
        file.write(np.ascontiguousarray(array).data)
    index = json.dumps({"arrays": places, "notes": notes}).encode()
    file.write(index + struct.pack("<q", len(index)) + _MAGIC)


def load(file: IO[bytes]) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]:
    """A file that ends as `finish` writes: its bytes, mapped into memory; its arrays, mapped too; and its notes."""
    content = np.memmap(file, dtype=np.uint8, mode="r").view(np.ndarray)  # type: ignore[call-overload]
    end = len(content) - len(_MAGIC)
    (size,) = struct.unpack("<q", content[end - 8 : end].tobytes())
    index = json.loads(content[end - 8 - size : end - 8].tobytes())
    arrays = {}
    for name, place in index["arrays"].items():
        dtype = np.dtype(place["dtype"])
        arrays[name] = content[place["at"] : place["at"] + place["count"] * dtype.itemsize].view(dtype)
    return content, arrays, index["notes"]


def is_named(file: IO[bytes], path: Path) -> bool:
    """Whether ``path`` is still the name of the open ``file``."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
