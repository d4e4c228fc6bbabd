"""Images of one layer of a `ModelView`: its words, and a row over an image, over a sound, or along its keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from regard.errors import UserError
from regard.explain.alignment import Alignment
from regard.explain.draw import fonts, new_figure, save_picture, write_figure
from regard.explain.overlay import save_overlay
from regard.explain.timeline import Timeline, draw_weights
from regard.views.layer import LayerView

_LABELLED = 48
"""The largest number of keys whose texts are shown."""


def draw_alignment(layer: LayerView, path: str | Path, *, head: int | None = None) -> None:
    """Draw the weights between words: a row for each word that attends, a column for each that is attended to.

    Args:
        layer: with inputs, or with all rows.
        path: a ``.png`` or ``.svg`` file.
        head: the head; None: the mean of all.

    Raises:
        ValueError: there is no such head, or see `LayerView.rows`.
        UserError: the file has another ending or cannot be written, or matplotlib is not installed.
    """
    words, chosen = layer.words(), _head(layer, head)
    weights = words.weights[chosen].mean(0).float().cpu().numpy()
    save_picture(Alignment(words.keys, words.queries, weights), Path(path), title=_title(layer, head))


def draw_on_image(
    layer: LayerView,
    image: np.ndarray,
    grid: tuple[int, int],
    path: str | Path,
    *,
    query: int = 0,
    head: int | None = None,
) -> None:
    """Draw the weights of a query over the image whose patches are the keys.

    Args:
        layer: see `draw_alignment`; the last keys are the patches, row by row. Others, such as a class token, come
            before them.
        image: uint8 ``(3, H, W)``, as the model sees it.
        grid: the rows and columns of the patches.
        path: a ``.png`` or ``.svg`` file.
        query: the number of the query; 0 is the class token of many models.
        head: the head; None: the mean of all.

    Raises:
        ValueError: there is no such head or query, or see `LayerView.rows`.
        UserError: there are fewer keys than patches; or see `draw_alignment`.
    """
    weights = _row(layer, query, head)
    if len(weights) < grid[0] * grid[1] or min(grid) < 1:
        raise UserError(f"grid: {grid[0]} × {grid[1]} patches do not fit {len(weights)} keys")
    places = weights[len(weights) - grid[0] * grid[1] :].reshape(grid)
    save_overlay(image, places, Path(path), title=_title(layer, head, query))


def draw_on_sound(
    layer: LayerView,
    features: np.ndarray,
    seconds: float,
    path: str | Path,
    *,
    query: int = 0,
    head: int | None = None,
) -> None:
    """Draw the weights of a query under the spectrogram of the sound whose moments are the keys.

    Args:
        layer: see `draw_alignment`; the keys divide the sound into moments of the same duration.
        features: ``(frames, bands)``, such as logarithms of energies.
        seconds: the duration of the sound.
        path: a ``.png`` or ``.svg`` file.
        query: the number of the query.
        head: the head; None: the mean of all.

    Raises:
        ValueError: there is no such head or query, or see `LayerView.rows`.
        UserError: see `draw_alignment`.
    """
    weights = _row(layer, query, head)
    timeline = Timeline(features, weights, seconds, seconds / max(1, len(weights)))
    timeline.save(Path(path), title=_title(layer, head, query))


def draw_row(layer: LayerView, path: str | Path, *, query: int = 0, head: int | None = None) -> None:
    """Draw the weights of a query along its keys, with their texts if there are few.

    Args:
        layer: see `draw_alignment`.
        path: a ``.png`` or ``.svg`` file.
        query: the number of the query; −1 is the last one.
        head: the head; None: the mean of all.

    Raises:
        ValueError: there is no such head or query, or see `LayerView.rows`.
        UserError: see `draw_alignment`.
    """
    weights = _row(layer, query, head)
    figure = new_figure(Path(path), 8.0, 2.4)
    axes = figure.subplots()
    draw_weights(axes, weights, 1.0, "key")
    axes.set_xlim(0, max(1, len(weights)))
    if len(weights) <= _LABELLED:
        places = np.arange(len(weights)) + 0.5
        axes.set_xticks(places, layer.keys.texts, rotation=90, fontsize=7, fontfamily=fonts(), parse_math=False)
        axes.set_xlabel("")
    axes.set_title(_title(layer, head, query), fontsize=8, loc="left", parse_math=False, fontfamily=fonts())
    write_figure(figure, Path(path))


def _row(layer: LayerView, query: int, head: int | None) -> np.ndarray:
    """The weights of a query, ``(Lk,)``."""
    rows = layer.rows([query])[_head(layer, head), 0]
    return np.asarray(rows.mean(0).float().cpu().numpy())


def _head(layer: LayerView, head: int | None) -> slice:
    """The heads that are shown. Raises ValueError: there is no such head."""
    if head is not None and not 0 <= head < layer.heads:
        raise ValueError(f"head: expected a number from 0 to {layer.heads - 1}, got {head}")
    return slice(None) if head is None else slice(head, head + 1)


def _title(layer: LayerView, head: int | None, query: int | None = None) -> str:
    heads = "mean of all heads" if head is None else f"head {head}"
    source = "" if query is None else f", from {layer.queries.texts[query]}"
    return f"{layer.module}, {heads}{source}"
