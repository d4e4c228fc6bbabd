"""`Answers`: what ``static/remote.js`` and ``static/notebook.js`` ask for, from the views of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from regard.attend import View
from regard.errors import UserError
from regard.kernels.statistics import pooled
from regard.viewer.cells import stored_cells
from regard.viewer.document import Document, Layer

_EXACT = 1 << 26
"""The largest number of weights that are pooled for an answer; above it, cells of the stored map are used."""
_CELLS = 4096
"""The largest number of cells on a side of a tile."""
_QUESTIONS = ("tile", "row", "column", "statistic", "thumbnail")
_HEADS = 16
"""How many heads are kept apart from the others, so that their tiles need no other head."""


class Answer(NamedTuple):
    """Numbers for the viewer.

    Attributes:
        how: exact, half, pooled or coarse, as ``static/source.js`` says; none: there are no such numbers.
        rows: of a tile or map; 1 for anything else.
        columns: likewise; the number of values of anything else.
        values: float32, little-endian, row by row.
    """

    how: str
    rows: int
    columns: int
    values: bytes


class Answers:
    """Answers requests from a document, and from the views of its layers, which compute any weight.

    Args:
        document: what is shown.
        views: of its layers, ``(H, Lq, Lk)``; None, or fewer than layers: the layer has what the document has.

    Example:
        >>> import numpy as np
        >>> from regard.viewer.document import Axis
        >>> weights = torch.tensor([[[0.9, 0.1], [0.2, 0.8]]])
        >>> axes = [Axis(["a", "house"]), Axis(["ein", "Haus"])]
        >>> answers = Answers(Document("alignment", axes, [Layer("cross", (1, 2, 2), 0, 1, {"rows": weights})]))
        >>> answer = answers.answer("row", {"layer": 0, "head": 0, "query": "1"})
        >>> answer.how, np.frombuffer(answer.values, "<f4").tolist()
        ('exact', [0.20000000298023224, 0.800000011920929])
    """

    def __init__(self, document: Document, views: Sequence[View | None] = ()):
        self._document = document
        self._layers = [
            _Weights(layer, views[at] if at < len(views) else None) for at, layer in enumerate(document.layers)
        ]

    @property
    def meta(self) -> dict[str, Any]:
        """All but the weights, for JSON: title, notes, axes and layers, as ``static/source.js`` describes them."""
        document = self._document
        axes = [asdict(axis) for axis in document.axes]
        return {
            "title": document.title, "notes": list(document.notes), "axes": axes,
            "layers": [weights.described for weights in self._layers],
        }  # fmt: skip

    def answer(self, what: str, parameters: Mapping[str, Any]) -> Answer:
        """The answer to a request.

        Args:
            what: tile, row, column, statistic or thumbnail.
            parameters: by name, numbers or texts of numbers: layer, head (−1 is the mean of all) and, for a tile, q0,
                q1, k0, k1, rows, columns and pooling; for a row, query; for a column, key; for a statistic, name; for a
                thumbnail, size and pooling.

        Raises:
            UserError: there is no such request, or a parameter is missing or out of range.
        """
        if what not in _QUESTIONS:
            raise UserError(f"{what[:40]!r}: expected {', '.join(_QUESTIONS[:-1])} or {_QUESTIONS[-1]}")
        asked = _Asked(parameters)
        weights = self._layers[asked.whole("layer", 0, len(self._layers) - 1)]
        heads, queries, keys = weights.shape
        head = asked.whole("head", -1, heads - 1)
        if what == "row":
            query = asked.whole("query", 0, queries - 1)
            return weights.line(head, slice(query, query + 1), slice(None))
        if what == "column":
            key = asked.whole("key", 0, keys - 1)
            return weights.line(head, slice(None), slice(key, key + 1))
        if what == "statistic":
            return weights.statistic(head, asked.one_of("name", ("entropy", "received", "sinks")))
        pooling = asked.one_of("pooling", ("mean", "max"))
        if what == "thumbnail":
            side = asked.whole("size", 1, _CELLS)
            return weights.tile(head, (0, queries), (0, keys), (side, side), pooling)
        q0, k0 = asked.whole("q0", 0, queries - 1), asked.whole("k0", 0, keys - 1)
        window = (q0, asked.whole("q1", q0 + 1, queries)), (k0, asked.whole("k1", k0 + 1, keys))
        size = asked.whole("rows", 1, _CELLS), asked.whole("columns", 1, _CELLS)
        return weights.tile(head, *window, size, pooling)


class _Asked:
    """The parameters of a request."""

    def __init__(self, parameters: Mapping[str, Any]):
        self._parameters = parameters

    def _text(self, name: str) -> str:
        if name not in self._parameters:
            raise UserError(f"{name}: is missing")
        return str(self._parameters[name])

    def whole(self, name: str, least: int, most: int) -> int:
        """A whole number in a range. Raises UserError: it is not."""
        text = self._text(name)
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 10) or not least <= int(text) <= most:
            raise UserError(f"{name}: expected a whole number from {least} to {most}, got {text[:40]!r}")
        return int(text)

    def one_of(self, name: str, names: Sequence[str]) -> str:
        """One of some names. Raises UserError: it is not."""
        text = self._text(name)
        if text not in names:
            raise UserError(f"{name}: expected {', '.join(names[:-1])} or {names[-1]}, got {text[:40]!r}")
        return text


class _Weights:
    """The weights of a layer."""

    def __init__(self, layer: Layer, view: View | None):
        self.shape = layer.shape
        self._layer, self._tensors = layer, layer.tensors
        self._view = view if view is not None and view.plan is not None else None
        self._of_head = lru_cache(_HEADS)(self._view.of_heads) if self._view is not None else None
        small = self._tensors.get("map_mean")
        whole = small if small is not None and tuple(small.shape) == layer.shape else None
        self._rows = self._tensors.get("rows", whole)
        known = self._view is not None or self._rows is not None
        self.single = ("exact" if layer.exact else "half") if known else "none"

    @property
    def described(self) -> dict[str, Any]:
        """The layer, as ``static/source.js`` describes it."""
        layer = self._layer
        return {
            "name": layer.name, "group": layer.group or layer.name, "shape": list(layer.shape),
            "heads": list(layer.heads) or list(range(layer.shape[0])), "queries": layer.queries, "keys": layer.keys,
            "weights": self.single, "why": "" if self.single != "none" else layer.why,
        }  # fmt: skip

    def line(self, head: int, queries: slice, keys: slice) -> Answer:
        """A row or a column."""
        if self.single == "none":
            return _NONE
        values = self._exact(head, torch.arange(self.shape[1])[queries], torch.arange(self.shape[2])[keys])
        return _answer(self.single, values.reshape(1, -1))

    def statistic(self, head: int, name: str) -> Answer:
        """A number for each query or key."""
        values = self._tensors.get(name)
        return _NONE if values is None else _answer("exact", _of(values, head)[None])

    def tile(
        self, head: int, queries: tuple[int, int], keys: tuple[int, int], size: tuple[int, int], pooling: str
    ) -> Answer:
        """A window, in at most ``size`` cells."""
        counts = queries[1] - queries[0], keys[1] - keys[0]
        size = min(size[0], counts[0]), min(size[1], counts[1])
        needed = counts[0] * counts[1] * (self.shape[0] if head < 0 else 1)
        if self.single != "none" and (needed <= _EXACT or f"map_{pooling}" not in self._tensors):
            at, columns = torch.arange(*queries), torch.arange(*keys)
            if size == counts:
                return _answer(self.single, self._exact(head, at, columns))
            results = pooled(
                lambda some: self._exact(head, some, columns)[None, None], self.shape[0], at, len(columns), size
            )
            return _answer("pooled", results[pooling == "max"][0, 0])
        stored = self._tensors.get(f"map_{pooling}")
        if stored is None:
            return _NONE
        cells, aligned = stored_cells(_of(stored, head), self.shape[1:], (queries, keys), size, pooling)
        # The maximum of a mean over heads is not the mean of their maxima.
        exact = aligned and (head >= 0 or self.shape[0] == 1 or pooling == "mean")
        return _answer("pooled" if exact else "coarse", cells)

    def _exact(self, head: int, queries: Tensor, keys: Tensor) -> Tensor:
        """The weights of some queries for some keys, in two dimensions."""
        if self._view is None:
            assert self._rows is not None
            rows = self._rows if head < 0 else self._rows[head : head + 1]
            return rows[:, queries][..., keys].float().mean(0)
        assert self._of_head is not None
        alone = self._view if head < 0 else self._of_head((head,))
        if alone.plan is None:  # its weights depend on the number of the head
            return self._view.tile(queries, keys)[head].float()
        return alone.tile(queries, keys).float().mean(0)


def _of(values: Tensor, head: int) -> Tensor:
    """The numbers of a head, or their mean over all."""
    return values.float().mean(0) if head < 0 else values[head].float()


def _answer(how: str, values: Tensor) -> Answer:
    rows, columns = values.shape
    return Answer(how, rows, columns, np.ascontiguousarray(values.detach().cpu().float().numpy(), "<f4").tobytes())


_NONE = Answer("none", 0, 0, b"")
