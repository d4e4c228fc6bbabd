"""A sound whose moments have weights: in the terminal, and as an image with its features above the weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from regard.explain.documents import Keys, moments
from regard.explain.draw import new_figure, write_figure
from regard.explain.pictures import spectrogram

_BARS = "▁▂▃▄▅▆▇█"
_COLUMNS = 60
_NAMED = 3


def bars(weights: np.ndarray) -> str:
    """A bar for each part of a sequence of weights, at most 60.

    >>> bars(np.array([0.0, 0.5, 1.0]))
    '▁▅█'
    """
    columns = min(_COLUMNS, len(weights))
    sums = np.array([part.sum() for part in np.array_split(weights, columns)])
    levels = np.round(sums / max(float(sums.max()), 1e-12) * (len(_BARS) - 1)).astype(int)
    return "".join(_BARS[level] for level in levels)


def strongest(weights: np.ndarray) -> list[int]:
    """The places of the largest weights, the largest first: at most three, each of at least 0.5 %."""
    order = np.argsort(-weights, kind="stable")[:_NAMED]
    return [int(at) for at in order if weights[at] >= 0.005]


def draw_weights(axes: Any, weights: np.ndarray, step: float, unit: str) -> None:
    """Draw the weights of a sequence, each ``step`` of ``unit`` wide."""
    edges = step * np.arange(len(weights) + 1)
    axes.stairs(weights, edges, fill=True, color="#08519c")
    axes.set_ylim(0, None)
    axes.set_ylabel("attention", fontsize=8)
    axes.set_xlabel(unit, fontsize=8)
    axes.tick_params(labelsize=7)


@dataclass(frozen=True, eq=False)
class Timeline:
    """The features of a sound, and the weight of each moment.

    Attributes:
        features: ``(frames, bands)``.
        weights: ``(moments,)``, their sum is 1.
        seconds: the duration of the sound.
        step: the seconds from one moment to the next.
    """

    features: np.ndarray
    weights: np.ndarray
    seconds: float
    step: float

    def show(self, console: Console) -> None:
        """Print a bar for each part of the sound, and the moments with the largest weights."""
        for line in self.lines():
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    def lines(self) -> tuple[str, str]:
        """A bar for each part of the sound, and the moments with the largest weights."""
        return f"0 s {bars(self.weights)} {self.seconds:.2f} s", self.strongest()

    def strongest(self) -> str:
        """The moments with the largest weights in one line."""
        moments = (f"{at * self.step:.2f} s {self.weights[at]:.0%}" for at in strongest(self.weights))
        return f"attention: {', '.join(moments)}"

    def keys(self) -> dict[str, Keys]:
        """See `regard.explain.documents.Keys`: the moments, over the spectrogram."""
        axis = moments(len(self.weights), self.step, self.seconds, spectrogram(self.features))
        return {"attention": (axis, self.weights)}

    def share(self, start: float, end: float) -> tuple[float, float]:
        """The weight of the moments between two seconds, and what it would be with equal weights.

        >>> Timeline(np.zeros((8, 1)), np.array([0.5, 0.5, 0.0, 0.0]), 4.0, 1.0).share(1.0, 2.0)
        (0.5, 0.25)
        """
        begins = self.step * np.arange(len(self.weights))
        inside = (begins < end - 1e-9) & (begins + self.step > start + 1e-9)
        return float(self.weights[inside].sum()), float(inside.mean())

    def save(self, path: Path, *, title: str) -> None:
        """Draw the features, and below them the weights.

        Args:
            path: a ``.png`` or ``.svg`` file.
            title: a line above them.

        Raises:
            UserError: the file name has another ending, the file cannot be written, or matplotlib is not installed.
        """
        figure = new_figure(path, 8.0, 4.2)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        low, high = np.percentile(self.features, (5, 99.5))
        above.imshow(
            self.features.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=max(high, low + 1e-6),
            extent=(0, self.seconds, 0, self.features.shape[1]),
        )  # fmt: skip
        above.set_ylabel("band", fontsize=8)
        above.tick_params(labelsize=7)
        draw_weights(below, self.weights, self.step, "seconds")
        below.set_xlim(0, self.seconds)
        figure.suptitle(title, fontsize=11, parse_math=False)
        write_figure(figure, path)
