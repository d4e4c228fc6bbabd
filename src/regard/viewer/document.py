"""`Document`: what the viewer shows, as one block of bytes: safetensors, with a description in JSON in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from safetensors.torch import save
from torch import Tensor

FORMAT, VERSION = "regard.viewer", 1

Place = tuple[int, float, float, float, float]
"""Where a position is drawn: the number of a picture, and left, top, right and bottom in it, from 0 to 1."""


@dataclass(frozen=True)
class Axis:
    """The queries or the keys of layers.

    Attributes:
        labels: a text for each position.
        words: the number of the word that each position belongs to, from 0, without gaps; empty: each is its own.
        right_to_left: whether the text is written so.
        unit: what a position is, such as token, patch, moment, frame, item or box.
        pictures: addresses of images, as ``data:image/png;base64,…``: a photograph, a spectrogram, frames of a video.
        places: where each position is on a picture; None: it has no place there; empty: none has.
        seconds: start and end of each position in a sound or video; empty: there is no time.

    Raises:
        ValueError: there are not as many words, places or seconds as labels, or a place is on no picture.
    """

    labels: Sequence[str]
    words: Sequence[int] = ()
    right_to_left: bool = False
    unit: str = "token"
    pictures: Sequence[str] = ()
    places: Sequence[Place | None] = ()
    seconds: Sequence[tuple[float, float]] = ()

    def __post_init__(self) -> None:
        for name in ("words", "places", "seconds"):
            count = len(getattr(self, name))
            if count not in (0, len(self.labels)):
                raise ValueError(f"{name}: expected one for each of {len(self.labels)} labels, got {count}")
        last = max((place[0] for place in self.places if place is not None), default=-1)
        if last >= len(self.pictures):
            raise ValueError(f"places: one is on picture {last}, and there are {len(self.pictures)}, from 0")


@dataclass(frozen=True, eq=False)
class Layer:
    """The weights of one call of attention.

    Attributes:
        name: of the module, or of what the layer says, such as ``encoder.layers.0.attention``.
        shape: (heads, queries, keys).
        queries: the number of an axis of the document.
        keys: likewise.
        tensors: any of ``rows`` (H, Lq, Lk), all weights; ``entropy`` and ``sinks`` (H, Lq); ``received`` (H, Lk);
            ``map_mean`` and ``map_max`` (H, R, C); and, so that the page computes exact weights itself, ``query``
            (H, Lq, E), ``key`` (Hk, Lk, E), ``total`` (H, Lq), ``start`` and ``end`` (H or 1, Lq or 1), ``relative``
            (H or 1, Lq + Lk − 1) and ``sink`` (H,), of `regard.views.inputs`.
        inputs: with ``query`` and ``key``: score, scale and softcap; and, if these are of some heads only, the indices
            ``heads`` of those heads, and for each the index of its keys in ``key``, ``keys``.
        group: the name of layers of the same kind; by default the name of this one.
        heads: the numbers of the heads in the model; by default from 0.
        exact: whether the rows or inputs are those of the model; False: they are rounded to half precision.
        why: why there are no exact weights; empty: there are.
    """

    name: str
    shape: tuple[int, int, int]
    queries: int
    keys: int
    tensors: Mapping[str, Tensor]
    inputs: Mapping[str, Any] | None = None
    group: str = ""
    heads: Sequence[int] = ()
    exact: bool = True
    why: str = ""


@dataclass(frozen=True, eq=False)
class Document:
    """Layers with their axes.

    Attributes:
        title: a line above all.
        axes: queries and keys of the layers.
        layers: in the order in which they are shown.
        notes: sentences below the title.

    Raises:
        ValueError: the axes of a layer are missing, or have other lengths than its weights.

    Example:
        >>> import torch
        >>> axes = [Axis(["a", "house"]), Axis(["ein", "Haus"])]
        >>> weights = torch.tensor([[[0.9, 0.1], [0.2, 0.8]]])
        >>> document = Document("alignment", axes, [Layer("cross", (1, 2, 2), 0, 1, {"rows": weights})])
        >>> len(document.to_bytes()) > 16
        True
    """

    title: str
    axes: Sequence[Axis]
    layers: Sequence[Layer]
    notes: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        for layer in self.layers:
            if not {layer.queries, layer.keys} <= set(range(len(self.axes))):
                raise ValueError(
                    f"{layer.name}: is of the axes {layer.queries} and {layer.keys}, and there are {len(self.axes)}"
                )
            lengths = tuple(len(self.axes[axis].labels) for axis in (layer.queries, layer.keys))
            if lengths != tuple(layer.shape[1:]):
                raise ValueError(f"{layer.name}: its axes have {lengths} labels, and its shape is {layer.shape}")

    def to_bytes(self) -> bytes:
        """The document as one safetensors file."""
        tensors: dict[str, Tensor] = {}
        layers = []
        for at, layer in enumerate(self.layers):
            described = {name: value for name, value in vars(layer).items() if name != "tensors"}
            described["group"] = layer.group or layer.name
            described["heads"] = list(layer.heads) or list(range(layer.shape[0]))
            layers.append(described)
            tensors |= {f"{at}.{name}": part.detach().cpu().contiguous() for name, part in layer.tensors.items()}
        apart: dict[int, str] = {part.data_ptr(): name for name, part in reversed(tensors.items())}
        # The format takes no memory twice, as of keys that several layers share.
        tensors = {n: part if apart[part.data_ptr()] == n else part.clone() for n, part in tensors.items()}
        content = {"format": FORMAT, "version": VERSION, "title": self.title, "notes": list(self.notes)}
        content |= {"axes": [asdict(axis) for axis in self.axes], "layers": layers}
        return save(tensors, {"regard": json.dumps(content, ensure_ascii=False)})
