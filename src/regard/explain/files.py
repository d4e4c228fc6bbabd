"""Writing a picture or a page whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from regard.errors import UserError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """``write`` makes a file under a temporary name beside ``path``, which is then renamed.

    Raises:
        UserError: the folder is missing, or the file cannot be written.
    """
    fresh = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(fresh)
        os.replace(fresh, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        fresh.unlink(missing_ok=True)
