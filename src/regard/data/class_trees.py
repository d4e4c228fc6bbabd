"""Labelled examples in a tree of files: which files are examples, and which folders are classes."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from regard.data.file_trees import BadItem, Entries
from regard.data.packed import read_whole
from regard.errors import UserError

_SYSTEM = frozenset(("__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir", "$RECYCLE.BIN", "System Volume Information"))
_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Folder name → the part of a data set that it has."""
_SHOWN = 3


class Kind(NamedTuple):
    """The kind of files that are examples: one in a word, and whether a file is one.

    ``examine`` gets the name of a file and its first ``head`` bytes. It returns True for an example and False for
    another file. Raises BadItem: it is an example that cannot be used.
    """

    unit: str
    head: int
    examine: Callable[[str, bytes], bool]


class Item(NamedTuple):
    """One example: its origin, its class, and its content.

    The content is the bytes of the file, its pixels, the path of a file that is not read yet (another process can read
    it), a function that reads it there, or why it cannot be read. A path can also be that of a folder, whose files are
    packed.
    """

    origin: str
    label: str
    content: bytes | np.ndarray | str | BadItem | Callable[[], bytes]

    def load(self) -> bytes | np.ndarray:
        """The bytes of the file, or its pixels. Raises BadItem: it cannot be read."""
        if isinstance(self.content, BadItem):
            raise self.content
        if isinstance(self.content, bytes | np.ndarray):
            return self.content
        return read_whole(self.content) if isinstance(self.content, str) else self.content()

    @property
    def nbytes(self) -> int:
        """The bytes of the content that are in memory."""
        if isinstance(self.content, np.ndarray):
            return self.content.nbytes
        return len(self.content) if isinstance(self.content, bytes | str) else 0


@dataclass(frozen=True)
class Source:
    """Labelled examples.

    Attributes:
        items: the examples, those that are known to be bad first.
        notes: how the data were interpreted, and what was left out and why.
        parts: which of ``"train"``, ``"valid"`` and ``"test"`` the data are divided into; empty: they are not.
    """

    items: Iterator[Item]
    notes: tuple[str, ...] = ()
    parts: frozenset[str] = frozenset()


def read_tree(entries: Entries, origin: str, kind: Kind, *, part: str | None, keep_empty: bool) -> Source:
    """The examples of a tree with one folder for each class.

    Folders that contain all examples are skipped. Below them are the folders of the classes, or folders such as
    ``train`` and ``val`` with the folders of the classes.

    Args:
        entries: from `regard.data.file_trees.open_tree`.
        origin: the name of the tree, for messages.
        kind: of the examples.
        part: the folder to read of a tree with ``train`` and ``val`` or ``test``: ``"train"`` or ``"valid"``.
        keep_empty: leave out folders without an example, with a note, instead of refusing them.

    Raises:
        UserError: it is unclear which folders are the classes, a class is empty, or an archive cannot be read.
    """
    survey = _survey(entries, kind)
    if not survey.examples:
        return Source(iter(_bad(survey.bad, origin)), survey.notes(()))
    top, notes = survey.shared(), survey.notes(())
    parts = _parts(survey.below(top), len(top), origin, kind.unit)
    if parts:
        name = _chosen(parts, part, origin)
        top = (*top, name)
        notes = (f"using the folder {name} (of {', '.join(parts.values())})", *survey.notes(top))
    examples, depth = survey.below(top), len(top)
    _check_classes(examples, depth, origin, kind.unit)
    bad = {path: reason for path, reason in survey.bad.items() if path.parts[:depth] == top}
    empty = sorted(survey.folders_in(top) - {path.parts[depth] for path in examples})
    if empty and not keep_empty and not bad:
        raise UserError(
            f"{origin}: classes without {kind.unit}s: {_some(empty)}; add {kind.unit}s or remove the folders, "
            "or leave them out with --data.on-bad skip"
        )
    if empty:
        notes = (*notes, f"left out folders without {kind.unit}s: {_some(empty)}")
    labels = {path: unicodedata.normalize("NFC", path.parts[depth]) for path in examples}
    return Source(_items(entries, origin, labels, bad), notes, frozenset(parts))


def _items(
    entries: Entries, origin: str, labels: dict[PurePosixPath, str], bad: dict[PurePosixPath, BadItem]
) -> Iterator[Item]:
    yield from _bad(bad, origin)
    for entry in entries():
        if entry.read is not None and entry.path in labels:
            content: bytes | str | BadItem
            try:
                content = entry.file or entry.read(-1)
            except BadItem as error:
                content = error
            yield Item(f"{origin}/{entry.path}", labels[entry.path], content)


def _bad(bad: dict[PurePosixPath, BadItem], origin: str) -> Iterator[Item]:
    for path, reason in bad.items():
        yield Item(f"{origin}/{path}", "", reason)


@dataclass
class _Survey:
    """The contents of a tree, by the first bytes of each file."""

    kind: Kind
    examples: list[PurePosixPath] = field(default_factory=list)
    folders: set[PurePosixPath] = field(default_factory=set)
    bad: dict[PurePosixPath, BadItem] = field(default_factory=dict)
    hidden: dict[PurePosixPath, None] = field(default_factory=dict)
    others: list[PurePosixPath] = field(default_factory=list)

    def shared(self) -> tuple[str, ...]:
        """The path of folders that contains all examples, without the folder of a class."""
        dirs = [path.parts[:-1] for path in self.examples]
        depth = 0
        while all(len(parts) > depth + 1 for parts in dirs) and len(self.folders_in(dirs[0][:depth])) == 1:
            depth += 1
        return dirs[0][:depth]

    def folders_in(self, top: tuple[str, ...]) -> set[str]:
        """The names of the folders directly in ``top``."""
        depth = len(top)
        return {path.parts[depth] for path in self.folders if len(path.parts) > depth and path.parts[:depth] == top}

    def below(self, top: tuple[str, ...]) -> list[PurePosixPath]:
        """The examples below ``top``."""
        return [path for path in self.examples if path.parts[: len(top)] == top]

    def notes(self, top: tuple[str, ...]) -> tuple[str, ...]:
        """Notes on the files below ``top`` that are left out."""
        article = f"a{'n' if self.kind.unit[0] in 'aeiou' else ''} {self.kind.unit}"
        counted = (
            (self.hidden, "hidden or system file or folder", "hidden or system files or folders"),
            (self.others, f"file that is not {article}", f"files that are not {self.kind.unit}s"),
        )
        notes = []
        for paths, one, several in counted:
            names = [str(path) for path in paths if path.parts[: len(top)] == top]
            if names:
                notes.append(f"left out {len(names):,} {one if len(names) == 1 else several}: {_some(names)}")
        return tuple(notes)


def _survey(entries: Entries, kind: Kind) -> _Survey:
    survey = _Survey(kind)
    for entry in entries():
        parts = entry.path.parts
        hidden = next((at for at, name in enumerate(parts) if name.startswith(".") or name in _SYSTEM), None)
        if hidden is not None:
            survey.hidden[PurePosixPath(*parts[: hidden + 1])] = None
            continue
        if entry.path.parent not in survey.folders:
            survey.folders.update(list(entry.path.parents)[:-1])
        if entry.read is None:
            survey.folders.add(entry.path)
            continue
        try:
            example = kind.examine(entry.path.name, entry.read(kind.head))
        except BadItem as error:
            survey.bad[entry.path] = error
        else:
            (survey.examples if example else survey.others).append(entry.path)
    return survey


def _parts(examples: Sequence[PurePosixPath], depth: int, origin: str, unit: str) -> dict[str, str]:
    """The folder of each part, if the data are divided into folders such as train; otherwise empty."""
    names = sorted({path.parts[depth] for path in examples})
    if any(len(path.parts) == depth + 1 for path in examples) or not all(name.lower() in _PARTS for name in names):
        return {}
    if all(len(path.parts) == depth + 2 for path in examples):
        if len(names) == 1:
            return {}
        raise UserError(
            f"{origin}: the folders {_some(names)} hold {unit}s, but no folders of classes; "
            f"expected such as {names[0]}/CLASS/{examples[0].name}"
        )
    parts: dict[str, str] = {}
    for name in names:
        other = parts.setdefault(_PARTS[name.lower()], name)
        if other != name:
            raise UserError(f"{origin}: both {other} and {name} could be the same part of the data; rename one of them")
    return parts


def _chosen(parts: dict[str, str], part: str | None, origin: str) -> str:
    """The folder of the requested part."""
    divided = f"{origin}: is divided into {', '.join(parts.values())}"
    if part is None:
        example = next(parts[name] for name in ("test", "valid", "train") if name in parts)
        unpacked = "unpack it, and " if Path(origin).is_file() else ""
        raise UserError(f"{divided}; {unpacked}name one of them, such as {origin}/{example}")
    if part not in parts:
        purpose = {"train": "training", "valid": "validation"}[part]
        raise UserError(f"{divided}, none of which is for {purpose}; name the folder with --data.{part}")
    return parts[part]


def _check_classes(examples: Sequence[PurePosixPath], depth: int, origin: str, unit: str) -> None:
    """Check that each example is directly in the folder of its class. Raises UserError: one is not."""
    for path in examples:
        below = path.parts[depth:]
        if len(below) == 1:
            raise UserError(f"{origin}/{path}: is not in the folder of a class; expected {origin}/CLASS/{path.name}")
        if any("\ud800" <= letter <= "\udfff" for letter in below[0]):  # a byte that is not UTF-8
            raise UserError(f"{origin}: the name of the folder {below[0]!r} is not UTF-8; rename it")
        if len(below) > 2:
            raise UserError(
                f"{origin}: the class of {path} could be {below[0]!r} or {below[-2]!r}; move the {unit}s of each "
                "class into one folder, without folders in it"
            )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
