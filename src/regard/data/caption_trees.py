"""Images of a folder, an archive or shards, each with captions in a file beside it, and files found by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from regard.data.file_trees import BadItem, Entries, Entry, is_archive, open_tree, read_file
from regard.data.image_files import looks_like_image
from regard.data.lines import compose

_SHOWN = 3

NamedFile = tuple[str, str | bytes | BadItem]
"""The name of a file, and its place on the disk, its content, or why it cannot be read."""


class Beside(NamedTuple):
    """Images with captions beside them.

    Attributes:
        entries: the files among which the images are.
        texts: the captions of each image, by its path.
        bad: the images and the files of captions that cannot be used, and why.
        notes: which files were not looked into.
    """

    entries: Entries
    texts: dict[str, list[str]]
    bad: list[str]
    notes: tuple[str, ...]


def read_beside(place: Path) -> Beside:
    """Images of a folder, an archive or a folder of archives, and the lines of the ``.txt`` beside each.

    The text of ``0000.img.jpg`` is ``0000.img.txt``, or else ``0000.txt``: in webdataset, names of files that belong
    together are equal up to the first dot.
    """
    entries, notes = _opened(place)
    images, texts, bad = Counter[PurePosixPath](), dict[PurePosixPath, list[list[str]]](), list[str]()
    for entry in entries():
        if entry.read is None or any(part.startswith(".") or part == "__MACOSX" for part in entry.path.parts):
            continue
        try:
            if entry.path.suffix.lower() == ".txt":
                lines = entry.read(-1).decode("utf-8-sig").splitlines()
                own = dict.fromkeys(compose(line.strip()) for line in lines if line.strip())
                texts.setdefault(entry.path.with_suffix(""), []).append(list(own))
            elif looks_like_image(entry.path.name, entry.read):
                images[entry.path] += 1
        except (BadItem, UnicodeDecodeError) as error:
            bad.append(f"{entry.path}: {'not UTF-8' if isinstance(error, UnicodeDecodeError) else error}")
    usable = {}
    for image, count in images.items():
        captions = texts.get(image.with_suffix("")) or texts.get(image.with_name(image.name.split(".")[0])) or []
        if count > 1:  # which of them the captions describe is not known
            bad.append(f"{image}: {count} files have this name")
        elif len(captions) > 1:
            bad.append(f"{image}: {len(captions)} files have its captions")
        elif not captions or not captions[0]:
            bad.append(f"{image}: no caption in {image.with_suffix('.txt').name} beside it")
        else:
            usable[str(image)] = captions[0]
    return Beside(entries, usable, bad, notes)


def _opened(place: Path) -> tuple[Entries, tuple[str, ...]]:
    """The files of a folder or archive; of a folder of archives without an image, the files in these; and notes."""
    files = [] if place.is_file() else [file for file in sorted(place.iterdir()) if not file.name.startswith(".")]
    archives = [file for file in files if is_archive(file) and file.is_file()]
    others = [file for file in files if file not in archives]
    if not archives:
        return open_tree(place), ()
    if any(map(_may_have_images, others)):
        return open_tree(place), (f"left out archives beside the images: {_some(archives)}",)
    return lambda: _in_shards(archives), (f"left out files beside the archives: {_some(others)}",) if others else ()


def _may_have_images(file: Path) -> bool:
    try:
        return file.is_dir() or looks_like_image(file.name, partial(read_file, str(file)))
    except BadItem:
        return False


def _in_shards(archives: Iterable[Path]) -> Iterator[Entry]:
    """The files of archives. The name of its archive is a part of the path, since several may have the same names."""
    for archive in archives:
        for entry in open_tree(archive)():
            yield entry._replace(path=archive.name / entry.path)


def _some(files: list[Path]) -> str:
    return ", ".join(file.name for file in files[:_SHOWN]) + (", …" if len(files) > _SHOWN else "")


def named_files(entries: Entries, names: Iterable[str]) -> Iterator[NamedFile]:
    """The files of a folder or archive with these names.

    Args:
        entries: from `regard.data.file_trees.open_tree`.
        names: paths, or the ends of paths. A path that is equal comes before one that ends so, and of a file in
            another folder, its own name is enough if no other name ends like it. Several such files are none.

    Returns:
        Each name with its file; first those that are found, in the order of the files.
    """
    ends: dict[str, dict[str, None]] = {}
    for name in names:
        ends.setdefault(PurePosixPath(name).name, {})[name] = None
    paths: dict[str, list[PurePosixPath]] = {}
    for entry in entries():
        if entry.read is not None and entry.path.name in ends and entry.path not in paths.get(entry.path.name, ()):
            paths.setdefault(entry.path.name, []).append(entry.path)
    chosen: dict[str, list[str]] = {}
    missing = []
    for last, alike in ends.items():
        for name in alike:
            fitting = _fitting(PurePosixPath(name), paths.get(last, []), alone=len(alike) == 1)
            if len(fitting) == 1:
                chosen.setdefault(str(fitting[0]), []).append(name)
            else:
                several = f"several files could be it: {', '.join(map(str, fitting[:_SHOWN]))}"
                missing.append((name, BadItem(several if fitting else "no such file")))
    yield from files_at(entries, chosen)
    yield from missing


def _fitting(name: PurePosixPath, paths: list[PurePosixPath], *, alone: bool) -> list[PurePosixPath]:
    if name in paths:
        return [name]
    ending = [path for path in paths if f"/{path}".endswith(f"/{name}")]
    return ending or (paths if alone else [])


def files_at(entries: Entries, names: Mapping[str, Iterable[str]]) -> Iterator[NamedFile]:
    """The files at some paths, under the names that each path has in ``names``; of equal paths, the first."""
    left = dict(names)
    for entry in entries():
        own = left.pop(str(entry.path), ())
        for name in own:
            assert entry.read is not None
            try:
                yield name, entry.file or entry.read(-1)
            except BadItem as error:
                yield name, error
