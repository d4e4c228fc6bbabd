"""A clip whose frames, and the joints or patches in them, have weights: in the terminal and as an image."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.console import Console

from regard.explain.documents import Keys, cells
from regard.explain.draw import new_figure, write_figure
from regard.explain.pictures import png, skeleton
from regard.explain.timeline import bars, draw_weights, strongest
from regard.viewer.document import Axis

_SHOWN = 6
"""The number of frames that are drawn."""
_AROUND = 0.03
"""How far a joint reaches on an image of it, whose sides are 1."""


@dataclass(frozen=True, eq=False)
class Film:
    """A clip with weights; a subclass draws a frame.

    Attributes:
        places: ``(frames, places)``, the weight of each place of each frame; their sum is 1.
    """

    unit: ClassVar[str]
    units: ClassVar[str]
    """A place, and several of them, in a word."""

    places: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """The weight of each frame, ``(frames,)``."""
        weights: np.ndarray = self.places.sum(1)
        return weights

    @property
    def drawn(self) -> list[int]:
        """The frames that are drawn: the one with the largest weight, and others at equal distances."""
        count, peak = len(self.places), int(self.weights.argmax())
        step = max(1, count // _SHOWN)
        return list(range(peak % step, count, step))[:_SHOWN] if count > _SHOWN else list(range(count))

    @property
    def _shares(self) -> np.ndarray:
        """The weights of the places of the frame with the largest weight, as shares of its weight, ``(places,)``."""
        weights = self.places[int(self.weights.argmax())]
        shares: np.ndarray = weights / max(float(weights.sum()), 1e-12)
        return shares

    @abstractmethod
    def strongest(self) -> str:
        """The places of the frame with the largest weight that have the largest weights, in one line."""

    def keys(self) -> dict[str, Keys]:
        """See `regard.explain.documents.Keys`: the frames, and the places of all frames."""
        count = len(self.places)
        pictures = tuple(map(self.picture, range(count)))
        frames = tuple(f"frame {at + 1}" for at in range(count))
        whole = tuple((at, 0.0, 0.0, 1.0, 1.0) for at in range(count))
        spots = [(f"{frames[at]}, {name}", (at, *edges)) for at in range(count) for name, edges in self.spots(at)]
        labels, places = zip(*spots, strict=True)
        return {
            "frames": (Axis(frames, unit="frame", pictures=pictures, places=whole), self.weights),
            self.units: (Axis(labels, unit=self.unit, pictures=pictures, places=places), self.places.reshape(-1)),
        }

    @abstractmethod
    def picture(self, frame: int) -> str:
        """The address of an image of a frame."""

    @abstractmethod
    def spots(self, frame: int) -> Sequence[tuple[str, tuple[float, float, float, float]]]:
        """The name of each place of a frame, and its left, top, right and bottom on the image, from 0 to 1."""

    @abstractmethod
    def draw_frame(self, axes: Any, frame: int) -> None:
        """Draw a frame, with the weights of its places in colours."""

    def on_frames(self, start: int, end: int) -> tuple[float, float]:
        """The weight of the frames from ``start`` to before ``end``, and what it would be with equal weights."""
        return float(self.weights[start:end].sum()), (end - start) / len(self.places)

    def on_places(self, decide: np.ndarray) -> tuple[float, float]:
        """The weight of the places ``decide``, bool ``(places,)``, in all frames; and what it would be likewise.

        >>> film = PoseFilm(np.array([[0.0, 0.2], [0.3, 0.5]]), np.zeros((2, 2, 2)), ("a", "b"), ())
        >>> film.on_places(np.array([False, True])), film.on_frames(1, 2)
        ((0.7, 0.5), (0.8, 0.5))
        """
        return float(self.places[:, decide].sum()), float(decide.mean())

    def show(self, console: Console) -> None:
        """Print a bar for each part of the clip, the frames with the largest weights, and the places of the first."""
        best = strongest(self.weights)
        frames = ", ".join(f"frame {at + 1} {self.weights[at]:.0%}" for at in best)
        for line in (
            f"1 {bars(self.weights)} {len(self.places)}",
            f"attention: {frames}",
            f"in frame {best[0] + 1}: {self.strongest()}" if best else "",
        ):
            if line:
                console.print(line, highlight=False, markup=False, soft_wrap=True)

    def save(self, path: Path, *, title: str) -> None:
        """Draw some frames with the weights of their places, and below them the weights of all frames.

        Args:
            path: a ``.png`` or ``.svg`` file.
            title: a line above them.

        Raises:
            UserError: the file name has another ending, the file cannot be written, or matplotlib is not installed.
        """
        figure = new_figure(path, 8.0, 4.0)
        parts: Any = figure.subfigures(2, 1, height_ratios=(2, 1))
        above, below = parts
        peak = int(self.weights.argmax())
        for axes, frame in zip(above.subplots(1, len(self.drawn), squeeze=False)[0], self.drawn, strict=True):
            self.draw_frame(axes, frame)
            axes.set_axis_off()
            axes.set_title(f"frame {frame + 1}", fontsize=8, fontweight="bold" if frame == peak else "normal")
        axes = below.subplots()
        draw_weights(axes, self.weights, 1.0, "frame")
        axes.set_xlim(0, len(self.weights))
        axes.set_xticks([frame + 0.5 for frame in self.drawn], [str(frame + 1) for frame in self.drawn])
        figure.suptitle(title, fontsize=11, parse_math=False)
        write_figure(figure, path)


@dataclass(frozen=True, eq=False)
class PoseFilm(Film):
    """Poses with weights.

    Attributes:
        joints: ``(frames, joints, dims)``, y downwards.
        names: of the joints.
        bones: the numbers of the two joints of each.
    """

    unit, units = "joint", "joints"

    joints: np.ndarray
    names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]

    def strongest(self) -> str:
        """See `Film`."""
        weights = self._shares
        return ", ".join(f"{self.names[at]} {weights[at]:.0%}" for at in strongest(weights))

    def picture(self, frame: int) -> str:
        """See `Film`."""
        return skeleton(self._within(frame), self.bones)

    def spots(self, frame: int) -> list[tuple[str, tuple[float, float, float, float]]]:
        """See `Film`."""
        points = self._within(frame).tolist()
        boxes = ((x - _AROUND, y - _AROUND, x + _AROUND, y + _AROUND) for x, y in points)
        return list(zip(self.names, boxes, strict=True))

    def _within(self, frame: int) -> np.ndarray:
        """The joints of a frame in a square with room for those of all frames, ``(joints, 2)``, from 0 to 1."""
        low, high = self.joints[..., :2].min((0, 1)), self.joints[..., :2].max((0, 1))
        side = 1.1 * max(float((high - low).max()), 1e-6)
        points: np.ndarray = (self.joints[frame, :, :2] - (low + high) / 2) / side + 0.5
        return points

    def draw_frame(self, axes: Any, frame: int) -> None:
        """See `Film`. The darker and larger a joint, the larger its weight in the whole clip."""
        x, y = self.joints[frame, :, :2].T
        for one, other in self.bones:
            axes.plot(x[[one, other]], y[[one, other]], color="#9aa5b1", linewidth=1.5, zorder=1)
        relative = self.places[frame] / max(float(self.places.max()), 1e-12)
        axes.scatter(
            x, y, s=8 + 60 * relative, c=relative, cmap="YlOrRd", vmin=-0.1, vmax=1, edgecolors="#5b6673",
            linewidths=0.3, zorder=2,
        )  # fmt: skip
        low, high = self.joints[..., :2].min((0, 1)), self.joints[..., :2].max((0, 1))
        axes.set_xlim(low[0] - 0.05 * (high - low)[0], high[0] + 0.05 * (high - low)[0])
        axes.set_ylim(high[1] + 0.05 * (high - low)[1], low[1] - 0.05 * (high - low)[1])
        axes.set_aspect("equal")


@dataclass(frozen=True, eq=False)
class FrameFilm(Film):
    """Frames with weights of their patches, which are in rows.

    Attributes:
        frames: uint8 ``(frames, 3, H, W)``.
    """

    unit, units = "patch", "patches"

    frames: np.ndarray

    def picture(self, frame: int) -> str:
        """See `Film`."""
        return png(self.frames[frame])

    def spots(self, frame: int) -> list[tuple[str, tuple[float, float, float, float]]]:
        """See `Film`."""
        return cells((self._side, self._side))

    @property
    def _side(self) -> int:
        return math.isqrt(self.places.shape[1])

    def strongest(self) -> str:
        """See `Film`."""
        weights = self._shares
        at = (divmod(place, self._side) + (weights[place],) for place in strongest(weights))
        return ", ".join(f"patch {row + 1}, {column + 1} {weight:.0%}" for row, column, weight in at)

    def draw_frame(self, axes: Any, frame: int) -> None:
        """See `Film`: the frame in grey under its weights."""
        shown = self.frames[frame].mean(0)
        extent = (0, shown.shape[1], shown.shape[0], 0)
        axes.imshow(shown, extent=extent, cmap="gray", vmin=0, vmax=255)
        weights = self.places[frame].reshape(self._side, self._side)
        axes.imshow(
            weights, extent=extent, cmap="inferno", alpha=0.55, vmin=0, vmax=max(float(self.places.max()), 1e-12)
        )
