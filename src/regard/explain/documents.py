"""Axes and documents of the viewer that several kinds of attention share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from regard.viewer.document import Axis, Document, Layer, Place

Keys = tuple[Axis, np.ndarray]
"""Keys of the viewer, and the weight of each."""

Edges = tuple[float, float, float, float]
"""The left, top, right and bottom of a place on a picture, from 0 to 1."""


def cells(shape: tuple[int, int]) -> list[tuple[str, Edges]]:
    """The name and the place of each cell of a grid of rows and columns over a picture."""
    rows, columns = shape
    return [
        (
            f"row {row + 1}, column {column + 1}",
            (column / columns, row / rows, (column + 1) / columns, (row + 1) / rows),
        )
        for row in range(rows)
        for column in range(columns)
    ]


def grid(shape: tuple[int, int], picture: str, *, right: float = 1.0, bottom: float = 1.0) -> Axis:
    """The patches of a picture, in rows.

    Args:
        shape: the number of rows and columns.
        picture: the address of the picture; its top left is that of the patches.
        right: the right edge of the patches, where 1 is that of the picture.
        bottom: their lower edge, likewise. A patch outside of the picture has no place.

    >>> axis = grid((1, 2), "data:,", right=2.0)
    >>> axis.labels, axis.places
    (('row 1, column 1', 'row 1, column 2'), ((0, 0.0, 0.0, 1.0, 1.0), None))
    """
    labels, places = zip(*cells(shape), strict=True)
    scales = (right, bottom, right, bottom)
    within = (_within(*(scale * edge for scale, edge in zip(scales, edges, strict=True))) for edges in places)
    return Axis(labels, unit="patch", pictures=(picture,), places=tuple(within))


def moments(count: int, step: float, seconds: float, picture: str) -> Axis:
    """Moments of a sound, each with its place on a spectrogram.

    Args:
        count: of the moments.
        step: the seconds from one to the next.
        seconds: the duration of the sound, and of the spectrogram.
        picture: the address of the spectrogram.
    """
    starts = [at * step for at in range(count)]
    return Axis(
        tuple(f"{start:.2f} s" for start in starts), unit="moment", pictures=(picture,),
        places=tuple(_within(start / seconds, 0.0, (start + step) / seconds, 1.0) for start in starts),
        seconds=tuple((start, start + step) for start in starts),
    )  # fmt: skip


def _within(left: float, top: float, right: float, bottom: float) -> Place | None:
    """A place on the first picture, cut at its edges; None: it is outside."""
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in (left, top, right, bottom))
    return (0, left, top, right, bottom) if left < right and top < bottom else None


def document(
    title: str,
    queries: Axis,
    keys: Axis,
    layers: Mapping[str, np.ndarray],
    notes: Sequence[str] = (),
    *,
    group: str = "",
) -> Document:
    """A document of layers with the same queries and keys; weights ``(Lq, Lk)`` or ``(H, Lq, Lk)`` by name.

    ``group`` is a name for all layers, if they are of the same kind.
    """
    axes = [queries] if queries is keys else [queries, keys]
    parts = []
    for name, weights in layers.items():
        heads = weights if weights.ndim == 3 else weights[None]
        rows = torch.from_numpy(np.ascontiguousarray(heads, np.float32))
        parts.append(Layer(name, (len(rows), *rows.shape[1:]), 0, len(axes) - 1, {"rows": rows}, group=group))
    return Document(title, axes, parts, notes)


def by_query(title: str, queries: Axis, keys: Sequence[Mapping[str, Keys]], notes: Sequence[str] = ()) -> Document:
    """A document of the keys of each query, which are the same but for their weights, by the names of layers.

    >>> words = Axis(["good", "news"], unit="word")
    >>> given = [{"attention": (words, np.array([0.3, 0.7]))}]
    >>> by_query("", Axis(["business"], unit="class"), given).layers[0].tensors["rows"]
    tensor([[[0.3000, 0.7000]]])
    """
    parts = {
        name: document(title, queries, axis, {name: np.stack([one[name][1] for one in keys])})
        for name, (axis, _) in keys[0].items()
    }
    axes = [queries, *(part.axes[1] for part in parts.values())]
    layers = [replace(part.layers[0], keys=at) for at, part in enumerate(parts.values(), 1)]
    return Document(title, axes, layers, notes)


def joined(title: str, documents: Mapping[str, Document]) -> Document:
    """One document of several, by name; their layers follow each other, with the names before theirs if there are more.

    >>> one = document("a", Axis(["x"]), Axis(["y"]), {"attention": np.ones((1, 1))})
    >>> [layer.name for layer in joined("both", {"1": one, "2": one}).layers]
    ['1', '2']
    """
    axes, layers = list[Axis](), list[Layer]()
    for name, one in documents.items():
        first = len(axes)
        axes += one.axes
        layers += [
            replace(
                layer,
                name=name if len(one.layers) == 1 else f"{name}: {layer.name}",
                queries=first + layer.queries,
                keys=first + layer.keys,
            )
            for layer in one.layers
        ]
    return Document(title, axes, layers, tuple(dict.fromkeys(note for one in documents.values() for note in one.notes)))
