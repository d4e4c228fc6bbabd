"""The report of a run, ``report.md``: its size and speed, validation metrics, sample outputs and curves."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from regard import __version__
from regard.training import pretraining
from regard.training.metric import Metric, figures_text
from regard.training.progress import Progress

_SMOOTH = 0.7
_INTERRUPTED = "None yet: training was interrupted and can be continued with `--resume`."


def write(
    run: Path,
    task: str,
    progress: Progress,
    *,
    parameters: int,
    unit: str,
    metrics: Sequence[Metric],
    best_by: str,
    samples: Sequence[str] | None,
) -> Path:
    """Write ``report.md``, and ``curves.png`` if matplotlib is installed, into a run's folder.

    Args:
        run: the folder, with ``config.yaml`` and ``metrics.jsonl``.
        task: name of the task.
        progress: the progress at which training ended.
        parameters: the number of the model's parameters.
        unit: what the loss is a mean over.
        metrics: the task's metrics.
        best_by: the name of the metric that selects the best checkpoint.
        samples: lines of Markdown with sample output of the model; None: training was interrupted, and the process
            should end soon, so that no curves are drawn either.
    """
    figures = _figures(run / "metrics.jsonl")
    validations = [line for line in figures if any(name.startswith("valid_") for name in line)]
    parts = [f"# {task}: {run.name}", _summary(progress, parameters, unit, metrics)]
    if samples is not None and find_spec("matplotlib") is not None and figures:
        _draw(figures, validations, run / "curves.png")
        parts.append("![Loss, validation and learning rate](curves.png)")
    if pretraining.begun(run):
        parts += ["## Pretraining", f"It {pretraining.summary(run)}."]
    parts += [
        "## Validation",
        _table(validations, {metric.name: metric for metric in metrics}, best_by),
        "## Samples",
        _INTERRUPTED if samples is None else "\n".join(samples) or "None.",
    ]
    parts += ["## Settings", f"```yaml\n{(run / 'config.yaml').read_text(encoding='utf-8')}```"]
    path = run / "report.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _summary(progress: Progress, parameters: int, unit: str, metrics: Sequence[Metric]) -> str:
    speed = progress.tokens / max(progress.seconds, 1e-9)
    compiling = f" and {progress.compiling / 60:.1f} of compiling" if progress.compiling else ""
    complete = f"{progress.spent / 60:.1f} with validation{compiling}"
    lines = [
        f"- {parameters:,} parameters, {progress.step:,} steps over {progress.tokens:,} {unit}",
        f"- {progress.seconds / 60:.1f} minutes of training steps, {complete}; {speed:,.0f} {unit} per second",
        "- last validation: " + (", ".join(figures_text(progress.figures, metrics)) or "–"),
        f"- regard {__version__}, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{torch.get_num_threads()} threads, {platform.machine()}",
    ]
    return "\n".join(lines)


def _figures(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    figures = []
    for line in path.read_text().splitlines():
        try:
            figures.append(json.loads(line))
        except ValueError:
            continue  # truncated by a kill
    return figures


def _table(validations: list[dict[str, Any]], metrics: dict[str, Metric], best_by: str) -> str:
    """The validations as a table of Markdown, with the best one in bold, and how each metric is computed."""
    if not validations:
        return "None."
    names = [name.removeprefix("valid_") for name in validations[-1] if name.startswith("valid_")]
    known = [metrics.get(name, Metric(name)) for name in names]
    rows = [["step", "epoch", *names], ["---:"] * (2 + len(names))]
    best = max(validations, key=lambda line: _rank(line, metrics[best_by]))
    for line in validations:
        cells = [metric.number(_value(line, metric.name)) for metric in known]
        row = [f"{line['step']:,}", str(line["epoch"] + 1), *cells]
        rows.append([f"**{cell}**" for cell in row] if line is best else row)
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = [f"- {metric.described()}" for metric in known]
    return f"{table}\n\nIn bold: the best validation by {best_by}.\n\n" + "\n".join(notes)


def _value(line: dict[str, Any], name: str) -> float:
    value = line.get(f"valid_{name}")
    return float("nan") if value is None else float(value)


def _rank(line: dict[str, Any], metric: Metric) -> tuple[float, float]:
    return metric.rank(_value(line, metric.name), _value(line, "loss"))


def _draw(figures: list[dict[str, Any]], validations: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [line["step"] for line in figures if "loss" in line]
    losses, smooth = [line["loss"] for line in figures if "loss" in line], list[float]()
    for loss in losses:
        smooth.append(loss if not smooth else _SMOOTH * smooth[-1] + (1 - _SMOOTH) * loss)
    left.plot(steps, losses, color="#c6dbef", linewidth=0.8)
    left.plot(steps, smooth, color="#2171b5", label="training loss")
    at = [line["step"] for line in validations]
    left.plot(
        at, [line.get("valid_loss") for line in validations], color="#d94801", marker=".", label="validation loss"
    )
    left.set(xlabel="step", ylabel="loss")
    left.legend(fontsize=8)
    others = [n for n in (validations[-1] if validations else ()) if n.startswith("valid_") and n != "valid_loss"]
    for name in others:
        right.plot(at, [line.get(name) for line in validations], marker=".", label=name.removeprefix("valid_"))
    if not others:
        right.plot(steps, [line["rate"] for line in figures if "loss" in line], color="#238b45", label="learning rate")
    right.set(xlabel="step")
    right.legend(fontsize=8)
    figure.savefig(path)
