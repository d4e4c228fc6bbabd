"""Views of whole models: what collecting them takes, and their files.

    python benchmarks/views.py [--lengths 512 2048]

Models of the shapes of BERT-base and of a small Llama with random weights read random tokens, in float32. For each
length: the seconds of a forward pass, and of one that collects statistics and maps of all layers and heads (``looking``
with ``STATISTICS`` and ``inputs=True``); the megabytes of a file with them, and with queries and keys; the seconds to
write and to read the latter; the seconds to pool the last half of the queries and keys of a layer to 64 × 64; and the
largest difference of a weight of the file from that of the model, in the last 64 queries. The table is printed, for
``benchmarks/results/views.txt``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import machine
from shapes import SHAPES, build

from regard import looking
from regard.integrations.transformers import use
from regard.views import STATISTICS, ModelView, load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 2048])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine())
    print(
        f"{'':16}{'forward':>9}{'looking':>9}{'maps':>9}{'inputs':>9}{'write':>8}{'read':>8}{'pool':>8}{'weight':>10}"
    )
    for length in arguments.lengths:
        for name in SHAPES:
            row(name, length)


def row(name: str, length: int) -> None:
    torch.manual_seed(0)
    model = use(build(name, length))
    ids = torch.randint(0, 1000, (1, length))
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        forward, _ = timed(lambda: model(ids))
        with looking(model, STATISTICS, inputs=True) as seen:
            look, _ = timed(lambda: model(ids))
        view, path = ModelView(seen), Path(folder) / "views.safetensors"
        view.save(path)
        maps = path.stat().st_size
        write, _ = timed(lambda: view.save(path, inputs=True))
        read, again = timed(lambda: load(path))
        half, last = slice(length // 2, None), slice(-64, None)
        layer = view.layers[-1]
        pool, _ = timed(lambda: layer.view.pool(half, half, (64, 64)))
        wrong = (again.layers[-1].view.tile(last) - layer.view.tile(last)).abs().max().item()
        sizes = f"{maps / 1e6:6.1f} MB{path.stat().st_size / 1e6:6.0f} MB"
        seconds = "".join(f"{one:6.2f} s" for one in (write, read, pool))
        print(f"{name:10}{length:6,}{forward:7.2f} s{look:7.2f} s{sizes}{seconds}{wrong:10.0e}", flush=True)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


if __name__ == "__main__":
    main()
