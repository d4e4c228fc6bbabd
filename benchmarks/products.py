"""Linear layers of few rows: weights packed by regard beside PyTorch's `linear` (MKL) and oneDNN's packed weights.

    python benchmarks/products.py [--threads 1] [--write]

A minute; ``--write`` also writes the table to ``results/products-THREADS.txt``. All compute in float32; regard stores
the weights in float32, bfloat16 or int8. The calls take turns in rounds, and a time is the median. A limit is the
larger of the time to read the weights as they are stored, from the caches if they fit, and of the multiply-adds at the
peak speed (`everyday_limits.least`); the percentage is the limit's share of the time. The ratio is the faster of
PyTorch and oneDNN over regard in float32, marked with · if regard is slower.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch
from everyday_limits import least
from machine import machine
from torch.nn import functional as F

from regard.kernels.packed import pack

SHAPES = ((128, 512), (512, 128), (512, 512), (768, 2048), (768, 32000), (512, 10000))
ROWS = (1, 2, 5, 10, 20, 40, 80, 160)
ROUNDS, SECONDS = 5, 0.002


def medians(calls: Sequence[Callable[[], object]], fastest: float) -> list[float]:
    """The median time of each call over rounds in which they take turns."""
    times: list[list[float]] = [[] for _ in calls]
    repeats = max(1, round(SECONDS / fastest))
    for call in calls:
        call()
    for _ in range(ROUNDS):
        for call, own in zip(calls, times, strict=True):
            began = time.perf_counter()
            for _ in range(repeats):
                call()
            own.append((time.perf_counter() - began) / repeats)
    return [median(own) for own in times]


def lines(threads: int) -> Iterator[str]:
    """The table for a number of threads."""
    yield "microseconds, and the limit's share of them"
    yield f"rows {'product':<14}{'PyTorch':>10}{'oneDNN':>10}{'float32':>16}{'bfloat16':>16}{'int8':>16}{'ratio':>8}"
    for inputs, outputs in SHAPES:
        weight = torch.randn(outputs, inputs)
        packed = [pack(weight, "float32"), pack(weight, "bfloat16"), pack(weight, "int8")]
        reading = [least(threads, "float32", one.bytes, 0)().item() for one in packed]
        flop = least(threads, "float32", 1, 1e9)().item() / 1e9
        for rows in ROWS:
            x, onednn = torch.randn(rows, inputs), torch.ops.mkldnn._reorder_linear_weight(weight, rows)
            calls = [
                partial(F.linear, x, weight),
                partial(torch.ops.mkldnn._linear_pointwise, x, onednn, None, "none", [], ""),
                *(partial(one.linear, x) for one in packed),
            ]
            limits = [max(bytes_, flop * 2 * rows * inputs * outputs) for bytes_ in reading]
            torch_, mkldnn, *ours = medians(calls, limits[0])
            ratio = min(torch_, mkldnn) / ours[0]
            yield (
                f"{rows:>4} {f'{inputs} → {outputs}':<14}{torch_ * 1e6:>10.1f}{mkldnn * 1e6:>10.1f}"
                + "".join(f"{own * 1e6:>10.1f}{limit / own:>6.0%}" for own, limit in zip(ours, limits, strict=True))
                + f"{ratio:>7.2f}{' ' if ratio >= 1 else '·'}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="also write the table to results/products-THREADS.txt")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    table = [machine(), ""]
    with torch.inference_mode():
        for line in lines(arguments.threads):
            print(line, flush=True)
            table.append(line.rstrip())
    if arguments.write:
        name = f"products-{arguments.threads}.txt"
        (Path(__file__).parent / "results" / name).write_text("\n".join([*table, ""]))


if __name__ == "__main__":
    main()
