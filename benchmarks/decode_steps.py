"""A decoding step of attention, one query, from one cached key on, compared with PyTorch's SDPA.

    python benchmarks/decode_steps.py [--write]

It takes two minutes. Both run in the same process, in turn, from Python; a figure is PyTorch's median time divided by
ours.
``--write`` also writes the tables, with our times in microseconds, to ``results/decode_steps.txt``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from machine import machine
from torch.nn.functional import scaled_dot_product_attention as sdpa

from regard import Lengths, attention
from regard.kernels.cpu import library

KEYS = (1, 4, 16, 32, 64, 96, 128, 256)
BATCHES = (1, 8, 32, 160)
SHAPES = ((4, 4, 32), (8, 8, 64), (12, 4, 64))
"""Query heads, key heads, width."""

KINDS = ((torch.float32, False), (torch.float32, True), (torch.bfloat16, False))
"""The dtype, and whether half of the sequences have half of the keys."""


def medians(calls: tuple[Callable[[], object], ...], seconds: float) -> list[float]:
    """The median time of each call in microseconds."""
    began = time.perf_counter()
    for _ in range(3):
        for call in calls:
            call()
    repeats = max(1, int(3 * 30e-6 / (time.perf_counter() - began)))
    times: list[list[float]] = [[] for _ in calls]
    began = time.perf_counter()
    while len(times[0]) < 5 or (time.perf_counter() - began < seconds and len(times[0]) < 1000):
        for call, own in zip(calls, times, strict=True):
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            own.append((time.perf_counter() - start) / repeats * 1e6)
    return [statistics.median(own) for own in times]


def measured(
    shape: tuple[int, int, int], batch: int, keys: int, dtype: torch.dtype, padded: bool
) -> tuple[float, float]:
    """Our time, and SDPA's, in microseconds. ``padded``: half of the sequences have half of the keys."""
    heads, key_heads, width = shape
    query = torch.randn(batch, heads, 1, width, dtype=dtype)
    key, value = (torch.randn(batch, key_heads, keys, width, dtype=dtype) for _ in range(2))
    lengths = torch.where(torch.arange(batch) % 2 == 0, keys, (keys + 1) // 2)
    mask = Lengths(lengths) if padded else None
    visible = (torch.arange(keys) < lengths[:, None])[:, None, None] if padded else None
    grouped = heads != key_heads
    ours, theirs = medians(
        (
            lambda: attention(query, key, value, mask=mask),
            lambda: sdpa(query, key, value, attn_mask=visible, enable_gqa=grouped),
        ),
        0.06,
    )
    return ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="also write the tables to results/decode_steps.txt")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    say("SDPA's time / ours (ours in µs), one query, by the number of keys; batch × query heads / key heads × width")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        say(f"\n{machine()}; kernels' level: {library.level}")
        for dtype, padded in KINDS:
            title = str(dtype)[6:] + (", half of the sequences padded" if padded else "")
            say(f"{title:<36}" + "".join(f"{keys:>16}" for keys in KEYS))
            for shape in SHAPES:
                for batch in BATCHES:
                    name = f"{batch} × {shape[0]} / {shape[1]} × {shape[2]}"
                    row = [measured(shape, batch, keys, dtype, padded) for keys in KEYS]
                    say(f"{name:<36}" + "".join(f"{theirs / ours:>7.2f} ({ours:>6.0f})" for ours, theirs in row))
    if arguments.write:
        (Path(__file__).parent / "results" / "decode_steps.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    with torch.no_grad():
        main()
