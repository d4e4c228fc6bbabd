"""Scores of attributions as bars, one panel for each score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regard.explain.draw import new_figure, write_figure

_GOOD, _BASE = "#2f6fb3", "#b8bfc9"


def save_scores(scores: Mapping[str, Mapping[str, float]], notes: Mapping[str, str], path: Path, *, title: str) -> None:
    """Draw scores: a panel for each, a bar for each method, a line at the last method, the baseline.

    Args:
        scores: by score and by method; the last method is the baseline.
        notes: what is good, by score.
        path: a ``.png`` or ``.svg`` file.
        title: above all panels.

    Raises:
        UserError: see `regard.explain.draw.check_image_name`; or the file cannot be written.
    """
    methods = list(next(iter(scores.values())))
    figure = new_figure(path, 2.2 + 2.2 * len(scores), 1.1 + 0.3 * len(methods))
    figure.suptitle(title, fontsize=9, parse_math=False)
    panels = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    for axes, (name, values) in zip(panels, scores.items(), strict=True):
        colours = [_GOOD] * (len(methods) - 1) + [_BASE]
        axes.barh(range(len(methods)), list(values.values()), color=colours, height=0.7)
        axes.axvline(values[methods[-1]], color="#5b6573", linewidth=0.8, linestyle="--")
        axes.set_title(f"{name}\n({notes[name]})", fontsize=9)
        axes.set_yticks(range(len(methods)), methods, fontsize=8)
        axes.locator_params(axis="x", nbins=4)
        axes.tick_params(axis="x", labelsize=7)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].invert_yaxis()
    write_figure(figure, path)
