"""Writing a file completely or not at all, through links, pipes and devices."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from regard.errors import UserError

_MAX_LINKS = 40
"""The longest chain of symbolic links that Linux follows."""


def write_whole(path: Path, write: Callable[[Path], object]) -> int:
    """Write a file: ``write`` creates it under a temporary name, and only the complete file becomes ``path``.

    A regular file is replaced by renaming and keeps its permissions. A symbolic link is kept, and its target is
    replaced. A pipe or a device is kept, and the content is written into it. To a file that a process has open,
    such as ``/dev/stdout``, the content is appended.

    Returns:
        The size of the content in bytes.

    Raises:
        UserError: the folder is missing, or the file cannot be written.

    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> write_whole(path, lambda temporary: temporary.write_text("content"))
    7
    >>> path.read_text()
    'content'
    """
    try:
        if is_stream(path):
            with tempfile.TemporaryDirectory() as folder:
                temporary = Path(folder) / f"content{path.suffix}"
                write(temporary)
                with temporary.open("rb") as content, path.open("ab") as stream:
                    shutil.copyfileobj(content, stream)
                return temporary.stat().st_size
        return _replace(Path(os.path.realpath(path)), path.suffix, write)
    except BrokenPipeError:
        raise  # the reader of a pipe has closed it, which is not an error of the file
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_text(path: Path, text: str) -> None:
    """Write ``text`` in UTF-8, as `write_whole` writes. Raises UserError: see there."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def is_stream(path: Path) -> bool:
    """Whether ``path`` is a pipe, a device, or the name of a file that a process has open, such as ``/dev/stdout``.

    It is written into, because its reader would not see another file under its name.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        return True
    for _ in range(_MAX_LINKS):
        folder = os.path.realpath(path.parent)
        if re.fullmatch(r"/dev/fd|/proc/[^/]+(/task/[^/]+)?/fd", folder):
            return True
        if not path.is_symlink():
            return False
        path = Path(folder) / path.readlink()
    return False


def flush(path: Path) -> None:
    """Make sure that a file or a folder is on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace(path: Path, suffix: str, write: Callable[[Path], object]) -> int:
    """Write ``path``, in which links are resolved, by renaming.

    ``suffix`` is that of the given name: matplotlib chooses the format by it, and that of a link's target may differ.
    """
    if path.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.is_symlink():  # a cycle of links is not resolved
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    # Not made from the full name, which may already have the greatest allowed length.
    temporary = path.with_name(f".{path.stem[:20]}.{secrets.token_hex(6)}{suffix}")
    try:
        write(temporary)
        flush(temporary)
        if path.exists():
            shutil.copymode(path, temporary)
        size = temporary.stat().st_size
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return size


def is_page(path: str | Path) -> bool:
    """Whether the name of a file is that of a page."""
    return Path(path).suffix.lower() in (".html", ".htm")
