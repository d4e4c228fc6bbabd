"""Which images have which captions: tables, JSON of Karpathy and of COCO, Flickr8k's list, files beside images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from regard.data.caption_trees import read_beside
from regard.data.coco import annotated
from regard.data.columns import Column, Layout
from regard.data.file_trees import Entries, is_archive
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
_JSON = "expected JSON with images and annotations (COCO), or with images and their sentences (Karpathy's splits)"
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
            which has a caption per line; or a folder of archives of such pairs, as webdataset writes them.
        image_column: the column of the image; None: chosen by its name.
        caption_column: the column of the caption; None: likewise.
        on_bad: what to do with rows and entries that cannot be used, and with images that have no caption.

    Raises:
        UserError: the format is unknown, or there is no caption; with ``on_bad="error"``, a row, an entry or an image
            cannot be used.

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
        beside = read_beside(place)
        captions = Captions(beside.texts, notes=beside.notes, tree=beside.entries)
        return _checked(captions, path, "images", beside.bad, on_bad)
    check_file(place)
    if place.suffix.lower() == ".json":
        return _json(place, on_bad)
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
    return _checked(captions, str(path), "lines", bad, on_bad)


class _Described(NamedTuple):
    """An image in a JSON file: its place in it, and the place and the text of each of its captions."""

    place: str
    name: Any
    texts: list[tuple[str, Any]]
    part: str | None = None
    problem: str | None = None


def _json(path: Path, on_bad: OnBad) -> Captions:
    """Karpathy's file, whose images have sentences, or COCO's, which has annotations."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: {_JSON}; {type(error).__name__}: {error}") from error
    content = content if isinstance(content, dict) else {}
    images, annotations = content.get("images"), content.get("annotations", [])
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise UserError(f"{path}: {_JSON}")
    captions, bad = Captions(), list[str]()
    for image in _of_coco(images, annotations) if "annotations" in content else map(_of_karpathy, enumerate(images, 1)):
        problem = image.problem
        if problem is None and not _is_text(image.name):
            problem = "names no image file"
        if problem is None and not image.texts:
            problem = f"{image.name} has no caption"
        if problem is not None:
            bad.append(f"{image.place}: {problem}")
            continue
        for place, text in image.texts:
            if _is_text(text):
                captions.add(image.name, compose(text.strip()), image.part)
            else:
                bad.append(f"{place} (of {image.name}): expected a caption, got {text!r:.40}")
    return _checked(captions, str(path), "entries", bad, on_bad)


def _of_coco(images: list[Any], annotations: list[Any]) -> Iterator[_Described]:
    for one in annotated(images, annotations):
        texts = [(place, annotation.get("caption")) for place, annotation in one.annotations]
        yield _Described(one.place, one.name, texts, problem=one.problem)


def _of_karpathy(numbered: tuple[int, Any]) -> _Described:
    place, image = f"image {numbered[0]:,}", numbered[1]
    if not isinstance(image, dict) or not isinstance(image.get("sentences", []), list):
        return _Described(place, None, [], problem=f"expected filename and sentences, got {image!r:.60}")
    part, name = image.get("split", "train"), image.get("filename")
    if _is_text(name):
        name = str(PurePosixPath(str(image.get("filepath") or ""), str(name)))
    if str(part).lower() not in _PARTS:
        return _Described(place, None, [], problem=f"split: expected one of {', '.join(_PARTS)}, got {part!r}")
    sentences = enumerate(image.get("sentences", []), 1)
    texts = [(f"{place}: sentence {at}", one.get("raw") if isinstance(one, dict) else one) for at, one in sentences]
    return _Described(place, name, texts, _PARTS[str(part).lower()])


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _checked(captions: Captions, origin: str, units: str, bad: list[str], on_bad: OnBad) -> Captions:
    """The captions, with a note on what cannot be used. Raises UserError: there is none; something, if that stops."""
    if bad and on_bad == "error":
        raise UserError(f"{origin}: {bad[0]}; correct it, or leave such {units} out with --data.on-bad skip")
    if not captions.texts:
        raise UserError("; ".join([f"{origin}: no image with a caption in it", *captions.notes, *bad[:_SHOWN]]))
    if bad:
        more = ", …" if len(bad) > _SHOWN else ""
        note = f"left out {len(bad):,} of the {units}: {'; '.join(bad[:_SHOWN])}{more}"
        captions.notes = (*captions.notes, note)
    return captions
