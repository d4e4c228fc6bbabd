"""Labelled images in a folder, a tar or a zip archive: which files are images, and which folders are classes."""

from __future__ import annotations

import lzma
import posixpath
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from regard.data.image_files import HEAD, BadImage, image_format, why_not
from regard.errors import UserError

TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
_SYSTEM = frozenset(("__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir", "$RECYCLE.BIN", "System Volume Information"))
_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of folders that hold a part of a data set."""
_BROKEN_TAR = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)
_SHOWN = 3


class Item(NamedTuple):
    """One image: where it is from, its class, and the file's bytes, its pixels, or why it cannot be read."""

    origin: str
    label: str
    content: bytes | np.ndarray | BadImage


@dataclass(frozen=True)
class Source:
    """Labelled images.

    Attributes:
        items: the images; those that are known to be bad come first.
        notes: what was taken for what, and what was left out and why, a sentence each.
        parts: which of ``"train"``, ``"valid"`` and ``"test"`` there are besides; empty: it is not divided.
    """

    items: Iterator[Item]
    notes: tuple[str, ...] = ()
    parts: frozenset[str] = frozenset()


class Entry(NamedTuple):
    """A file in a tree, and how to read its first bytes (-1: all of them); a folder cannot be read."""

    path: PurePosixPath
    read: Callable[[int], bytes] | None


Entries = Callable[[], Iterator[Entry]]


def open_tree(path: Path) -> Entries:
    """The files of a folder or of an archive; a call of the result goes through them once."""
    reader = _folder if path.is_dir() else _zip if path.suffix.lower() == ".zip" else _tar
    return partial(reader, path)


def read_tree(entries: Entries, origin: str, *, part: str | None, keep_empty: bool) -> Source:
    """The images of a tree, each class in a folder of its own.

    Folders that all images share are passed over. Below them lie the folders of the classes, or folders such as
    ``train`` and ``val`` with those of the classes.

    Args:
        entries: from `open_tree`.
        origin: the name of the tree, for messages.
        part: of a tree with the folders ``train`` and ``val`` or ``test``, the one to read: ``"train"`` or ``"valid"``.
        keep_empty: a class without an image is only told, not refused.

    Raises:
        UserError: which folders are the classes cannot be told, a class is empty, or an archive cannot be read.
    """
    survey = _survey(entries)
    if not survey.images:
        return Source(iter(_bad(survey.bad, origin)), survey.notes(()))
    top, notes = survey.shared(), survey.notes(())
    parts = _parts(survey.below(top), len(top), origin)
    if parts:
        name = _chosen(parts, part, origin)
        top = (*top, name)
        notes = (f"took the folder {name} of {', '.join(parts.values())}", *survey.notes(top))
    images, deep = survey.below(top), len(top)
    _check_classes(images, deep, origin)
    bad = {path: reason for path, reason in survey.bad.items() if path.parts[:deep] == top}
    empty = sorted(survey.folders_in(top) - {path.parts[deep] for path in images})
    if empty and not keep_empty and not bad:
        raise UserError(
            f"{origin}: the folder of a class without an image: {_some(empty)}; add images or remove it, "
            "or leave such folders out with --data.on-bad skip"
        )
    if empty:
        notes = (*notes, f"left out folders without an image: {_some(empty)}")
    labels = {path: unicodedata.normalize("NFC", path.parts[deep]) for path in images}
    return Source(_items(entries, origin, labels, bad), notes, frozenset(parts))


def _items(
    entries: Entries, origin: str, labels: dict[PurePosixPath, str], bad: dict[PurePosixPath, BadImage]
) -> Iterator[Item]:
    yield from _bad(bad, origin)
    for entry in entries():
        if entry.read is not None and entry.path in labels:
            content: bytes | BadImage
            try:
                content = entry.read(-1)
            except BadImage as error:
                content = error
            yield Item(f"{origin}/{entry.path}", labels[entry.path], content)


def _bad(bad: dict[PurePosixPath, BadImage], origin: str) -> Iterator[Item]:
    for path, reason in bad.items():
        yield Item(f"{origin}/{path}", "", reason)


@dataclass
class _Survey:
    """What is in a tree, by the first bytes of each file."""

    images: list[PurePosixPath] = field(default_factory=list)
    folders: set[PurePosixPath] = field(default_factory=set)
    bad: dict[PurePosixPath, BadImage] = field(default_factory=dict)
    hidden: dict[PurePosixPath, None] = field(default_factory=dict)
    others: list[PurePosixPath] = field(default_factory=list)

    def shared(self) -> tuple[str, ...]:
        """The folders that all images share, without the folder of the class."""
        dirs = [path.parts[:-1] for path in self.images]
        depth = 0
        while all(len(parts) > depth + 1 for parts in dirs) and len(self.folders_in(dirs[0][:depth])) == 1:
            depth += 1
        return dirs[0][:depth]

    def folders_in(self, top: tuple[str, ...]) -> set[str]:
        """The names of the folders in ``top``."""
        deep = len(top)
        return {path.parts[deep] for path in self.folders if len(path.parts) > deep and path.parts[:deep] == top}

    def below(self, top: tuple[str, ...]) -> list[PurePosixPath]:
        """The images in ``top``."""
        return [path for path in self.images if path.parts[: len(top)] == top]

    def notes(self, top: tuple[str, ...]) -> tuple[str, ...]:
        """What is left out in ``top``."""
        counted = (
            (self.hidden, "hidden or system file or folder", "hidden or system files or folders"),
            (self.others, "file that is no image", "files that are no images"),
        )
        notes = []
        for paths, one, several in counted:
            names = [str(path) for path in paths if path.parts[: len(top)] == top]
            if names:
                notes.append(f"left out {len(names):,} {one if len(names) == 1 else several}: {_some(names)}")
        return tuple(notes)


def _survey(entries: Entries) -> _Survey:
    survey = _Survey()
    for entry in entries():
        parts = entry.path.parts
        hidden = next((at for at, name in enumerate(parts) if name.startswith(".") or name in _SYSTEM), None)
        if hidden is not None:
            survey.hidden[PurePosixPath(*parts[: hidden + 1])] = None
            continue
        survey.folders.update(list(entry.path.parents)[:-1])
        if entry.read is None:
            survey.folders.add(entry.path)
            continue
        try:
            head = entry.read(HEAD)
        except BadImage as error:
            survey.bad[entry.path] = error
            continue
        if image_format(head) is not None:
            survey.images.append(entry.path)
        elif (reason := why_not(entry.path.name, head)) is not None:
            survey.bad[entry.path] = BadImage(reason)
        else:
            survey.others.append(entry.path)
    return survey


def _parts(images: Sequence[PurePosixPath], deep: int, origin: str) -> dict[str, str]:
    """The folder of each part of a data set that is divided so, by names such as train; empty: it is not divided."""
    names = sorted({path.parts[deep] for path in images})
    if any(len(path.parts) == deep + 1 for path in images) or not all(name.lower() in _PARTS for name in names):
        return {}
    if all(len(path.parts) == deep + 2 for path in images):
        if len(names) == 1:
            return {}
        raise UserError(
            f"{origin}: the folders {_some(names)} hold images, but no folders of classes; "
            f"expected such as {names[0]}/CLASS/{images[0].name}"
        )
    parts: dict[str, str] = {}
    for name in names:
        other = parts.setdefault(_PARTS[name.lower()], name)
        if other != name:
            raise UserError(f"{origin}: both {other} and {name} could be the same part of the data; rename one of them")
    return parts


def _chosen(parts: dict[str, str], part: str | None, origin: str) -> str:
    """The folder of the part that is wanted."""
    told = f"{origin}: is divided into {', '.join(parts.values())}"
    if part is None:
        example = next(parts[name] for name in ("test", "valid", "train") if name in parts)
        unpacked = "unpack it, and " if Path(origin).is_file() else ""
        raise UserError(f"{told}; {unpacked}name one of them, such as {origin}/{example}")
    if part not in parts:
        flag = "train" if part == "train" else "valid"
        raise UserError(f"{told}, none of which is for {part}ation; name its folder with --data.{flag}")
    return parts[part]


def _check_classes(images: Sequence[PurePosixPath], deep: int, origin: str) -> None:
    """Make sure that each image lies in the folder of its class. Raises UserError: it does not."""
    for path in images:
        below = path.parts[deep:]
        if len(below) == 1:
            raise UserError(f"{origin}/{path}: lies in no folder of a class; expected {origin}/CLASS/{path.name}")
        if any("\ud800" <= letter <= "\udfff" for letter in below[0]):  # stands for a byte that is not UTF-8
            raise UserError(f"{origin}: the name of the folder {below[0]!r} is not UTF-8; rename it")
        if len(below) > 2:
            raise UserError(
                f"{origin}: the class of {path} could be {below[0]!r} or {below[-2]!r}; move the images of each class "
                "into one folder, without folders in it"
            )


def _folder(root: Path) -> Iterator[Entry]:
    """Files in and below a folder, links followed."""

    def walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Entry]:
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            raise UserError(f"{folder}: cannot be read ({error.strerror})") from error
        for path in paths:
            place = PurePosixPath(path.relative_to(root).as_posix())
            if not path.is_dir():
                yield Entry(place, partial(_read_file, path))
                continue
            yield Entry(place, None)
            real = path.resolve()
            if real not in above and not path.name.startswith("."):
                yield from walk(path, (*above, real))

    yield from walk(root, (root.resolve(),))


def _read_file(path: Path, count: int) -> bytes:
    if not path.is_file():
        raise BadImage("a link to a file that does not exist" if path.is_symlink() else "not a regular file")
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise BadImage(error.strerror or str(error)) from error


def _tar(path: Path) -> Iterator[Entry]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                place = _place(member.name)
                if place.parts:
                    yield Entry(place, None if member.isdir() else partial(_read_tar, archive, member))
    except _BROKEN_TAR as error:
        raise UserError(f"{path}: not readable as a tar archive ({error})") from error


def _read_tar(archive: tarfile.TarFile, member: tarfile.TarInfo, count: int) -> bytes:
    try:
        file = archive.extractfile(member)
    except KeyError as error:
        raise BadImage(f"a link to {member.linkname}, which is not in the archive") from error
    if file is None:
        raise BadImage(f"a link to the folder {member.linkname}" if member.issym() else "not a regular file")
    try:
        return file.read(count)
    except _BROKEN_TAR as error:  # not of this file alone
        raise UserError(f"{archive.name!s}: not readable as a tar archive ({error})") from error


def _zip(path: Path) -> Iterator[Entry]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in sorted(archive.infolist(), key=lambda member: member.filename):
                place = _place(member.filename)
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
                raise BadImage(f"a link to {target}, which is not a file in the archive")
            member = archive.getinfo(target)
        with archive.open(member) as file:
            return file.read(count)
    except (zipfile.BadZipFile, RuntimeError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError) as error:
        raise BadImage(f"cannot be read from the archive: {error}") from error  # RuntimeError: it needs a password


def _place(name: str) -> PurePosixPath:
    """Where a member of an archive lies; some programs of Windows write backslashes."""
    return PurePosixPath(name.replace("\\", "/").lstrip("/"))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
