"""Every mechanism of the tests' table beside the plain PyTorch that one would write by hand, at length 512.

Run ``python benchmarks/reference.py``; the last line is the worst ratio. The same inputs, the same run, the two
sides in turn; medians. "forward" is without gradient, "both" with the backward pass.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from machine import machine

import mechanisms
import plain
from mechanisms import CASES, Case, Sizes
from regard import Causal, attention
from regard.attend.attention import lower
from regard.kernels.backends import choose
from regard.train.memory import keep_freed_memory

SIZE = Sizes(batch=1, heads=6, key_heads=6, queries=512, keys=512, width=64, value_width=64)
NARROW = SIZE._replace(width=16)
"""For the additive score, whose plain form holds Lq × Lk × width numbers."""


def times(calls: list[Callable[[], object]], repeats: int) -> list[float]:
    """The median milliseconds of each, run in turn."""
    for call in calls:
        call()
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, mine in zip(calls, found, strict=True):
            began = time.perf_counter()
            call()
            mine.append(time.perf_counter() - began)
    return [statistics.median(mine) * 1e3 for mine in found]


def sides(case: Case, causal: bool, backend: str | None) -> tuple[str, list[Callable[[], Tensor]], list[Tensor]]:
    """The backend's name, our call and the plain one, and their inputs."""
    size = NARROW if "additive" in case.name else SIZE
    inputs = [t.float().requires_grad_() for t in mechanisms.inputs(case, size)]
    parameters = [t.float().requires_grad_() for t in case.parameters(size)]
    visible = torch.ones(size.queries, size.keys, dtype=torch.bool).tril() if causal else None
    mask = Causal() if causal else None

    def ours() -> Tensor:
        return attention(*inputs, mask=mask, backend=backend, **case.call(size, *parameters))

    def by_hand() -> Tensor:
        return plain.attend(*inputs, mask=visible, **case.call(size, *parameters))

    name = choose(lower(*inputs, mask=mask, **case.call(size, *parameters))[0], backend).name
    return name, [ours, by_hand], [*inputs, *parameters]


def backward(call: Callable[[], Tensor], leaves: list[Tensor]) -> Callable[[], object]:
    """The call with its backward pass."""

    def both() -> object:
        return torch.autograd.grad(call().sum(), leaves, allow_unused=True)

    return both


def without_gradient(call: Callable[[], Tensor]) -> Callable[[], object]:
    """The call alone."""

    def forward() -> Tensor:
        with torch.no_grad():
            return call()

    return forward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="timings of each, of which the median counts")
    parser.add_argument("--only", default="", help="only mechanisms whose name contains this")
    parser.add_argument("--backend", default="reference", help="the backend that runs ours")
    options = parser.parse_args()
    keep_freed_memory()  # for both sides: else what they take turns in is page faults
    print(f"{machine()}; float32, milliseconds")
    heads = " ".join(f"{name:>8}" for name in ("forward", "plain", "both", "plain"))
    print(f"{'mechanism':<40} {'mask':<7} {'backend':<10} {heads}  ours / plain")
    worst = (0.0, "")
    for case in CASES:
        for causal in (False, True):
            if case.reference or options.only not in case.name:  # what a user writes is its own plain expression
                continue
            name, calls, leaves = sides(case, causal, options.backend)
            forward = times([without_gradient(call) for call in calls], options.repeats)
            both = times([backward(call, leaves) for call in calls], options.repeats)
            ratios = forward[0] / forward[1], both[0] / both[1]
            worst = max(worst, *((ratio, case.name) for ratio in ratios))
            figures = " ".join(f"{ms:8.2f}" for ms in (*forward, *both))
            told = f"{case.name:<40} {'causal' if causal else 'none':<7} {name:<10} {figures}"
            print(f"{told}   {ratios[0]:.2f}  {ratios[1]:.2f}", flush=True)
    print(f"worst ratio of ours to plain: {worst[0]:.2f} ({worst[1]})")


if __name__ == "__main__":
    main()
