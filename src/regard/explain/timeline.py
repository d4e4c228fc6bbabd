"""A sound whose moments have weights: in the terminal, and as an image with its features above the weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from regard.explain.draw import check_image_name
from regard.files import write_whole

_BARS = "▁▂▃▄▅▆▇█"
_COLUMNS = 60
_NAMED = 3


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
        columns = min(_COLUMNS, len(self.weights))
        sums = np.array([part.sum() for part in np.array_split(self.weights, columns)])
        levels = np.round(sums / max(float(sums.max()), 1e-12) * (len(_BARS) - 1)).astype(int)
        bars = "".join(_BARS[level] for level in levels)
        console.print(f"0 s {bars} {self.seconds:.2f} s", highlight=False, markup=False, soft_wrap=True)
        console.print(self.strongest(), highlight=False, markup=False, soft_wrap=True)

    def strongest(self) -> str:
        """The moments with the largest weights in one line."""
        order = np.argsort(-self.weights, kind="stable")[:_NAMED]
        moments = (f"{at * self.step:.2f} s {self.weights[at]:.0%}" for at in order if self.weights[at] >= 0.005)
        return f"attention: {', '.join(moments)}"

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
        check_image_name(path)
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.0, 4.2), dpi=120, layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        low, high = np.percentile(self.features, (5, 99.5))
        above.imshow(
            self.features.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=max(high, low + 1e-6),
            extent=(0, self.seconds, 0, self.features.shape[1]),
        )  # fmt: skip
        above.set_ylabel("band", fontsize=8)
        edges = self.step * np.arange(len(self.weights) + 1)
        below.stairs(self.weights, edges, fill=True, color="#08519c")
        below.set_xlim(0, self.seconds)
        below.set_ylim(0, None)
        below.set_ylabel("attention", fontsize=8)
        below.set_xlabel("seconds", fontsize=8)
        for axes in (above, below):
            axes.tick_params(labelsize=7)
        figure.suptitle(title, fontsize=11, parse_math=False)
        write_whole(path, lambda fresh: figure.savefig(fresh, format=path.suffix[1:].lower()))
