"""Tokens per second when generating one text: regard's model with its cache, the same model without a cache, and a
plain implementation with a preallocated cache on PyTorch's ``scaled_dot_product_attention``.

    python benchmarks/generation.py [--steps 100] [--write]

It takes two minutes; ``--write`` also writes the table to ``results/generation.txt``. The prompt has 256 or 4,096
tokens. The logits of the two implementations are compared first. The three are timed in turn, step by step, and the
median step counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import machine
from torch import Tensor
from torch.nn import functional as F

from regard.kernels.cpu import library
from regard.models.language import TransformerLM

SIZE, DIM, LAYERS, HEADS, KEY_HEADS, HIDDEN = 4000, 256, 6, 8, 2, 688


class Plain:
    """The same weights, run with `scaled_dot_product_attention` and a preallocated cache."""

    def __init__(self, model: TransformerLM, length: int):
        self.model, self.width = model, DIM // HEADS
        self.cache = [torch.zeros(2, 1, KEY_HEADS, length, self.width) for _ in model.layers]
        rates = 10_000.0 ** (-torch.arange(0, self.width, 2) / self.width)
        angles = torch.arange(length)[:, None] * rates
        self.cos, self.sin = angles.cos(), angles.sin()

    def step(self, tokens: Tensor, start: int) -> Tensor:
        """Logits after ``tokens`` ``(1, n)``, the first of which is at position ``start``."""
        x, end = self.model.embedding(tokens), start + tokens.shape[1]
        layer: Any
        for layer, (keys, values) in zip(self.model.layers, self.cache, strict=True):
            y, a = layer.around_attend.norm(x), layer.attend
            q, k, v = (part(y).unflatten(-1, (-1, self.width)).transpose(1, 2) for part in (a.query, a.key, a.value))
            keys[:, :, start:end], values[:, :, start:end] = self.rotate(k, start, end), v
            heads = F.scaled_dot_product_attention(
                self.rotate(q, start, end), keys[:, :, :end], values[:, :, :end], is_causal=start == 0, enable_gqa=True
            )
            x = x + a.output(heads.transpose(1, 2).flatten(2))
            x = x + layer.feed(layer.around_feed.norm(x))
        return F.linear(self.model.norm(x)[:, -1], self.model.embedding.weight, self.model.output_bias)

    def rotate(self, x: Tensor, start: int, end: int) -> Tensor:
        """Apply rotary positions ``start`` to ``end``."""
        one, two = x.chunk(2, -1)
        cos, sin = self.cos[start:end], self.sin[start:end]
        return torch.cat([one * cos - two * sin, two * cos + one * sin], -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help="number of timed steps with a cache")
    parser.add_argument("--write", action="store_true", help="also write the table to results/generation.txt")
    arguments = parser.parse_args()
    lines = [f"{machine()}; kernels' level: {library.level}"]
    lines.append(
        f"{LAYERS} layers of {DIM}, {HEADS} query and {KEY_HEADS} key heads; tokens per second, one text, float32"
    )
    lines.append(
        f"{'prompt length':>14} {'with cache':>12} {'plain SDPA':>12} {'ratio':>6} {'no cache':>10} {'ratio':>7}"
    )
    torch.manual_seed(0)
    model = TransformerLM(
        SIZE, dim=DIM, layers=LAYERS, heads=HEADS, key_heads=KEY_HEADS, hidden=HIDDEN, gated=True
    ).eval()  # fmt: skip
    with torch.inference_mode():
        for length in (256, 4096):
            lines.append(row(model, length, arguments.steps))
    print("\n".join(lines))
    if arguments.write:
        (Path(__file__).parent / "results" / "generation.txt").write_text("\n".join(lines) + "\n")


def row(model: TransformerLM, length: int, steps: int) -> str:
    """The line of the table for prompts of ``length`` tokens."""
    prompt, capacity = torch.randint(0, SIZE, (1, length)), length + steps + 1
    state, plain = model.start(1, length=capacity), Plain(model, capacity)
    ours, theirs = model.step(prompt, state).logits, plain.step(prompt, 0)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    text = prompt
    times: dict[str, list[float]] = {"cache": [], "plain": [], "none": []}

    def timed(name: str, call: Callable[[], Tensor]) -> Tensor:
        began = time.perf_counter()
        logits = call()
        times[name].append(time.perf_counter() - began)
        return logits

    for at in range(steps):
        token = ours.argmax(-1)
        text = torch.cat([text, token[:, None]], 1)
        if at < max(3, 2000 // length):  # a step without a cache takes long
            timed("none", lambda text=text: model.step(text, model.start(1, length=capacity)).logits)  # type: ignore[misc]
        ours = timed("cache", lambda token=token: model.step(token, state).logits)  # type: ignore[misc]
        timed("plain", lambda token=token, at=at: plain.step(token[:, None], length + at))  # type: ignore[misc]
    speed = {name: 1 / statistics.median(seconds) for name, seconds in times.items()}
    return (
        f"{length:>14,} {speed['cache']:>12.0f} {speed['plain']:>12.0f} {speed['cache'] / speed['plain']:>6.2f} "
        f"{speed['none']:>10.1f} {speed['cache'] / speed['none']:>7.1f}"
    )


if __name__ == "__main__":
    main()
