"""Which images have which captions: tables, JSON of Karpathy and of COCO, Flickr8k's list, files beside images."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from regard.data.columns import Column, Layout
from regard.data.file_trees import BadItem, Entries, is_archive, open_tree
from regard.data.image_files import HEAD, image_format, why_not
from regard.data.lines import check_file, compose, read_lines
from regard.data.reading import Reading
from regard.errors import UserError

OnBad = Literal["error", "skip"]

_IMAGE = ("file", "filename", "file_name", "path", "filepath", "image_path", "image_name", "photo", "picture")
_CAPTION = ("text", "sentence", "description", "title", "alt")
_TOKEN = re.compile(r"(\S.*)#\d+\t(.*)")
_PARTS = {
    **dict.fromkeys(("train", "training", "restval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "valid"),
    "test": "test",
}
"""The value of a column ``split`` → the part of the data."""
_SHOWN = 3


@dataclass
class Captions:
    """The captions of images, by the names of the images.

    Attributes:
        texts: of each image, in Unicode's composed form (NFC); the same caption once.
        parts: the part of each image: ``"train"``, ``"valid"`` or ``"test"``; empty: the data are not divided.
        notes: what was left out and why.
        tree: the files among which the images are; None: the user's folder of images.
    """

    texts: dict[str, list[str]] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tree: Entries | None = None

    def add(self, image: str, text: str, part: str | None = None) -> None:
        """Add a caption. The first part that is given for an image counts."""
        known = self.texts.setdefault(image, [])
        if text not in known:
            known.append(text)
        if part is not None:
            self.parts.setdefault(image, part)


def read_captions(
    path: str, *, image_column: str | None = None, caption_column: str | None = None, on_bad: OnBad = "error"
) -> Captions:
    """Read the captions of images. The images themselves are not read.

    Args:
        path: a table with a column of image files and one of captions (`.tsv`, `.csv`, `.jsonl`, `.parquet`), a row per
            caption, and optionally a column ``split``; the JSON file of Karpathy's splits or of COCO's captions;
            Flickr8k's ``.token.txt``; a folder or archive of images, each with a ``.txt`` of the same name beside it,
            which has a caption per line; or a folder of tar archives of such pairs, as webdataset writes them.
        image_column: the column of the image; None: chosen by its name.
        caption_column: the column of the caption; None: likewise.
        on_bad: what to do with rows that cannot be used, and with images that have no caption.

    Raises:
        UserError: the format is unknown, or there is no caption; with ``on_bad="error"``, a row cannot be used.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w+", suffix=".tsv") as file:
    ...     print("image\\tcaption\\na.jpg\\ta dog\\na.jpg\\ta puppy", file=file, flush=True)
    ...     read_captions(file.name).texts
    {'a.jpg': ['a dog', 'a puppy']}
    """
    place = Path(path)
    if place.is_dir() or is_archive(place):
        if not place.exists():
            raise UserError(f"{path}: no such file or folder")
        return _beside(path, _shards(place), on_bad)
    check_file(place)
    if place.suffix.lower() == ".json":
        return _json(place)
    if place.suffix.lower() == ".txt" and _TOKEN.match(next(iter(read_lines(place)), None) or ""):
        return _tokens(place, on_bad)
    return _table(path, image_column, caption_column, on_bad)


def _table(path: str, image: str | None, caption: str | None, on_bad: OnBad) -> Captions:
    columns = (
        Column("image", "data.image_column", image, number=1, usual=_IMAGE),
        Column("caption", "data.caption_column", caption, number=2, usual=_CAPTION),
        Column("split", required=False, kind="any"),
    )

    def check(values: tuple[Any, ...]) -> tuple[Any, ...] | str:
        if values[2] is not None and str(values[2]).lower() not in _PARTS:
            return f"split: expected one of {', '.join(_PARTS)}, got {values[2]}"
        return values

    reading, captions = Reading(path, Layout(columns, "caption"), on_bad, check=check, option="data.on_bad"), Captions()
    for name, text, part in reading:
        captions.add(name, text, None if part is None else _PARTS[str(part).lower()])
    notice = reading.notice()
    captions.notes = () if notice is None else (notice.removeprefix(f"{path}: "),)
    return captions


def _tokens(path: Path, on_bad: OnBad) -> Captions:
    captions, bad = Captions(), list[str]()
    for number, line in enumerate(read_lines(path), 1):
        match = _TOKEN.fullmatch((line or "").strip())
        if match is None or not match[2].strip():
            if line is None or line.strip():
                bad.append(f"line {number:,}: expected NAME#NUMBER, a tab and a caption, got {(line or '')[:40]!r}")
            continue
        captions.add(match[1], compose(match[2].strip()))
    return _checked(captions, str(path), "line", bad, on_bad)


def _json(path: Path) -> Captions:
    """Karpathy's file, whose images have sentences, or COCO's, which has annotations."""
    try:
        content = json.loads(path.read_bytes())
        captions, images = Captions(), content["images"]
        if "annotations" in content:
            names = {image["id"]: str(image["file_name"]) for image in images}
            for one in content["annotations"]:
                captions.add(names[one["image_id"]], compose(str(one["caption"]).strip()))
        else:
            for image in images:
                name = str(PurePosixPath(str(image.get("filepath", "")), str(image["filename"])))
                for sentence in image["sentences"]:
                    captions.add(name, compose(str(sentence["raw"]).strip()), _PARTS[image.get("split", "train")])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path}: expected JSON with images and annotations (COCO), or with images and their sentences "
            f"(Karpathy's splits); {type(error).__name__}: {error}"
        ) from error
    return _checked(captions, str(path), "caption", [], "error")


def _shards(place: Path) -> Entries:
    """The files of a folder or archive; of a folder that only has archives, the files in them."""
    if place.is_file():
        return open_tree(place)
    files = [file for file in sorted(place.iterdir()) if not file.name.startswith(".")]
    if not files or not all(map(is_archive, files)):
        return open_tree(place)
    return lambda: chain.from_iterable(open_tree(file)() for file in files)


def _beside(path: str, entries: Entries, on_bad: OnBad) -> Captions:
    """Captions in files beside the images."""
    texts: dict[str, list[str]] = {}
    images: list[PurePosixPath] = []
    bad = []
    for entry in entries():
        if entry.read is None or any(part.startswith(".") or part == "__MACOSX" for part in entry.path.parts):
            continue
        try:
            if entry.path.suffix.lower() == ".txt":
                lines = entry.read(-1).decode("utf-8-sig").splitlines()
                texts[str(entry.path.with_suffix(""))] = [compose(line.strip()) for line in lines if line.strip()]
            elif _is_image(entry.path.name, entry.read):
                images.append(entry.path)
        except (BadItem, UnicodeDecodeError) as error:
            bad.append(f"{entry.path}: {'not UTF-8' if isinstance(error, UnicodeDecodeError) else error}")
    captions = Captions(tree=entries)
    for image in images:
        own = texts.get(str(image.with_suffix("")))
        if not own:
            bad.append(f"{image}: no caption in {image.with_suffix('.txt').name} beside it")
        for text in own or ():
            captions.add(str(image), text)
    return _checked(captions, path, "image", bad, on_bad)


def _is_image(name: str, read: Callable[[int], bytes]) -> bool:
    """Whether a file is an image, or has its name, so that it is reported as a bad one when it is decoded."""
    head = read(HEAD)
    return image_format(head) is not None or why_not(name, head) is not None


def _checked(captions: Captions, origin: str, unit: str, bad: list[str], on_bad: OnBad) -> Captions:
    if bad and on_bad == "error":
        raise UserError(f"{origin}: {bad[0]}; correct it, or leave such {unit}s out with --data.on-bad skip")
    if not captions.texts:
        raise UserError(f"{origin}: no image with a caption in it{''.join(f'; {one}' for one in bad[:_SHOWN])}")
    if bad:
        more = ", …" if len(bad) > _SHOWN else ""
        captions.notes = (f"left out {len(bad):,} {unit}s: {'; '.join(bad[:_SHOWN])}{more}",)
    return captions


def named_files(entries: Entries, names: Iterable[str]) -> Iterator[tuple[str, str | bytes | BadItem]]:
    """The files of a folder or archive with these names.

    Args:
        entries: from `regard.data.file_trees.open_tree`.
        names: paths, or the ends of paths; each is found once.

    Returns:
        Each name, and the place of its file on the disk, its content, or why it cannot be read; first those that are
        found, in the order of the files.
    """
    left = dict.fromkeys(names)
    ends: dict[str, list[str]] = {}
    for name in left:
        ends.setdefault(PurePosixPath(name).name, []).append(name)
    for entry in entries():
        named = ends.get(entry.path.name, [])
        fitting = (name for name in named if f"/{entry.path}".endswith(f"/{PurePosixPath(name)}"))
        found = next(fitting, named[0] if len(named) == 1 else None)
        if entry.read is None or found is None or found not in left:
            continue
        del left[found]
        try:
            yield found, entry.file or entry.read(-1)
        except BadItem as error:
            yield found, error
    for name in left:
        yield name, BadItem("no such file")
