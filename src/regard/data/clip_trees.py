"""Clips in a tree of files: a file each, or a folder with a file for each frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from regard.data import packed
from regard.data.file_trees import BadItem, Entries, Entry
from regard.errors import UserError


def with_folders(entries: Entries, is_frame: Callable[[str, bytes], bool], head: int, origin: str) -> Entries:
    """Entries in which a folder with frames takes the place of its frames.

    Args:
        entries: from `regard.data.file_trees.open_tree`.
        is_frame: whether a file is a frame, from its name and its first ``head`` bytes.
        head: their number.
        origin: the name of the tree, for the error.

    Raises:
        UserError: while an archive is read: the frames of a folder are not one after the other.
    """
    return partial(_grouped, entries, is_frame, head, origin)


def _grouped(entries: Entries, is_frame: Callable[[str, bytes], bool], head: int, origin: str) -> Iterator[Entry]:
    seen, frames = set[PurePosixPath](), list[Entry]()
    for entry in entries():
        hidden = any(part.startswith(".") for part in entry.path.parts)
        if entry.read is None or hidden or not _frame(entry, is_frame, head):
            yield entry
            continue
        folder = entry.path.parent
        if frames and frames[0].path.parent != folder:
            yield _folder(frames)
            frames = []
        if not frames and folder in seen and entry.file is None:
            raise UserError(
                f"{origin}: the frames of {folder} are not one after the other in the archive; unpack it and name the "
                "folder"
            )
        if entry.file is None:  # when the folder is read later, the archive may be closed
            entry = entry._replace(read=partial(_part, entry.read(-1)))
        if folder not in seen or entry.file is None:
            frames.append(entry)
        seen.add(folder)
    if frames:
        yield _folder(frames)


def _frame(entry: Entry, is_frame: Callable[[str, bytes], bool], head: int) -> bool:
    assert entry.read is not None
    try:
        return is_frame(entry.path.name, entry.read(head))
    except BadItem:
        return False


def _folder(frames: list[Entry]) -> Entry:
    """The folder of these frames; of a folder on the disk, the first frame is enough."""
    folder, file = frames[0].path.parent, frames[0].file
    if file is not None:
        return Entry(folder, partial(_part, packed.HEAD), str(Path(file).parent))
    content = packed.pack((one.path.name, one.read(-1)) for one in frames if one.read is not None)
    return Entry(folder, partial(_part, content))


def _part(content: bytes, count: int) -> bytes:
    return content if count < 0 else content[:count]
