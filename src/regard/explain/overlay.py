"""The weights of a classifier's attention as an overlay on the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from regard.explain.draw import new_figure, write_figure


def save_overlay(image: np.ndarray, places: np.ndarray, path: Path, *, title: str) -> None:
    """Draw the image, and next to it the image in grey under the weights in colours.

    Args:
        image: uint8 ``(3, H, W)``.
        places: ``(h, w)``, the weight of each position; the colours go from the smallest to the largest weight.
        path: a ``.png`` or ``.svg`` file.
        title: a line above the images.

    Raises:
        UserError: the file name has another ending, the file cannot be written, or matplotlib is not installed.
    """
    figure = new_figure(path, 7.0, 3.9)
    left, right = figure.subplots(1, 2)
    shown = image.transpose(1, 2, 0)
    extent = (0, shown.shape[1], shown.shape[0], 0)
    left.imshow(shown, extent=extent)
    right.imshow(shown.mean(2), extent=extent, cmap="gray", vmin=0, vmax=255)
    drawn = right.imshow(places, extent=extent, cmap="inferno", alpha=0.6, interpolation="bilinear")
    figure.colorbar(drawn, ax=right, fraction=0.046).ax.tick_params(labelsize=7)
    for axes in (left, right):
        axes.set_axis_off()
    figure.suptitle(title, fontsize=11, parse_math=False)
    write_figure(figure, path)
