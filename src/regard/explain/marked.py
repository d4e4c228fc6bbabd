"""A text whose words are coloured by their attention: in the terminal and as an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from regard.explain.alignment import is_right_to_left
from regard.explain.documents import Keys
from regard.explain.draw import check_image_name, fonts
from regard.explain.terminal import isolated
from regard.files import write_whole
from regard.viewer.document import Axis

_BLUE, _DARK = (8, 81, 156), (26, 43, 69)
_LIGHT = 0.68
"""The level from which letters are white."""
_NAMED = 5
_WIDTH, _LINE, _GAP = 7.5, 0.3, 0.05
"""Of an image: its width, the height of a line, and the space between words, in inches."""


@dataclass(frozen=True, eq=False)
class MarkedText:
    """A text and the weight of each word.

    Attributes:
        text: the text.
        spans: where each word starts and ends.
        weights: ``(len(spans),)``, from 0 to 1.
        unit: what a part is that has a weight, such as a word.
    """

    text: str
    spans: Sequence[tuple[int, int]]
    weights: np.ndarray
    unit: str = "word"

    def show(self, console: Console) -> None:
        """Print the text with coloured words, and the words with the largest weights, for terminals without colour."""
        line, end = Text(), 0
        for (start, stop), level in zip(self.spans, self.levels(), strict=True):
            line.append(self.text[end:start])
            red, green, blue = _blend(level)
            ink = "white" if level > _LIGHT else "black"
            line.append(self.text[start:stop], f"{ink} on rgb({red},{green},{blue})" if level >= 0.05 else "")
            end = stop
        line.append(self.text[end:])
        console.print(line, soft_wrap=True)
        console.print(self.strongest(), highlight=False, markup=False, soft_wrap=True)

    def strongest(self) -> str:
        """The words with the largest weights in one line."""
        order = np.argsort(-self.weights, kind="stable")[:_NAMED]
        words = (f"{isolated(self.text[slice(*self.spans[at])])} {self.weights[at]:.0%}" for at in order
                 if self.weights[at] >= 0.005)  # fmt: skip
        return f"attention: {', '.join(words)}"

    def keys(self) -> dict[str, Keys]:
        """See `regard.explain.documents.Keys`: the words."""
        words = tuple(self.text[start:end] for start, end in self.spans)
        return {"attention": (Axis(words, right_to_left=is_right_to_left(words), unit=self.unit), self.weights)}

    def levels(self) -> np.ndarray:
        """The weights relative to the largest one, which sets the strength of the colour."""
        return np.asarray(self.weights / max(float(self.weights.max(initial=0.0)), 1e-12))

    def save(self, path: Path, *, title: str) -> None:
        """Draw the text with coloured words.

        Args:
            path: a ``.png`` or ``.svg`` file.
            title: a line above the text.

        Raises:
            UserError: the file name has another ending, the file cannot be written, or matplotlib is not installed.
        """
        check_image_name(path)
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(_WIDTH, 1.0), dpi=150)
        renderer = FigureCanvasAgg(figure).get_renderer()
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        height = self._place(axes, renderer)
        if title:
            axes.set_title(title, loc="left", pad=10, parse_math=False, fontsize=11, fontfamily=fonts())
        figure.set_size_inches(_WIDTH, height)
        write_whole(path, lambda fresh: figure.savefig(
            fresh, format=path.suffix[1:].lower(), bbox_inches="tight", pad_inches=0.12))  # fmt: skip

    def _place(self, axes: Any, renderer: Any) -> float:
        """Put the words into lines from the left; returns the height of all lines in inches."""
        x = y = 0.0
        end = 0
        for (start, stop), level in zip(self.spans, self.levels(), strict=True):
            spaced, end = start > end, stop
            colour = "white" if level > _LIGHT else tuple(part / 255 for part in _DARK)
            label = axes.annotate(
                self.text[start:stop], (0, 1), (0, 0), xycoords="axes fraction", textcoords="offset points",
                ha="left", va="top", fontsize=12, color=colour, fontfamily=fonts(), parse_math=False,
                bbox={"boxstyle": "square,pad=0.12", "lw": 0, "color": tuple(part / 255 for part in _blend(level))},
            )  # fmt: skip
            width = label.get_window_extent(renderer).width / axes.figure.dpi
            if x and x + width > _WIDTH:
                x, y = 0.0, y + _LINE
            elif spaced and x:
                x += _GAP
            label.xyann = (x * 72, -y * 72)
            x += width + _GAP / 2
        return y + _LINE


def _blend(level: float) -> tuple[int, int, int]:
    """The colour of a level from 0, white, to 1, dark blue."""
    red, green, blue = (round(255 + (part - 255) * float(level)) for part in _BLUE)
    return red, green, blue
