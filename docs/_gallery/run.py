"""Runs an entry's example, and draws the attention weights."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import Any, NamedTuple

import matplotlib
import torch
from example import SENTENCE, words
from matplotlib import mathtext
from matplotlib.figure import Figure
from table import Entry
from torch import Tensor

import regard
from regard import Look, attend
from regard.attend.attention import lower
from regard.kernels.backends import BACKENDS

# The same weights give the same file, byte for byte.
matplotlib.rcParams.update({"svg.hashsalt": "regard", "svg.fonttype": "path"})


class Example(NamedTuple):
    """An example that ran: its weights ``(Lq, Lk)``, its output, and the arguments of its last call of `attention`."""

    weights: Tensor
    printed: str
    arguments: tuple[Tensor, ...]
    options: dict[str, Any]


def run(entry: Entry) -> Example:
    """Run the example as it is shown on the page."""
    calls: list[tuple[tuple[Tensor, ...], dict[str, Any]]] = []

    def attention(*arguments: Tensor, **options: Any) -> Any:
        calls.append((arguments, options))
        return regard.attention(*arguments, **options)

    names: dict[str, Any] = {name: value for name, value in vars(attend).items() if name[0].isupper()}
    names |= {"torch": torch, "Look": Look, "words": words(), "sentence": SENTENCE, "attention": attention}
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(entry.code, f"the example of {entry.name}", "exec"), names)
    weights = names["weights"].detach()
    return Example(weights.reshape(weights.shape[-2:]), printed.getvalue(), *calls[-1])


def refusals(example: Example) -> dict[str, str | None]:
    """For each backend, why it cannot run the call of the example; None: it can."""
    options = {name: value for name, value in example.options.items() if name != "look"}
    plan, _ = lower(*example.arguments, **options)
    return {backend.name: backend.refuse(plan) for backend in BACKENDS}


def figure(weights: Tensor, title: str) -> bytes:
    """The weights as an SVG: a row for each query, a column for each key; the darker, the larger the weight."""
    canvas = Figure(figsize=(4.7, 4.7))
    axes = canvas.add_axes((0.17, 0.02, 0.81, 0.81))
    axes.imshow(weights.numpy(), cmap="Blues", vmin=0.0, vmax=1.0)
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(SENTENCE)), SENTENCE, rotation=60, ha="left", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(range(len(SENTENCE)), SENTENCE, fontsize=9)
    axes.set_xticks([at - 0.5 for at in range(1, len(SENTENCE))], minor=True)
    axes.set_yticks([at - 0.5 for at in range(1, len(SENTENCE))], minor=True)
    axes.grid(which="minor", color="#d5dbe3", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    for row, column in (weights >= 0.1).nonzero().tolist():
        weight = float(weights[row, column])
        ink = "white" if weight > 0.55 else "#1a2b45"
        axes.text(column, row, f"{weight:.1f}".removeprefix("0"), ha="center", va="center", color=ink, fontsize=7)
    canvas.text(0.0, 0.96, title, fontsize=11, fontweight="bold", color="#1a2b45")
    return _svg(canvas)


def formula(tex: str) -> bytes:
    """A formula as an SVG of the formula's size."""
    parsed = mathtext.MathTextParser("path").parse(f"${tex}$", dpi=72)
    size = 15 / 10  # mathtext lays out at 10 points
    width, height, depth = (parsed[0] * size, (parsed[1] + parsed[2]) * size, parsed[2] * size)
    canvas = Figure(figsize=((width + 8) / 72, (height + 8) / 72))
    canvas.text(4 / (width + 8), (4 + depth) / (height + 8), f"${tex}$", fontsize=15, va="baseline")
    return _svg(canvas)


def _svg(canvas: Figure) -> bytes:
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return buffer.getvalue()
