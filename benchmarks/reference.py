"""The reference backend compared with plain PyTorch code (`tests/plain.py`), for every mechanism, at length 512.

    python benchmarks/reference.py [--only NAME] [--repeats 15] [--backend reference]

The mechanisms are those of `tests/mechanisms.py`. Both sides get the same inputs and run in turn; medians are compared.
"forward" is without gradients, "both" is forward and backward. The last line is the worst ratio.
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
from regard.training.memory import keep_freed_memory

SIZE = Sizes(batch=1, heads=6, key_heads=6, queries=512, keys=512, width=64, value_width=64)
NARROW = SIZE._replace(width=16)
"""For the additive score, whose plain form stores Lq × Lk × width numbers."""


def times(calls: list[Callable[[], object]], repeats: int) -> list[float]:
    """The median time of each call in milliseconds; the calls run in turn."""
    for call in calls:
        call()
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, own in zip(calls, seconds, strict=True):
            began = time.perf_counter()
            call()
            own.append(time.perf_counter() - began)
    return [statistics.median(own) * 1e3 for own in seconds]


def sides(case: Case, causal: bool, backend: str | None) -> tuple[str, list[Callable[[], Tensor]], list[Tensor]]:
    """The name of the backend, regard's call and the plain one, and their inputs."""
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
    """The forward and backward pass of a call."""

    def both() -> object:
        return torch.autograd.grad(call().sum(), leaves, allow_unused=True)

    return both


def without_gradient(call: Callable[[], Tensor]) -> Callable[[], object]:
    """The forward pass of a call, under `torch.no_grad`."""

    def forward() -> Tensor:
        with torch.no_grad():
            return call()

    return forward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="timings of each call, of which the median counts")
    parser.add_argument("--only", default="", help="only mechanisms whose names contain this")
    parser.add_argument("--backend", default="reference", help="the backend that runs regard's calls")
    options = parser.parse_args()
    keep_freed_memory()  # otherwise page faults would dominate the times of both sides
    print(f"{machine()}; float32, milliseconds")
    heads = " ".join(f"{name:>8}" for name in ("forward", "plain", "both", "plain"))
    print(f"{'mechanism':<40} {'mask':<7} {'backend':<10} {heads}  ours / plain")
    worst = (0.0, "")
    for case in CASES:
        for causal in (False, True):
            if case.reference or options.only not in case.name:  # a mechanism in Python is plain PyTorch on both sides
                continue
            name, calls, leaves = sides(case, causal, options.backend)
            forward = times([without_gradient(call) for call in calls], options.repeats)
            both = times([backward(call, leaves) for call in calls], options.repeats)
            ratios = forward[0] / forward[1], both[0] / both[1]
            worst = max(worst, *((ratio, case.name) for ratio in ratios))
            figures = " ".join(f"{ms:8.2f}" for ms in (*forward, *both))
            line = f"{case.name:<40} {'causal' if causal else 'none':<7} {name:<10} {figures}"
            print(f"{line}   {ratios[0]:.2f}  {ratios[1]:.2f}", flush=True)
    print(f"worst ratio of ours to plain: {worst[0]:.2f} ({worst[1]})")


if __name__ == "__main__":
    main()
