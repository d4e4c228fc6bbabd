"""An alignment as an image, like figure 3 of Bahdanau, Cho and Bengio 2015 (arXiv:1409.0473)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from regard.errors import UserError, require
from regard.explain.alignment import Alignment, is_right_to_left
from regard.files import write_whole

_CELL = 0.42
"""Inches per word."""

_FALLBACKS = (
    *(f"Noto Sans {script}" for script in ("CJK SC", "CJK JP", "CJK KR", "Devanagari", "Bengali", "Tamil", "Thai")),
    *("Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI", "Leelawadee UI"),
)
"""Fonts of Linux, macOS and Windows for scripts that matplotlib's font lacks."""

_NUMBERED = 400
"""The largest number of cells of an image in which weights are written."""


def save_picture(alignment: Alignment, path: Path, *, title: str | None = None) -> None:
    """Draw ``alignment``: source words along the top, target words down the side, darker where the weight is larger.

    Args:
        alignment: by words or by pieces.
        path: a ``.png`` or ``.svg`` file.
        title: a line above the image; None: no title.

    Raises:
        UserError: the file name has another ending, the file cannot be written, or matplotlib is not installed.
    """
    check_image_name(path)
    from matplotlib.figure import Figure

    rows, columns = alignment.weights.shape
    width, height = _CELL * max(1, columns), _CELL * max(1, rows)
    figure = Figure(figsize=(width, height), dpi=200 if rows * columns <= 2000 else 100)
    # The grid fills the figure: labels, bar and title are outside of it, and savefig includes them.
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    image = axes.imshow(alignment.weights, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    families = fonts()
    _words(axes, alignment, families)
    if is_right_to_left(alignment.source):
        axes.invert_xaxis()
    if rows * columns <= _NUMBERED:
        _numbers(axes, alignment)
    if title:
        axes.set_title(title, loc="left", parse_math=False, fontsize=11, fontfamily=families)
    bar_height = min(height, 2.0)
    place = (1.0 + 0.2 / width, 1.0 - bar_height / height, 0.12 / width, bar_height / height)
    bar = figure.colorbar(image, cax=figure.add_axes(place))
    bar.set_label("attention weight", fontsize=8)
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_linewidth(0.4)
    with warnings.catch_warnings():
        # A font without a glyph for a character draws a box; a warning for each character would not help.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        write_whole(path, lambda fresh: figure.savefig(fresh, bbox_inches="tight", pad_inches=0.12))


def check_image_name(path: Path, *, page: bool = False) -> None:
    """Check that an image can be drawn to a file, before the work for it begins.

    Args:
        path: of the file.
        page: whether there is an interactive page, too, which the error then names.

    Raises:
        UserError: the name does not end in ``.png`` or ``.svg``, or matplotlib is not installed.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        more = " (an image) or .html (an interactive page)" if page else ""
        raise UserError(f"{path}: expected a name that ends in .png or .svg{more}")
    require("matplotlib", "plot", "drawing an image")


def new_figure(path: Path, width: float, height: float, *, dpi: int = 120) -> Any:
    """A matplotlib figure of this size in inches, to be written to ``path`` by `write_figure`.

    Raises:
        UserError: see `check_image_name`.
    """
    check_image_name(path)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def write_figure(figure: Any, path: Path) -> None:
    """Write a figure to a ``.png`` or ``.svg`` file. Raises UserError: it cannot be written."""
    write_whole(path, lambda fresh: figure.savefig(fresh, format=path.suffix[1:].lower()))


def fonts() -> list[str]:
    """Matplotlib's font, and installed fonts with characters that it lacks."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in _FALLBACKS if name in installed)]


def _words(axes: Any, alignment: Alignment, families: list[str]) -> None:
    axes.xaxis.tick_top()
    for axis, words, options in (
        (axes.xaxis, alignment.source, {"rotation": 60, "ha": "left", "va": "bottom", "rotation_mode": "anchor"}),
        (axes.yaxis, alignment.target, {}),
    ):
        axis.set_ticks(range(len(words)))
        axis.set_ticklabels(words, parse_math=False, fontsize=10, fontfamily=families, **options)
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
