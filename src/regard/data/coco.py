"""The JSON of COCO: which annotations are of which image, and which entries cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Annotated(NamedTuple):
    """An image of COCO.

    Attributes:
        place: its entry, such as ``"image 3"``.
        name: of its file.
        annotations: the place of each of its annotations, and the annotation.
        problem: why the entry cannot be used; None: it can.
    """

    place: str
    name: Any
    annotations: Sequence[tuple[str, Mapping[str, Any]]] = ()
    problem: str | None = None


def annotated(images: Sequence[Any], annotations: Sequence[Any]) -> list[Annotated]:
    """The images with their annotations, and an entry with a problem for each annotation that is of no image.

    Args:
        images: the list ``images`` of the file.
        annotations: its list ``annotations``.

    >>> [(one.place, one.problem) for one in annotated([{"id": 1, "file_name": "a.jpg"}], [{"image_id": 2}])]
    [('image 1', None), ('annotation 1', 'is of the image 2, which is not in the list of images')]
    """
    counts = Counter(one["id"] for one in images if _identified(one, "id"))
    own: dict[Any, list[tuple[str, Mapping[str, Any]]]] = {number: [] for number in counts}
    strays = []
    for number, one in enumerate(annotations, 1):
        place = f"annotation {number:,}"
        if not _identified(one, "image_id"):
            strays.append(Annotated(place, None, problem=f"has no image_id: {one!r:.60}"))
        elif one["image_id"] not in own:
            why = f"is of the image {one['image_id']!r}, which is not in the list of images"
            strays.append(Annotated(place, None, problem=why))
        else:
            own[one["image_id"]].append((place, one))
    read = []
    for number, one in enumerate(images, 1):
        place, name = f"image {number:,}", one.get("file_name") if isinstance(one, dict) else None
        if not _identified(one, "id"):
            read.append(Annotated(place, name, problem=f"has no id: {one!r:.60}"))
        elif counts[one["id"]] > 1:
            read.append(Annotated(place, name, problem=f"has the id {one['id']!r}, which other images have, too"))
        else:
            read.append(Annotated(place, name, own[one["id"]]))
    return read + strays


def _identified(entry: Any, key: str) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get(key), int | float | str)
