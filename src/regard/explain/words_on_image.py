"""Where each word of a text is on an image, by its attention: in the terminal and as a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from regard.explain.alignment import is_right_to_left
from regard.explain.documents import document, grid
from regard.explain.draw import fonts, new_figure, write_figure
from regard.explain.pictures import png
from regard.viewer.document import Axis, Document

_COLUMNS = 6
_MOST = 23
"""The largest number of words that are drawn, so that each can be seen."""


@dataclass(frozen=True, eq=False)
class WordsOnImage:
    """An image with weights of its places for each word.

    Attributes:
        text: the text.
        spans: where each word starts and ends in it.
        weights: ``(words, h, w)``; those of a word add up to 1.
        image: uint8 ``(3, H, W)``.
    """

    text: str
    spans: list[tuple[int, int]]
    weights: np.ndarray
    image: np.ndarray

    @property
    def words(self) -> list[str]:
        """The words."""
        return [self.text[start:end] for start, end in self.spans]

    def of_phrase(self, start: int, end: int) -> np.ndarray:
        """The mean weights of the words between two characters of the text, ``(h, w)``; they have one or more."""
        rows = [row for row, (first, last) in enumerate(self.spans) if first >= start and last <= end]
        weights: np.ndarray = self.weights[rows].mean(0)
        return weights

    def show(self, console: Console) -> None:
        """Print for each word the place with the largest weight, in per cent of the width and height of the image."""
        longest = max(map(len, self.words), default=0)
        for word, weights in zip(self.words, self.weights, strict=True):
            row, column = np.unravel_index(int(weights.argmax()), weights.shape)
            x, y = (column + 0.5) / weights.shape[1], (row + 0.5) / weights.shape[0]
            line = f"{word:{longest}}  {weights.max():4.0%} at {x:.0%} from the left, {y:.0%} from the top"
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    def document(self, title: str) -> Document:
        """What the viewer shows: the words, and the patches of the image that they attend to."""
        queries = Axis(tuple(self.words), right_to_left=is_right_to_left(self.words), unit="word")
        keys = grid(self.weights.shape[1:], png(self.image))
        return document(title, queries, keys, {"attention": self.weights.reshape(len(self.words), -1)})

    def save(self, path: Path, *, title: str) -> None:
        """Draw the image, and for each word the image in grey under the weights of the word in colours.

        Args:
            path: a ``.png`` or ``.svg`` file.
            title: a line above them.

        Raises:
            UserError: the file name has another ending, the file cannot be written, or matplotlib is not installed.
        """
        count = min(len(self.words), _MOST) + 1
        columns = min(count, _COLUMNS)
        rows = math.ceil(count / columns)
        figure = new_figure(path, 1.6 * columns, 1.8 * rows + 0.4, dpi=80)
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for panel in panels:
            panel.set_axis_off()
        shown = self.image.transpose(1, 2, 0)
        extent = (0, shown.shape[1], shown.shape[0], 0)
        panels[0].imshow(shown, extent=extent)
        for panel, word, weights in zip(panels[1:], self.words, self.weights, strict=False):
            panel.imshow(shown.mean(2), extent=extent, cmap="gray", vmin=0, vmax=255)
            panel.imshow(weights, extent=extent, cmap="inferno", alpha=0.6, interpolation="bilinear", vmin=0)
            panel.set_title(word, fontsize=9, parse_math=False, fontfamily=fonts())
        figure.suptitle(title, fontsize=11, parse_math=False, fontfamily=fonts())
        write_figure(figure, path)
