"""An alignment as a picture, in the manner of figure 3 of Bahdanau, Cho and Bengio 2015 (arXiv:1409.0473)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from regard.errors import UserError, require
from regard.explain.alignment import Alignment
from regard.explain.files import write_whole

_CELL = 0.42
"""Inches a word."""

_NUMBERED = 400
"""Most cells of a picture in which weights are written."""


def save_picture(alignment: Alignment, path: Path, *, title: str | None = None) -> None:
    """Draw ``alignment``: source words along the top, target words down the side, darker where the weight is larger.

    Args:
        alignment: by words or by pieces.
        path: a ``.png`` or ``.svg`` file.
        title: a line above; none by default.

    Raises:
        UserError: another ending, the file cannot be written, or matplotlib is not installed.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        raise UserError(f"{path}: pictures end in .png or .svg, pages to point at in .html")
    require("matplotlib", "plot", "drawing a picture")
    from matplotlib.figure import Figure

    rows, columns = alignment.weights.shape
    left, top = (0.25 + 0.085 * max([len(w) for w in side], default=0) for side in (alignment.target, alignment.source))
    width, height = _CELL * max(1, columns), _CELL * max(1, rows)
    size = (left + width + 1.0, top + height + 0.3 + (0.4 if title else 0))
    figure = Figure(figsize=size, dpi=200 if rows * columns <= 2000 else 100)
    axes = figure.add_axes((left / size[0], 0.2 / size[1], width / size[0], height / size[1]))
    image = axes.imshow(alignment.weights, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    _words(axes, alignment)
    if rows * columns <= _NUMBERED:
        _numbers(axes, alignment)
    if title:
        figure.text(left / size[0], 1 - 0.1 / size[1], title, va="top", parse_math=False, fontsize=11)
    bar_height = min(height, 2.0)
    place = (
        (left + width + 0.2) / size[0],
        (0.2 + height - bar_height) / size[1],
        0.12 / size[0],
        bar_height / size[1],
    )
    bar = figure.colorbar(image, cax=figure.add_axes(place))
    bar.set_label("attention weight", fontsize=8)
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_linewidth(0.4)
    with warnings.catch_warnings():
        # A font without the sign for a character draws a box; one warning a character would only be noise.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        write_whole(path, figure.savefig)


def _words(axes: Any, alignment: Alignment) -> None:
    axes.xaxis.tick_top()
    for axis, words, options in (
        (axes.xaxis, alignment.source, {"rotation": 60, "ha": "left", "va": "bottom", "rotation_mode": "anchor"}),
        (axes.yaxis, alignment.target, {}),
    ):
        axis.set_ticks(range(len(words)))
        axis.set_ticklabels(words, parse_math=False, fontsize=10, **options)
    axes.set_xticks([at - 0.5 for at in range(len(alignment.source) + 1)], minor=True)
    axes.set_yticks([at - 0.5 for at in range(len(alignment.target) + 1)], minor=True)
    axes.grid(which="minor", color="#d5dbe3", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    for side in axes.spines.values():
        side.set_color("#d5dbe3")


def _numbers(axes: Any, alignment: Alignment) -> None:
    for (row, column), weight in np.ndenumerate(alignment.weights):
        if weight >= 0.2:
            colour = "white" if weight > 0.55 else "#1a2b45"
            text = f"{weight:.2f}".removeprefix("0")
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
