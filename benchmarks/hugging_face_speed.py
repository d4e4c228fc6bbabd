"""The time and memory of models by Hugging Face with regard's attention, with and without looking, beside their own.

    python benchmarks/hugging_face_speed.py prefill [--lengths 512 2048 8192] [--shapes BERT-base Llama]
    python benchmarks/hugging_face_speed.py decode [--cache 8192]

Models of the shapes of BERT-base (12 layers, 768 wide) and of a small Llama (8 layers, 512 wide), random weights,
float32, one sequence. ``prefill``: the seconds of a forward pass and the largest memory of the process, each in a
process of its own. Columns: eager; SDPA; regard; regard while ``looking`` collects entropy, received weights, sinks and
maps of all layers and heads; and eager with ``output_attentions=True``, which keeps all weights. A cell that needs more
than two thirds of the memory is not run, and says how much its weights alone take. ``decode``: the milliseconds of a
step of the Llama shape behind a cache of past keys. The tables are printed, for
``benchmarks/results/hugging_face_speed.txt``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import time
import warnings
from contextlib import nullcontext
from typing import Any

import torch
from machine import machine
from shapes import SHAPES, build

COLUMNS = {
    "eager": "eager", "sdpa": "sdpa", "regard": "regard", "regard, looking": "regard", "eager, all weights": "eager"
}  # fmt: skip
"""The columns, and the implementation of the attention of each."""
_STEPS = 16
_ENOUGH = 5.0
"""Seconds after which a measurement is not repeated."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["prefill", "decode"])
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--cache", type=int, default=8192)
    arguments = parser.parse_args()
    print(machine())
    if arguments.table == "prefill":
        prefill(arguments.shapes, arguments.lengths)
    else:
        decode(arguments.cache)


def prefill(shapes: list[str], lengths: list[int]) -> None:
    """Print seconds and gigabytes."""
    print(f"{'':10}{'tokens':>7}" + "".join(f"{name:>21}" for name in COLUMNS))
    for shape in shapes:
        for length in lengths:
            cells = []
            for column in COLUMNS:
                needed = memory_of_weights(shape, length, column)
                if needed > 2 / 3 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
                    cells.append(f"needs {needed / 1e9:,.0f} GB")
                    continue
                seconds, memory = alone(forward, shape, length, column)
                cells.append(f"{seconds:.2f} s {memory:.2f} GB")
            print(f"{shape:10}{length:>7,}" + "".join(f"{cell:>21}" for cell in cells), flush=True)


def decode(cache: int) -> None:
    """Print milliseconds and gigabytes."""
    columns = [column for column in COLUMNS if column != "eager, all weights"]
    print(f"{'':10}{'cache':>7}" + "".join(f"{name:>21}" for name in columns))
    cells = []
    for column in columns:
        seconds, memory = alone(steps, "Llama", cache, column)
        cells.append(f"{1000 * seconds:.1f} ms {memory:.2f} GB")
    print(f"{'Llama':10}{cache:>7,}" + "".join(f"{cell:>21}" for cell in cells), flush=True)


def memory_of_weights(shape: str, length: int, column: str) -> float:
    """The bytes of the scores and weights that eager attention has at once; 0 for the others."""
    if COLUMNS[column] != "eager":
        return 0
    sizes = SHAPES[shape]
    matrices = 3 if column == "eager" else 2 + sizes["num_hidden_layers"]
    return float(4 * sizes["num_attention_heads"] * length**2 * matrices)


def alone(function: Any, *arguments: Any) -> tuple[float, float]:
    """The result of a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result: tuple[float, float] = pool.apply(function, arguments)
    return result


def forward(shape: str, length: int, column: str) -> tuple[float, float]:
    """The median seconds of a forward pass, and the largest memory of this process in gigabytes."""
    from regard import looking
    from regard.views import STATISTICS

    model, extra = prepared(shape, length, column), {}
    if column == "eager, all weights":
        extra = {"output_attentions": True}
    ids, times = torch.randint(0, 1000, (1, length)), list[float]()
    with torch.inference_mode():
        model(input_ids=ids[:, :64])
        while len(times) < 3 and sum(times) < _ENOUGH:
            began = time.perf_counter()
            with looking(model, STATISTICS) if "looking" in column else nullcontext():
                output = model(input_ids=ids, **extra)
            times.append(time.perf_counter() - began)
            del output
    return statistics.median(times), largest_memory()


def steps(shape: str, length: int, column: str) -> tuple[float, float]:
    """The median seconds of a step behind ``length`` cached tokens, and the memory."""
    import transformers

    from regard import looking
    from regard.views import STATISTICS

    model, times = prepared(shape, length + _STEPS, column), list[float]()
    cache, sizes = transformers.DynamicCache(config=model.config), SHAPES[shape]
    width = sizes["hidden_size"] // sizes["num_attention_heads"]
    with torch.inference_mode():
        for layer in range(sizes["num_hidden_layers"]):
            past = torch.randn(2, 1, sizes["num_key_value_heads"], length, width)
            cache.update(past[0], past[1], layer)
        with looking(model, STATISTICS, last=1) if "looking" in column else nullcontext():
            for step in range(_STEPS):
                began = time.perf_counter()
                model(input_ids=torch.full((1, 1), step), past_key_values=cache, use_cache=True)
                times.append(time.perf_counter() - began)
    return statistics.median(times[1:]), largest_memory()


def prepared(shape: str, length: int, column: str) -> Any:
    """A model that takes ``length`` tokens, with the attention of a column."""
    from regard.integrations.transformers import enable

    warnings.simplefilter("ignore")
    enable()
    return build(shape, length, attn_implementation=COLUMNS[column])


def largest_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
