"""The files of a folder, a tar or a zip archive: their paths, and functions that read them."""

from __future__ import annotations

import lzma
import os
import posixpath
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from regard.errors import UserError

_TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
_BROKEN_TAR = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)


class BadItem(Exception):
    """A file or a record is not an example that can be used; the message is the reason."""


class Entry(NamedTuple):
    """A file in a tree, and a function that reads its first bytes (-1: all); None for a folder.

    ``file`` is the place of the file on the disk; None in an archive.
    """

    path: PurePosixPath
    read: Callable[[int], bytes] | None
    file: str | None = None


Entries = Callable[[], Iterator[Entry]]


def is_archive(path: Path) -> bool:
    """Whether a file is a tar or zip archive by its name."""
    return path.name.lower().endswith((*_TARS, ".zip"))


def open_tree(path: Path) -> Entries:
    """The files of a folder or an archive; each call of the result iterates over them."""
    reader = _folder if path.is_dir() else _zip if path.suffix.lower() == ".zip" else _tar
    return partial(reader, path)


def _folder(root: Path) -> Iterator[Entry]:
    """Files in and below a folder, following links."""

    def below(folder: str, place: PurePosixPath, above: tuple[str, ...]) -> Iterator[Entry]:
        try:
            with os.scandir(folder) as scanned:
                members = sorted(scanned, key=lambda member: member.name)
        except OSError as error:
            raise UserError(f"{folder}: cannot be read ({error.strerror})") from error
        for member in members:
            if not member.is_dir():
                yield Entry(place / member.name, partial(read_file, member.path), member.path)
                continue
            yield Entry(place / member.name, None)
            real = os.path.realpath(member.path)
            if real not in above and not member.name.startswith("."):
                yield from below(member.path, place / member.name, (*above, real))

    yield from below(str(root), PurePosixPath(), (os.path.realpath(root),))


def find_file(folder: Path, name: str, exists: Callable[[Path], bool] = os.path.isfile) -> Path | None:
    """The file that a list in a folder names; None: there is none, or there cannot be one with such a name.

    The name is tried as it is written, then composed and decomposed, since some systems change the form of Unicode in
    which they store names. ``exists`` may be ``os.path.exists``, for which a folder is a file, too. Neither of the two
    raises an exception for a name that is too long, as the methods of `Path` do.
    """
    names = (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))
    return next((path for path in (folder / one for one in dict.fromkeys(names)) if exists(path)), None)


def read_file(path: str, count: int = -1) -> bytes:
    """The first ``count`` bytes of a file (-1: all). Raises BadItem: it cannot be read."""
    with open_file(path) as file:
        return file.read(count)


@contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """A file on the disk. Raises BadItem: it cannot be opened, or, in the block, read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would wait for a writer
            raise BadItem("not a regular file")
        with open(path, "rb", buffering=0) as file:
            yield file
    except FileNotFoundError as error:
        reason = "a link to a file that does not exist" if os.path.islink(path) else "no such file any more"
        raise BadItem(reason) from error
    except OSError as error:
        raise BadItem(error.strerror or str(error)) from error


class _Member(tarfile.TarInfo):
    """A member of an archive that has an end: at least one block of zeros.

    `tarfile` takes the end of the file, a part of a header and a damaged one for the end of the archive.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        """See `tarfile.TarInfo`. Raises ReadError: there is neither a header nor a block of zeros."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) < tarfile.BLOCKSIZE:
                raise tarfile.ReadError("its end is missing") from error
            if any(buf):
                raise tarfile.ReadError(f"damaged: {error}") from error
            raise


def _tar(path: Path) -> Iterator[Entry]:
    try:
        with tarfile.open(path, tarinfo=_Member) as archive:
            for member in archive:
                place = _path(member.name)
                if place.parts:
                    yield Entry(place, None if member.isdir() else partial(_read_tar, archive, member))
    except _BROKEN_TAR as error:
        raise UserError(f"{path}: not readable as a tar archive ({error})") from error


def _read_tar(archive: tarfile.TarFile, member: tarfile.TarInfo, count: int) -> bytes:
    try:
        file = archive.extractfile(member)
    except KeyError as error:
        raise BadItem(f"a link to {member.linkname}, which is not in the archive") from error
    if file is None:
        raise BadItem(f"a link to the folder {member.linkname}" if member.issym() else "not a regular file")
    try:
        return file.read(count)
    except _BROKEN_TAR as error:  # the archive, not only this file
        raise UserError(f"{archive.name!s}: not readable as a tar archive ({error})") from error


def _zip(path: Path) -> Iterator[Entry]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in sorted(archive.infolist(), key=lambda member: member.filename):
                place = _path(member.filename)
                if place.parts:
                    yield Entry(place, None if member.is_dir() else partial(_read_zip, archive, member))
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path}: not readable as a zip archive ({error})") from error


def _read_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo, count: int) -> bytes:
    try:
        if stat.S_ISLNK(member.external_attr >> 16):
            target = posixpath.normpath(
                posixpath.join(posixpath.dirname(member.filename), archive.read(member).decode())
            )
            if target not in archive.namelist():
                raise BadItem(f"a link to {target}, which is not a file in the archive")
            member = archive.getinfo(target)
        with archive.open(member) as file:
            return file.read(count)
    except (zipfile.BadZipFile, RuntimeError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError) as error:
        raise BadItem(f"cannot be read from the archive: {error}") from error  # RuntimeError: it needs a password


def _path(name: str) -> PurePosixPath:
    """The path of a member of an archive; some Windows programs write backslashes."""
    return PurePosixPath(name.replace("\\", "/").lstrip("/"))
