"""The files of a folder as one, so that a folder can be an example: an archive without compression."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from regard.data.file_trees import BadItem, read_file

HEAD = b"\0folder\n"
"""The first bytes of packed files, before the archive."""

_DATE = (1980, 1, 1, 0, 0, 0)


def pack(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Files, each with its name; the same ones give the same bytes.

    >>> [name for name, _ in unpack(pack([("b 10", b""), ("b 9", b"")]))]
    ['b 9', 'b 10']
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in sorted(files, key=lambda file: natural(file[0])):
            archive.writestr(zipfile.ZipInfo(name, _DATE), content)
    return HEAD + out.getvalue()


def unpack(content: bytes) -> list[tuple[str, bytes]]:
    """The files of `pack`, in the order of their names."""
    with zipfile.ZipFile(io.BytesIO(content[len(HEAD) :])) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def read_whole(path: str) -> bytes:
    """The content of a file, or the files directly in a folder, packed. Raises BadItem: it cannot be read."""
    if not os.path.isdir(path):
        return read_file(path)
    try:
        names = [one.name for one in os.scandir(path) if one.is_file() and not one.name.startswith(".")]
    except OSError as error:
        raise BadItem(error.strerror or str(error)) from error
    if not names:
        raise BadItem("a folder without files")
    return pack((name, read_file(str(Path(path) / name))) for name in names)


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key for names, in which numbers are sorted by value: frame 9 comes before frame 10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]
