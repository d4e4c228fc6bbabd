"""Training speed of several processes that accumulate batches: tokens per second of a small language model.

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/accumulation.py [--accumulate 8] [--fsdp]

Each step accumulates ``--accumulate`` batches of 512 random tokens, over all processes. The gradients are reduced over
the processes once per step, so a step with more batches spends less of its time on that. The first steps are not timed.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from machine import machine
from torch import Tensor, nn

from regard.models.language import TransformerLM
from regard.training.distributed import World, world
from regard.training.gradient import add_gradients

VOCABULARY, CONTEXT, ROWS = 8000, 64, 8


def main() -> None:
    """Print the median tokens per second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accumulate", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--fsdp", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    with world() as process:
        model = process.wrap(TransformerLM(VOCABULARY, dim=256, layers=4).to(process.device), options.fsdp)
        tokens = torch.randint(VOCABULARY, (ROWS, CONTEXT + 1), device=process.device)

        def loss(model: nn.Module, rows: list[int], world: World) -> tuple[Tensor, int]:
            rows = rows[world.rank :: world.size]
            return model(tokens[rows, :-1], tokens[rows, 1:]), len(rows) * CONTEXT

        speeds = []
        for _ in range(options.steps):
            model.zero_grad()
            began = time.perf_counter()
            _, count = add_gradients(loss, model, [list(range(ROWS))] * options.accumulate, process, bfloat16=False)
            speeds.append(count / (time.perf_counter() - began))
        if process.first:
            kind = "FSDP2" if options.fsdp else "DDP"
            speed = statistics.median(speeds[2:])
            print(f"{process.size} processes, {kind}, {options.accumulate} batches per step: {speed:,.0f} tokens/s")
            print(machine())


if __name__ == "__main__":
    main()
