"""Boxes drawn over an image, and what the query of each attended to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regard.explain.draw import fonts, new_figure, write_figure

Boxes = Sequence[tuple[str, tuple[float, float, float, float]]]
"""A text and the left, top, right and bottom edge in pixels, of each box."""

_COLUMNS, _MOST = 4, 11
_PANEL = 2.6
"""Inches."""


def save_boxes(image: np.ndarray, boxes: Boxes, path: Path) -> None:
    """Draw an image with boxes.

    Args:
        image: uint8 ``(3, H, W)``.
        boxes: see `Boxes`.
        path: a ``.png`` or ``.svg`` file.

    Raises:
        UserError: the file name has another ending, the file cannot be written, or matplotlib is not installed.
    """
    height, width = image.shape[1:]
    figure = new_figure(path, 6.0, 6.0 * height / width + 0.2, dpi=130)
    axes = figure.subplots()
    _show(axes, image)
    for number, (text, box) in enumerate(boxes):
        _frame(axes, box, f"C{number % 10}", text)
    write_figure(figure, path)


def save_attended(image: np.ndarray, boxes: Boxes, places: Sequence[np.ndarray], path: Path) -> None:
    """Draw an image with boxes, and beside it in grey for each box, under the weights of its query in colours.

    Args:
        image: uint8 ``(3, H, W)``.
        boxes: see `Boxes`; the first eleven are drawn.
        places: the weights for each box, ``(h, w)``, over the square whose top left is the image.
        path: a ``.png`` or ``.svg`` file.

    Raises:
        UserError: see `save_boxes`.
    """
    shown = min(len(places), _MOST)
    columns = min(_COLUMNS, shown + 1)
    rows = -(-(shown + 1) // columns)
    figure = new_figure(path, _PANEL * columns, (_PANEL + 0.3) * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    _show(panels[0], image)
    side = max(image.shape[1:])
    for number, (axes, (text, box), weights) in enumerate(zip(panels[1:], boxes, places, strict=False)):
        _frame(panels[0], box, f"C{number % 10}", None)
        grey = image.mean(0)
        axes.imshow(grey, extent=(0, image.shape[2], image.shape[1], 0), cmap="gray", vmin=0, vmax=255)
        axes.imshow(weights, extent=(0, side, side, 0), cmap="inferno", alpha=0.6, interpolation="bilinear")
        axes.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))
        _frame(axes, box, f"C{number % 10}", None)
        axes.set_title(text, fontsize=8, parse_math=False, fontfamily=fonts())
    write_figure(figure, path)


def _show(axes: Any, image: np.ndarray) -> None:
    axes.set_axis_off()
    axes.imshow(image.transpose(1, 2, 0), extent=(0, image.shape[2], image.shape[1], 0))


def _frame(axes: Any, box: tuple[float, float, float, float], color: str, text: str | None) -> None:
    from matplotlib.patches import Rectangle

    left, top, right, bottom = box
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=color, linewidth=1.5))
    if text is not None:
        axes.text(left, top, text, fontsize=7, color="white", va="bottom", parse_math=False, fontfamily=fonts(),
                  bbox={"facecolor": color, "edgecolor": "none", "pad": 1})  # fmt: skip
