"""A sound and its text: where each character is heard, by attention and by CTC; in the terminal and as an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from regard.explain.documents import document, moments
from regard.explain.draw import fonts, new_figure, write_figure
from regard.explain.pictures import spectrogram
from regard.viewer.document import Axis, Document

_SHADES = " ░▒▓█"
_COLUMNS = 60
_LISTED = 200
"""The largest number of characters that are printed, a line for each."""


@dataclass(frozen=True, eq=False)
class Transcript:
    """The features of a sound, and the times of the characters of its text.

    Attributes:
        features: ``(frames, bands)``.
        seconds: the duration of the sound.
        step: the seconds from one step of the encoder to the next.
        pieces: the characters.
        spans: the first and last second of each, by the best path of CTC, ``(pieces, 2)``.
        weights: the attention of each over the steps, ``(pieces, steps)``; None: the model has no attention.
    """

    features: np.ndarray
    seconds: float
    step: float
    pieces: Sequence[str]
    spans: np.ndarray
    weights: np.ndarray | None

    def centres(self) -> np.ndarray:
        """The mean second of the attention of each character; without attention, the middle of its time by CTC."""
        if self.weights is None:
            return np.asarray(self.spans.mean(1))
        middles = self.step * (np.arange(self.weights.shape[1]) + 0.5)
        return np.asarray(self.weights @ middles / np.maximum(self.weights.sum(1), 1e-9))

    def show(self, console: Console) -> None:
        """Print a line for each character: its time by CTC, the mean second of its attention, and where it attends."""
        console.print(f"0 s … {self.seconds:.2f} s; time by CTC, and attention", highlight=False, style="dim")
        centres = self.centres()
        for at, piece in enumerate(self.pieces[:_LISTED]):
            start, end = self.spans[at]
            line = f"{_name(piece):>2}  {start:6.2f}–{end:5.2f}  "
            if self.weights is not None:
                line += f"{centres[at]:6.2f}  {self._bar(self.weights[at])}"
            console.print(line.rstrip(), highlight=False, markup=False, soft_wrap=True)
        if len(self.pieces) > _LISTED:
            console.print(f"… and {len(self.pieces) - _LISTED:,} more", highlight=False)

    def document(self, title: str) -> Document:
        """What the viewer shows: the characters and the steps, over the spectrogram, by attention and by CTC."""
        begins = [piece[:1] == " " for piece in self.pieces]
        blanks = [piece == " " for piece in self.pieces]
        words = accumulate(int(one or before) for before, one in zip([False, *blanks], begins, strict=False))
        queries = Axis(
            tuple(map(_name, self.pieces)), tuple(word - int(begins[0]) for word in words), unit="character",
            seconds=tuple((float(start), float(end)) for start, end in self.spans),
        )  # fmt: skip
        occupied = self._occupied()
        keys = moments(occupied.shape[1], self.step, self.seconds, spectrogram(self.features))
        steps = occupied / np.maximum(occupied.sum(1, keepdims=True), 1)
        layers = {} if self.weights is None else {"attention": self.weights}
        note = "time by CTC has equal weights for the steps of a character on the best path of CTC."
        return document(title, queries, keys, {**layers, "time by CTC": steps}, [note])

    def _bar(self, weights: np.ndarray) -> str:
        sums = np.array([part.sum() for part in np.array_split(weights, min(_COLUMNS, len(weights)))])
        levels = np.ceil(sums / max(float(sums.max()), 1e-12) * (len(_SHADES) - 1) - 0.3).astype(int)
        return "".join(_SHADES[level] for level in levels.clip(0, len(_SHADES) - 1))

    def share(self, spans: np.ndarray) -> tuple[float, float]:
        """The mean weight of the steps within the known time of each character, and what it would be by chance.

        A step counts for the part of it that is within the time. By chance: with equal weights.

        Args:
            spans: the first and last second of each character, ``(pieces, 2)``.

        >>> one = Transcript(np.zeros((8, 1)), 4.0, 1.0, "a", np.zeros((1, 2)), np.array([[0.5, 0.5, 0.0, 0.0]]))
        >>> one.share(np.array([[1.0, 2.0]]))
        (0.5, 0.25)
        """
        assert self.weights is not None
        begins = self.step * np.arange(self.weights.shape[1])
        overlap = np.minimum(begins + self.step, spans[:, 1:]) - np.maximum(begins, spans[:, :1])
        inside = overlap.clip(min=0) / self.step
        return float((self.weights * inside).sum(1).mean()), float(inside.mean())

    def save(self, path: Path, *, title: str) -> None:
        """Draw the spectrogram, and below it the characters over time: their attention, and their times by CTC.

        Args:
            path: a ``.png`` or ``.svg`` file.
            title: a line above them.

        Raises:
            UserError: the file name has another ending, the file cannot be written, or matplotlib is not installed.
        """
        count, panels = len(self.pieces), 1 if self.weights is None else 2
        height = 1.6 + panels * min(5.0, max(1.2, 0.16 * count))
        figure = new_figure(path, 9.0, height)
        ratios = (1.4, *[(height - 1.6) / panels] * panels)
        axes = figure.subplots(1 + panels, 1, sharex=True, height_ratios=ratios)
        low, high = np.percentile(self.features, (5, 99.5))
        axes[0].imshow(
            self.features.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=max(high, low + 1e-6),
            extent=(0, self.seconds, 0, self.features.shape[1]),
        )  # fmt: skip
        axes[0].set_ylabel("band", fontsize=8)
        if self.weights is not None:
            self._draw(axes[1], self.weights, "attention")
        self._draw(axes[-1], self._occupied(), "CTC")
        axes[-1].set_xlim(0, self.seconds)
        axes[-1].set_xlabel("seconds", fontsize=8)
        axes[0].tick_params(labelsize=7)
        figure.suptitle(title, fontsize=11, parse_math=False, fontfamily=fonts())
        write_figure(figure, path)

    def _occupied(self) -> np.ndarray:
        """1 for the steps of each character on the best path of CTC: ``(pieces, steps)``."""
        steps = max(1, round(self.seconds / self.step)) if self.weights is None else self.weights.shape[1]
        middles = self.step * (np.arange(steps) + 0.5)
        return ((middles > self.spans[:, :1]) & (middles < self.spans[:, 1:])).astype(float)

    def _draw(self, axes: Any, weights: np.ndarray, name: str) -> None:
        count = len(self.pieces)
        axes.imshow(
            weights, aspect="auto", cmap="Blues", vmin=0.0, interpolation="nearest",
            extent=(0, self.step * weights.shape[1], count - 0.5, -0.5),
        )  # fmt: skip
        every = max(1, count // 40)
        axes.set_yticks(range(0, count, every))
        names = [_name(piece) for piece in self.pieces[::every]]
        axes.set_yticklabels(names, parse_math=False, fontsize=7, fontfamily=fonts())
        axes.tick_params(axis="x", labelsize=7)
        axes.set_ylabel(name, fontsize=8)


def _name(piece: str) -> str:
    return "␣" if piece == " " else piece
