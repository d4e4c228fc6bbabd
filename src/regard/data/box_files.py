"""Lists of images with boxes around their objects: COCO's JSON, folders of Pascal VOC's XML, and JSON lines."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from regard.data.coco import annotated
from regard.data.file_trees import find_file
from regard.data.lines import check_file, compose, read_lines, shorten
from regard.errors import UserError

_LARGEST_XML = 10_000_000
"""Bytes of a file with the boxes of one image."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Picture:
    """An image, and the boxes of its objects.

    Attributes:
        where: the place of its entry, such as ``"boxes.json: image 3"``.
        file: the image.
        labels: the class of each object.
        boxes: the left, top, right and bottom edge of each, in pixels from the top left corner of the image.
        crowd: for each, whether it is a crowd, or too difficult to count.
        problem: why the entry cannot be used; None: it can.
    """

    where: str
    file: Path
    labels: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    crowd: tuple[bool, ...] = ()
    problem: str | None = None


class _Bad(Exception):
    """An entry that cannot be used, and why."""


def read_pictures(path: str, *, images: str | None = None) -> list[Picture]:
    """Read which images have which boxes. The images themselves are not read.

    Args:
        path: COCO's annotations, ``.json``; JSON lines, ``.jsonl``, such as ``{"image": "a.jpg", "objects": [{"label":
            "cat", "box": [10, 20, 50, 80]}]}`` with the left, top, right and bottom edge in pixels; or a folder with an
            XML file per image, as of Pascal VOC and LabelImg, or with such a folder named Annotations.
        images: the folder of the images; None: the names are relative to the folder of ``path``, to the folder above
            it, or to a folder images or JPEGImages in one of them.

    Raises:
        UserError: there is no such file, it is of another format, or it has no entry.
    """
    place = Path(path)
    if place.is_dir():
        pictures = list(_voc(place, images))
        if not pictures:
            raise UserError(f"{path}: expected a folder with .xml files of Pascal VOC, one for each image")
        return pictures
    check_file(place)
    if place.suffix.lower() == ".json":
        pictures = list(_coco(place, images))
    elif place.suffix.lower() in (".jsonl", ".ndjson"):
        pictures = list(_json_lines(place, images))
    else:
        raise UserError(f"{path}: expected .json (COCO), .jsonl, or a folder with .xml files (Pascal VOC)")
    if not pictures:
        raise UserError(f"{path}: has no image")
    return pictures


def _coco(path: Path, images: str | None) -> Iterator[Picture]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({str(error) or type(error).__name__})") from error
    lists = content if isinstance(content, dict) else {}
    for name in ("images", "annotations", "categories"):
        if not isinstance(lists.get(name), list):
            what = "not annotations of COCO, with images, annotations and categories"
            raise UserError(f"{path}: {what}; has no list {name}")
    names = _categories(path, content["categories"])
    finder = _Finder(path.parent, images)

    def objects(entries: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, Any, Any, bool]]:
        for place, one in entries:
            if not isinstance(one.get("category_id"), int | str) or one["category_id"] not in names:
                raise _Bad(f"{place}: the category {one.get('category_id')!r} is not in the list of categories")
            left, top, width, height = _numbers(one.get("bbox"), place)
            yield place, names[one["category_id"]], (left, top, left + width, top + height), bool(one.get("iscrowd"))

    for image in annotated(content["images"], content["annotations"]):
        where = f"{path}: {image.place}"
        if image.problem is not None:
            yield Picture(where, path, problem=f"{where}: {image.problem}")
        else:
            yield _picture(where, image.name, finder, lambda own=image.annotations: objects(own))


def _categories(path: Path, listed: list[Any]) -> dict[Any, str]:
    """The name of each category of COCO. Raises UserError: one has none, or two have the same id."""
    names: dict[Any, str] = {}
    for number, one in enumerate(listed, 1):
        where = f"{path}: category {number:,}"
        if (
            not isinstance(one, dict)
            or not isinstance(one.get("id"), int | str)
            or not str(one.get("name") or "").strip()
        ):
            raise UserError(f"{where}: expected an object with id and name, got {one!r:.60}")
        if one["id"] in names:
            raise UserError(f"{where}: has the id {one['id']!r}, which another category has, too")
        names[one["id"]] = compose(str(one["name"]).strip())
    return names


def _json_lines(path: Path, images: str | None) -> Iterator[Picture]:
    finder = _Finder(path.parent, images)
    for number, line in enumerate(read_lines(path), 1):
        if line is not None and not line.strip():
            continue
        where = f"{path}: line {number:,}"
        try:
            content = json.loads(line or "")
            name, entries = content["image"], list(content["objects"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            why = 'expected {"image": …, "objects": [{"label": …, "box": [left, top, right, bottom]}, …]}'
            yield Picture(where, path, problem=f"{where}: {why} ({type(error).__name__}: {error})")
            continue

        def objects(entries: Sequence[Any] = entries) -> Iterator[tuple[str, Any, Any, bool]]:
            for at, one in enumerate(entries, 1):
                if not isinstance(one, dict):
                    raise _Bad(f"object {at}: expected an object with label and box, got {one!r}")
                box = _numbers(one.get("box"), f"object {at}")
                yield f"object {at}", one.get("label"), box, bool(one.get("crowd"))

        yield _picture(where, name, finder, objects)


def _voc(folder: Path, images: str | None) -> Iterator[Picture]:
    inner = folder / "Annotations"
    folder = inner if inner.is_dir() else folder
    finder = _Finder(folder, images)
    for path in sorted(folder.glob("*.xml")):
        try:
            root = _xml(path)
        except _Bad as error:
            yield Picture(str(path), path, problem=f"{path}: {error}")
            continue

        def objects(root: ElementTree.Element = root) -> Iterator[tuple[str, Any, Any, bool]]:
            for at, one in enumerate(root.iter("object"), 1):
                corners = [one.findtext(f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")]
                left, top, right, bottom = _numbers(corners, f"object {at}")
                # VOC counts pixels from 1, and the last one is in the box.
                yield (
                    f"object {at}",
                    one.findtext("name"),
                    (left - 1, top - 1, right, bottom),
                    ((one.findtext("difficult") or "0").strip() == "1"),
                )

        yield _picture(str(path), root.findtext("filename"), finder, objects)


def _xml(path: Path) -> ElementTree.Element:
    """The root of a file. Raises _Bad: it is no annotation of VOC, or declares entities, which are never expanded."""
    try:
        if path.stat().st_size > _LARGEST_XML:
            raise _Bad(f"is larger than {_LARGEST_XML:,} bytes")
        content = path.read_bytes()
        if re.search(rb"<!\s*(DOCTYPE|ENTITY)", content.replace(b"\0", b""), re.IGNORECASE):
            raise _Bad("has a document type (<!DOCTYPE), which is not read; remove it")
        root = ElementTree.fromstring(content)
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise _Bad(f"is not readable as XML ({error})") from error
    if root.tag != "annotation":
        raise _Bad(f"expected <annotation>, as in Pascal VOC, got <{root.tag}>")
    return root


def _picture(where: str, name: Any, finder: _Finder, objects: Any) -> Picture:
    """The entry of an image; its problem is that of the first object that cannot be used."""
    labels, boxes, crowd = [], [], []
    file = finder.folders[0]
    try:
        if not isinstance(name, str) or not name.strip():
            raise _Bad("names no image file")
        file = finder(name.strip())
        for place, label, box, many in objects():
            if not isinstance(label, str | int) or not str(label).strip():
                raise _Bad(f"{place}: has no label")
            if not (box[0] < box[2] and box[1] < box[3]):
                raise _Bad(f"{place}: an empty box, from {box[0]:g}, {box[1]:g} to {box[2]:g}, {box[3]:g}")
            labels.append(compose(str(label).strip()))
            boxes.append(box)
            crowd.append(many)
    except _Bad as error:
        return Picture(where, file, problem=f"{where}: {error}")
    return Picture(where, file, tuple(labels), tuple(boxes), tuple(crowd))


def _numbers(values: Any, place: str) -> Box:
    """Four numbers. Raises _Bad: something else."""
    try:
        left, top, right, bottom = (float(value) for value in values)
    except (TypeError, ValueError):
        raise _Bad(f"{place}: expected a box of four numbers, got {values!r}") from None
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise _Bad(f"{place}: expected a box of finite numbers, got {values!r}")
    return left, top, right, bottom


class _Finder:
    """Finds the image of a name in the folders where it can be."""

    def __init__(self, folder: Path, images: str | None):
        if images is not None and not Path(images).is_dir():
            raise UserError(f"data.images: there is no folder {images}")
        above = folder.resolve().parent
        inner = ("", "images", "JPEGImages")
        self.folders = [Path(images)] if images else [base / name for base in (folder, above) for name in inner]

    def __call__(self, name: str) -> Path:
        for folder in self.folders:
            if (file := find_file(folder, name)) is not None:
                return file
        raise _Bad(f"there is no file {shorten(name)} in {', '.join(map(str, self.folders[:1]))} or its images folder")
