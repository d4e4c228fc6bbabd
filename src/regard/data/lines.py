"""Lines of a text file, plain or compressed, of which one that is not UTF-8 does not end the file."""

from __future__ import annotations

import difflib
import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from regard.errors import UserError

_OPENERS: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}


def bare_suffix(path: Path) -> str:
    """The ending that tells the format, in lower case, without ``.gz`` or ``.xz``: ``.tsv`` of ``a.TSV.gz``."""
    return Path(path.stem if path.suffix.lower() in _OPENERS else path.name).suffix.lower()


def check_file(path: Path) -> None:
    """Raises UserError: there is no such file (the nearest name there is told), or it is a folder or empty."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it")
    if not path.exists():
        names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, names, 1)
        told = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise UserError(f"{path}: no such file{told}")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")


def read_lines(path: Path) -> Iterator[str | None]:
    """Each line without its end (LF or CRLF), None where it is not UTF-8.

    A byte-order mark at the start is dropped. Only LF ends a line: Unicode's other line separators are text.

    Raises:
        UserError: the file cannot be read to its end.
    """
    check_file(path)
    try:
        with _OPENERS.get(path.suffix.lower(), open)(path, "rb") as file:
            yield from _decoded(file)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read to its end ({getattr(error, 'strerror', None) or error})") from error


def _decoded(file: IO[bytes]) -> Iterator[str | None]:
    for number, line in enumerate(file):
        if number == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError:
            yield None
