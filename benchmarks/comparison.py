"""What benchmarks that compare trained models share: training that goes on where it was stopped, and their table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regard.tasks.running import resume, train

_CELL = 18


def trained(task: str, config: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]], run: Path) -> None:
    """Train a model, or what is left of its training; ``changes`` are settings by section, in place of the config's."""
    if run.exists():
        resume(run)
    else:
        train(task, {**config, **{name: config.get(name, {}) | change for name, change in changes.items()}}, run)


def header(columns: Sequence[str], width: int) -> str:
    """The first line of a table; ``width``: of the names of the models."""
    return f"{'':{width}}" + "".join(f"{name:>{_CELL}}" for name in columns)


def row(name: str, results: Sequence[Mapping[str, float]], columns: Sequence[str], width: int) -> str:
    """A line of a table: the mean of each score, and the lowest and highest of several seeds.

    Args:
        name: of the model.
        results: the scores of each seed.
        columns: the names of the scores that are shown.
        width: of the names of the models.
    """
    cells = []
    for score in columns:
        values = [result[score] for result in results if score in result]
        spread = f" ({min(values):.1f}–{max(values):.1f})" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.2f}{spread}" if values else "–")
    return f"{name:{width}}" + "".join(f"{cell:>{_CELL}}" for cell in cells)
