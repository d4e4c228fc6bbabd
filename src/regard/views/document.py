"""What the viewer shows of a `ModelView`: statistics and maps of all heads, and queries and keys of as many as fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.attend import View
from regard.explain.alignment import is_right_to_left
from regard.kernels.backends import choose
from regard.kernels.statistics import Request
from regard.viewer.document import Axis, Document, Layer
from regard.views.inputs import Precision, flat, why_not
from regard.views.layer import LayerView
from regard.views.model_view import ModelView
from regard.views.tokens import Tokens

LIMIT = 24 << 20
"""Bytes of queries and keys in a document of which no heads were chosen."""

_KEPT: tuple[str, ...] = ("entropy", "received", "map_mean", "map_max")
_ROWS = 1 << 20
"""The largest number of weights of a layer that are stored where they cannot be computed again."""
_MAP, _FINE = 64, 256
"""Cells on a side of a map: as a model's statistics have them, and of chosen heads whose weights are too many to be
pooled in the page."""
_POOLED = 1 << 22
"""The number of weights that are pooled in the page: see ``static/file_layer.js``."""


def document_of(
    view: ModelView,
    *,
    title: str = "Attention",
    notes: Sequence[str] = (),
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    precision: Precision = "half",
    limit: int = LIMIT,
) -> Document:
    """The document of a view.

    Args:
        view: what is shown.
        title: a line above all.
        notes: sentences below it.
        layers: the numbers of the layers to show, in the order of ``view.layers``; None: all.
        heads: the numbers of the heads to show, all with queries and keys; None: all heads, of which as many have
            queries and keys as fit into the limit, the first of each layer first.
        precision: of queries, keys and statistics: ``"half"``, in which weights are exact to about 2 · 10⁻³, or
            ``"single"``, to 10⁻⁶.
        limit: bytes of queries and keys if no heads are chosen.

    Raises:
        ValueError: there is no such layer, head or precision.
    """
    if precision not in ("half", "single"):
        raise ValueError(f"precision: must be 'half' or 'single', got {precision!r}")
    shown = [view.layers[at] for at in _numbers("layers", layers, len(view.layers))]
    parts = [_Part(layer, tuple(_numbers("heads", heads, layer.heads))) for layer in shown]
    computed = [part.heads if heads is not None and part.able else () for part in parts]
    if heads is None:
        computed = _fitting(parts, limit, precision)
    groups = {id(layer): name for name, some in view.groups.items() for layer in some}
    sides: list[Tokens] = []
    content = []
    for part, some in zip(parts, computed, strict=True):
        for side in (part.layer.queries, part.layer.keys):
            if side not in sides:
                sides.append(side)
        numbers = sides.index(part.layer.queries), sides.index(part.layer.keys)
        content.append(_layer(part, some, numbers, groups[id(part.layer)], precision))
    sentences = [*notes, *_notes(parts, computed, precision if limit or heads else None)]
    return Document(title, [_axis(side) for side in sides], content, sentences)


@dataclass(frozen=True)
class _Part:
    """Heads of a layer."""

    layer: LayerView
    heads: tuple[int, ...]

    @property
    def able(self) -> bool:
        """Whether weights can be computed from queries and keys."""
        return self.layer.view.plan is not None and not why_not(self.layer.view.plan)

    @property
    def view(self) -> View:
        """The view of the heads."""
        return self.layer.view.of_heads(self.heads) if len(self.heads) < self.layer.heads else self.layer.view


def _numbers(name: str, chosen: Sequence[int] | None, count: int) -> Sequence[int]:
    if chosen is None:
        return range(count)
    for number in chosen:
        if not -count <= number < count:
            raise ValueError(f"{name}: must be from {-count} to {count - 1}, got {number}")
    return [number % count for number in chosen]


def _fitting(parts: Sequence[_Part], limit: int, precision: Precision) -> list[tuple[int, ...]]:
    """Heads of each layer whose queries and keys fit into the limit, the first of each layer first."""
    computed: list[list[int]] = [[] for _ in parts]
    known: set[tuple[int, int]] = set()
    for head in range(max((part.layer.heads for part in parts), default=0)):
        for at, part in enumerate(parts):
            plan = part.layer.view.plan
            if head >= part.layer.heads or not part.able or plan is None:
                continue
            _, all_heads, queries, width = plan.query.shape
            group = at, head * plan.key.shape[1] // all_heads
            bytes_each = 2 if precision == "half" else min(4, plan.query.element_size())
            size = bytes_each * width * (queries + (0 if group in known else plan.key.shape[2]))
            if size <= limit:
                limit -= size
                known.add(group)
                computed[at].append(head)
    return [tuple(some) for some in computed]


def _layer(part: _Part, computed: tuple[int, ...], axes: tuple[int, int], group: str, precision: Precision) -> Layer:
    layer, view = part.layer, part.view
    plan = layer.view.plan
    tensors = {name: _narrow(tensor, precision) for name, tensor in _statistics(view, bool(computed)).items()}
    why, exact, inputs = layer.why, not layer.rounded, None
    if computed and plan is not None:
        inputs, given = _inputs(part, computed, precision)
        tensors |= given
        exact = exact and given["query"].dtype is plan.query.dtype
    elif part.able:
        why = "this file has queries and keys of other heads only, because of its size"
    else:
        why = why or ("the views were collected without inputs=True" if plan is None else why_not(plan))
        rows = _rows(layer, part.heads)
        if rows is not None:
            tensors["rows"] = _narrow(rows, precision)
            exact = exact and tensors["rows"].dtype is rows.dtype
            why = ""
    name = layer.module if not layer.call else f"{layer.module} (call {layer.call})"
    shape = len(part.heads), len(layer.queries), len(layer.keys)
    return Layer(
        name or "attention",
        shape,
        *axes,
        tensors,
        inputs,
        group or "attention",
        part.heads,
        exact,
        "" if computed else why,
    )


def _statistics(view: View, fine: bool) -> dict[str, Tensor]:
    """Entropy, received mass, sinks and maps, as far as the view has them or, maps, can compute them."""
    results = view.results
    kept: dict[str, Tensor] = {name: results[name] for name in _KEPT if name in results}
    if "sinks" in results:
        kept["sinks"] = results["sinks"] + results.get("sink_logit", 0.0)
    queries, keys = view.shape[1:]
    side = _FINE if fine and view.shape[0] == 1 and queries * keys > _POOLED else _MAP
    known = kept["map_mean"].shape[1:] if "map_mean" in kept else (0, 0)
    wanted = side == _FINE or not max(known)
    if view.plan is not None and wanted and max(known) < side and min(queries, keys) > 0:
        with torch.no_grad():
            request = Request(map=(min(side, queries), min(side, keys)))
            pooled = choose(view.plan).statistics(view.plan, request, None)
        kept |= {name: pooled[name][0] for name in ("map_mean", "map_max")}
    return kept


def _inputs(
    part: _Part, computed: tuple[int, ...], precision: Precision
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Numbers and tensors of the heads whose weights the page can compute; each key once."""
    plan = part.layer.view.plan
    assert plan is not None
    heads, groups = plan.query.shape[1], plan.key.shape[1]
    if computed == tuple(range(heads)):
        numbers, tensors = flat(plan, precision)
        return dict(numbers), tensors
    some = plan.at_heads(torch.tensor(computed, device=plan.query.device))
    assert some is not None
    numbers, tensors = flat(some, precision)
    shared = [head * groups // heads for head in computed]
    different = sorted(set(shared))
    tensors["key"] = tensors["key"][[shared.index(group) for group in different]]
    places = [part.heads.index(head) for head in computed]
    return {**numbers, "heads": places, "keys": [different.index(group) for group in shared]}, tensors


def _rows(layer: LayerView, heads: tuple[int, ...]) -> Tensor | None:
    """All weights, if they are few and can be had."""
    if len(heads) * len(layer.queries) * len(layer.keys) > _ROWS:
        return None
    try:
        return layer.rows(slice(None))[list(heads)]
    except ValueError:  # it holds neither queries and keys nor weights
        return None


def _narrow(tensor: Tensor, precision: Precision) -> Tensor:
    """In half precision if asked for, and if no number is too large for it; no wider than float32."""
    half = tensor.half()
    return half if precision == "half" and bool(half.isfinite().all()) else tensor.float()


def _axis(side: Tokens) -> Axis:
    own = side.words == tuple(range(len(side)))
    return Axis(side.texts, () if own else side.words, is_right_to_left(side.texts))


def _notes(parts: Sequence[_Part], computed: Sequence[tuple[int, ...]], precision: Precision | None) -> list[str]:
    """What the document has of the weights, for the reader."""
    if precision is None:
        return []
    notes = []
    able = sum(len(part.heads) for part in parts if part.able)
    some = sum(map(len, computed))
    if some < able:
        notes.append(
            f"This file has queries and keys of {some:,} of {able:,} heads, from which any of their weights is "
            "computed; of the others it has maps and statistics, because of its size."
        )
    if some and precision == "half":
        notes.append("Weights are computed from queries and keys in half precision.")
    return notes
