"""Writing an image, a page or a text file whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from regard.errors import UserError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """``write`` makes a file under a temporary name, which then becomes ``path``.

    A regular file is replaced by renaming and keeps its permissions; a symbolic link stays, and the file that it leads
    to is replaced; a pipe or a device stays, and the content is written into it.

    Raises:
        UserError: the folder is missing, or the file cannot be written.
    """
    try:
        if _is_stream(path):
            with tempfile.TemporaryDirectory() as folder:
                fresh = Path(folder) / f"content{path.suffix}"
                write(fresh)
                with fresh.open("rb") as content, path.open("ab") as stream:
                    shutil.copyfileobj(content, stream)
        else:
            _replace(Path(os.path.realpath(path)), path.suffix, write)
    except BrokenPipeError:
        raise  # the reader has gone: no error of the file's
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def _replace(path: Path, suffix: str, write: Callable[[Path], object]) -> None:
    """``suffix`` is that of the name given: matplotlib chooses the format by it, and a link may lead to another."""
    fresh = path.with_name(f".{path.stem}.{os.getpid()}{suffix}")
    try:
        write(fresh)
        if path.exists():
            shutil.copymode(path, fresh)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    """Whether ``path`` is a pipe, a device, or a name of an open file such as ``/dev/stdout``."""
    return (path.exists() and not path.is_file()) or os.path.abspath(path).startswith(("/dev/", "/proc/"))
