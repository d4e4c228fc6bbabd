"""Images of a `ModelView`: a map for each layer and head, the entropy by layer, and the weight that keys receive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regard.errors import UserError
from regard.explain.draw import fonts, new_figure, write_figure
from regard.views.layer import LayerView
from regard.views.model_view import ModelView

_CELLS, _FINE = 64, 512
"""The largest number of rows and columns of a map in a grid, and of one alone, and of columns of received weights."""
_LABELLED = 48
"""The largest number of tokens whose texts are shown."""


def draw_grid(view: ModelView, path: str | Path, *, group: str | None = None) -> None:
    """Draw the pooled maps of all heads: a row for each layer, a column for each head, queries downwards.

    The colours of a head go from 0 to its own largest value, by the square root, so that small weights are seen.

    Args:
        view: with maps (``Look(map=…)``) or inputs.
        path: a ``.png`` or ``.svg`` file.
        group: a name of `ModelView.groups`; None: all, one below the other.

    Raises:
        ValueError: there is no such group.
        UserError: a layer has neither map nor inputs, the file has another ending or cannot be written, or matplotlib
            is not installed.
    """
    groups = _groups(view, group)
    maps = {name: [_map(layer) for layer in layers] for name, layers in groups.items()}
    shapes = {name: (len(of), max(len(one) for one in of)) for name, of in maps.items()}
    width = min(12.0, 1.0 + max(columns for _, columns in shapes.values()) * 1.1)
    heights = [width * rows / columns + 0.5 for rows, columns in shapes.values()]
    figure = new_figure(Path(path), width, min(40.0, sum(heights)), dpi=150)
    for axes, (name, of) in zip(_stacked(figure, heights), maps.items(), strict=True):
        image, side = _mosaic(of)
        axes.imshow(image, cmap="magma", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        places = [at * (side + 1) + side / 2 for at in range(max(shapes[name]))]
        axes.set_xticks(places[: shapes[name][1]], range(shapes[name][1]), fontsize=7)
        axes.set_yticks(places[: shapes[name][0]], _names(groups[name]), fontsize=7)
        _plain(axes, name, "head", "layer")
    write_figure(figure, Path(path))


def draw_map(layers: Sequence[LayerView], path: str | Path, *, head: int | None = None, title: str = "") -> None:
    """Draw the pooled map of one head, or the mean of all, of layers with the same numbers of queries and keys.

    Args:
        layers: with maps or inputs; the mean of several is drawn.
        path: a ``.png`` or ``.svg`` file.
        head: the head; None: the mean of all.
        title: a line above the map.

    Raises:
        UserError: see `draw_grid`.
    """
    maps = [_map(layer, _FINE) for layer in layers]
    mean = np.mean([one.mean(0) if head is None else one[head] for one in maps], axis=0)
    figure = new_figure(Path(path), 7.0, 6.4, dpi=150)
    from matplotlib.colors import PowerNorm

    axes = figure.subplots()
    queries, keys = layers[0].view.shape[1:]
    drawn = axes.imshow(
        mean, cmap="magma", norm=PowerNorm(0.5, vmin=0), aspect="auto", interpolation="nearest",
        extent=(-0.5, keys - 0.5, queries - 0.5, -0.5),
    )  # fmt: skip
    figure.colorbar(drawn, ax=axes, fraction=0.046).ax.tick_params(labelsize=7)
    _plain(axes, title, "key", "query")
    write_figure(figure, Path(path))


def draw_entropy(view: ModelView, path: str | Path) -> None:
    """Draw the entropy of the weights by layer: a dot for each head, its mean over the queries, and the mean of all.

    Args:
        view: with entropy (``Look(entropy=True)``).
        path: a ``.png`` or ``.svg`` file.

    Raises:
        UserError: a layer has no entropy, the file has another ending or cannot be written, or matplotlib is not
            installed.
    """
    groups = {name: [_result(layer, "entropy") for layer in layers] for name, layers in view.groups.items()}
    figure = new_figure(Path(path), 7.0, 3.6)
    axes = figure.subplots()
    for colour, (name, entropies) in enumerate(groups.items()):
        means = [entropy.mean(1) for entropy in entropies]
        for at, heads in enumerate(means):
            axes.scatter([at] * len(heads), heads, s=10, alpha=0.5, color=f"C{colour}", linewidths=0)
        axes.plot([heads.mean() for heads in means], color=f"C{colour}", linewidth=1.5, label=name)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(0, None)
    axes.legend(fontsize=7, frameon=False)
    _plain(axes, "", "layer", "entropy in nats")
    write_figure(figure, Path(path))


def draw_received(view: ModelView, path: str | Path) -> None:
    """Draw which part of the weights each key received: a row for each layer, the mean over heads and queries.

    The colours go by the square root, since a few keys often receive most. The keys of long texts are pooled, by the
    largest value.

    Args:
        view: with received weights (``Look(received=True)``).
        path: a ``.png`` or ``.svg`` file.

    Raises:
        UserError: a layer has none, the file has another ending or cannot be written, or matplotlib is not installed.
    """
    groups = view.groups
    shares = {
        name: [_result(layer, "received").mean(0) / max(1, len(layer.queries)) for layer in layers]
        for name, layers in groups.items()
    }
    heights = [0.18 * len(of) + 1.6 for of in shares.values()]
    figure = new_figure(Path(path), 9.0, min(40.0, sum(heights)), dpi=150)
    from matplotlib.colors import PowerNorm

    for axes, (name, of) in zip(_stacked(figure, heights), shares.items(), strict=True):
        keys = max(map(len, of))
        image = np.full((len(of), min(_FINE, keys)), np.nan)
        for row, share in zip(image, of, strict=True):
            bins = np.arange(len(share)) * len(row) // keys
            np.fmax.at(row, bins, share)
        drawn = axes.imshow(
            image, cmap="magma", norm=PowerNorm(0.5, vmin=0), aspect="auto", interpolation="nearest",
            extent=(-0.5, keys - 0.5, len(of) - 0.5, -0.5),
        )  # fmt: skip
        figure.colorbar(drawn, ax=axes, fraction=0.03, pad=0.01).ax.tick_params(labelsize=7)
        axes.set_yticks(range(len(of)), _names(groups[name]), fontsize=7)
        if keys <= _LABELLED:
            texts = max((layer.keys.texts for layer in groups[name]), key=len)
            axes.set_xticks(range(keys), texts, rotation=90, fontsize=7, fontfamily=fonts(), parse_math=False)
        _plain(axes, name, "" if keys <= _LABELLED else "key", "layer")
    write_figure(figure, Path(path))


def _groups(view: ModelView, group: str | None) -> dict[str, tuple[LayerView, ...]]:
    groups = view.groups
    if group is None:
        return groups
    if group not in groups:
        raise ValueError(f"group: expected one of {', '.join(groups)}, got {group!r}")
    return {group: groups[group]}


def _map(layer: LayerView, cells: int = _CELLS) -> np.ndarray:
    """The mean weights of each head, pooled, ``(H, R, C)``."""
    if layer.view.plan is not None:
        queries, keys = layer.view.shape[1:]
        size = min(cells, queries), min(cells, keys)
        pooled = layer.view.pool(slice(None), slice(None), size).mean
    else:
        return _result(layer, "map_mean")
    return pooled.float().cpu().numpy()


def _result(layer: LayerView, name: str) -> np.ndarray:
    if name not in layer.view.results:
        raise UserError(
            f"{layer.module or 'the module'}: its view has no {name}; collect it with regard.views.STATISTICS"
        )
    return np.asarray(layer.view.results[name].detach().to(torch.float32).cpu().numpy())


def _mosaic(maps: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """One image of all maps, each scaled to squares of one size, and that size."""
    side = max(max(one.shape[1:]) for one in maps)
    columns = max(len(one) for one in maps)
    image = np.full((len(maps) * (side + 1) - 1, columns * (side + 1) - 1), np.nan)
    at = np.arange(side)
    for row, heads in enumerate(maps):
        for column, one in enumerate(heads):
            scaled = np.sqrt(one / max(float(one.max(initial=0.0)), 1e-12))
            top, left = row * (side + 1), column * (side + 1)
            tall, wide = at * one.shape[0] // side, at * one.shape[1] // side
            image[top : top + side, left : left + side] = scaled[tall[:, None], wide]
    return image, side


def _stacked(figure: Any, heights: Sequence[float]) -> list[Any]:
    axes: list[Any] = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0].tolist()
    return axes


def _names(layers: Sequence[LayerView]) -> list[str]:
    """The numbers of layers; with several calls of one module, also the number of the call."""
    several = len({layer.module for layer in layers}) < len(layers)
    return [f"{at} call {layer.call}" if several else str(at) for at, layer in enumerate(layers)]


def _plain(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=8, loc="left", parse_math=False)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7, length=2)
    for edge in axes.spines.values():
        edge.set_visible(False)
