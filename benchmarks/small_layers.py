"""Small calls of `MultiHeadAttention` compared with `torch.nn.MultiheadAttention` with the same weights.

    python benchmarks/small_layers.py [--write]

It takes a minute; ``--write`` also writes the table to ``results/small_layers.txt``. The inputs are so small that most
of the time is spent in Python. The two layers run in turn. A time is the processor time of one thread per call, the
minimum of 40 rounds, which other programs on the machine hardly change.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from machine import machine
from torch import Tensor, nn

from regard import Causal
from regard.nn import KVCache, MultiHeadAttention

WIDTH, HEADS, LENGTH = 64, 4, 16
ROUNDS, CALLS = 40, 50


def microseconds(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """The time of one call of each in microseconds: the minimum over rounds, in which they take turns."""
    smallest = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        for at, call in enumerate((ours, theirs)):
            began = time.process_time_ns()
            for _ in range(CALLS):
                call()
            smallest[at] = min(smallest[at], (time.process_time_ns() - began) / CALLS / 1e3)
    return smallest[0], smallest[1]


def with_backward(call: Callable[[], Tensor], layer: nn.Module) -> Callable[[], object]:
    """The call and the gradients of all parameters of the layer."""
    parameters = list(layer.parameters())
    return lambda: torch.autograd.grad(call().sum(), parameters)


def rows() -> Iterator[tuple[str, Callable[[], object], Callable[[], object]]]:
    """What is measured: its name, regard's call and PyTorch's."""
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    ours = MultiHeadAttention.from_torch(theirs)
    x = torch.randn(1, LENGTH, WIDTH)
    hidden = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)

    def our_call(**options: Any) -> Tensor:
        return ours(x, **options)[0]

    def their_call(**options: Any) -> Tensor:
        return theirs(x, x, x, need_weights=False, **options)[0]

    def our_steps() -> None:
        cache = KVCache(LENGTH)
        for at in range(LENGTH):
            ours(x[:, at : at + 1], cache=cache)

    def their_steps() -> None:
        for at in range(LENGTH):
            theirs(x[:, at : at + 1], x[:, : at + 1], x[:, : at + 1], need_weights=False)

    for training in (False, True):
        ours.train(training), theirs.train(training)
        mode = "training" if training else "evaluation"
        with torch.no_grad():
            yield f"forward without gradient, {mode}", our_call, their_call
        yield f"forward, {mode}", our_call, their_call
    causal: dict[str, Any] = {"attn_mask": hidden, "is_causal": True}
    yield "forward, causal", lambda: our_call(mask=Causal()), lambda: their_call(**causal)
    yield "forward + backward", with_backward(our_call, ours), with_backward(their_call, theirs)
    yield "forward + backward, causal", (
        with_backward(lambda: our_call(mask=Causal()), ours)
    ), with_backward(lambda: their_call(**causal), theirs)  # fmt: skip
    ours.eval(), theirs.eval()
    with torch.no_grad():
        yield f"{LENGTH} steps of decoding (a KVCache; PyTorch's layer has none)", our_steps, their_steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="also write the table to results/small_layers.txt")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    load = os.getloadavg()[0]
    lines = [f"{machine()}, load {load:.1f}; batch 1, length {LENGTH}, width {WIDTH}, {HEADS} heads, float32"]
    lines.append(f"{'µs of processor time':<70} {'regard':>8} {'torch.nn':>8} {'ratio':>6}")
    for name, ours, theirs in rows():
        times = microseconds(ours, theirs)
        lines.append(f"{name:<70} {times[0]:>8.1f} {times[1]:>8.1f} {times[1] / times[0]:>6.2f}")
    print("\n".join(lines))
    if arguments.write:
        (Path(__file__).parent / "results" / "small_layers.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
