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

# The same picture from the same weights, byte for byte.
matplotlib.rcParams.update({"svg.hashsalt": "regard", "svg.fonttype": "path"})


class Ran(NamedTuple):
    """What an example left: its weights ``(Lq, Lk)``, what it printed, and its last call of `attention`."""

    weights: Tensor
    printed: str
    arguments: tuple[Tensor, ...]
    options: dict[str, Any]


def run(entry: Entry) -> Ran:
    """Run the example as it stands on the page."""
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
    return Ran(weights.reshape(weights.shape[-2:]), printed.getvalue(), *calls[-1])


def refusals(ran: Ran) -> dict[str, str | None]:
    """For each backend, why it refuses the example's call; None: it runs it."""
    options = {name: value for name, value in ran.options.items() if name != "look"}
    plan, _ = lower(*ran.arguments, **options)
    return {backend.name: backend.refuse(plan) for backend in BACKENDS}


def picture(weights: Tensor, title: str) -> bytes:
    """The weights as an SVG: a row a query, a column a key, the darker the more."""
    figure = Figure(figsize=(4.7, 4.7))
    axes = figure.add_axes((0.17, 0.02, 0.81, 0.81))
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
    figure.text(0.0, 0.96, title, fontsize=11, fontweight="bold", color="#1a2b45")
    return _svg(figure)


def formula(tex: str) -> bytes:
    """A formula as an SVG of its own size."""
    parsed = mathtext.MathTextParser("path").parse(f"${tex}$", dpi=72)
    size = 15 / 10  # mathtext lays out at 10 points
    width, height, depth = (parsed[0] * size, (parsed[1] + parsed[2]) * size, parsed[2] * size)
    figure = Figure(figsize=((width + 8) / 72, (height + 8) / 72))
    figure.text(4 / (width + 8), (4 + depth) / (height + 8), f"${tex}$", fontsize=15, va="baseline")
    return _svg(figure)


def _svg(figure: Figure) -> bytes:
    held = io.BytesIO()
    figure.savefig(held, format="svg", metadata={"Date": None}, transparent=True)
    return held.getvalue()
