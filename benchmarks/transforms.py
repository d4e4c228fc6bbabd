"""`torch.vmap` over samples compared with one batched call, for regard and PyTorch's `scaled_dot_product_attention`.

    python benchmarks/transforms.py [SAMPLES]

Times are in milliseconds, the minimum of seven runs, without and with the gradients of query, key and value.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from regard import Causal, Entmax, attention

HEADS, LENGTH, WIDTH = 8, 256, 64


def best(call: Callable[[], Any], runs: int = 7) -> float:
    """Milliseconds of the fastest run."""
    call()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def gradient(f: Callable[..., Tensor]) -> Callable[..., Any]:
    """The gradients of the sum of squares of ``f``'s output."""
    return torch.func.grad(lambda *tensors: f(*tensors).square().sum(), (0, 1, 2))


def main() -> None:
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 32
    qkv = [torch.randn(samples, 1, HEADS, LENGTH, WIDTH) for _ in range(3)]
    flat = [tensor.flatten(0, 1) for tensor in qkv]
    calls: dict[str, Callable[..., Tensor]] = {
        "regard": lambda *t: attention(*t, mask=Causal()),
        "regard, entmax": lambda *t: attention(*t, mask=Causal(), normalizer=Entmax()),
        "SDPA": lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True),
    }
    print(f"{samples} samples, {HEADS} heads, {LENGTH} × {LENGTH}, width {WIDTH}, causal, float32, ms")
    print(f"{'':16}{'batched':>10}{'vmap':>10}{'grad, batched':>16}{'vmap(grad)':>12}")
    for name, f in calls.items():
        row = [
            best(lambda: f(*flat)),  # noqa: B023
            best(lambda: torch.vmap(f)(*qkv)),  # noqa: B023
            best(lambda: gradient(f)(*flat)),  # noqa: B023
            best(lambda: torch.vmap(gradient(f))(*qkv)),  # noqa: B023
        ]
        print(f"{name:16}{row[0]:10.1f}{row[1]:10.1f}{row[2]:16.1f}{row[3]:12.1f}")


if __name__ == "__main__":
    main()
