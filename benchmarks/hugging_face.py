"""Hugging Face's models with regard's attention, beside their own.

    python benchmarks/hugging_face.py families
    python benchmarks/hugging_face.py speed [--lengths 512 2048 8192] [--repeats 3]

``families``: small models of each family with random weights: the largest difference of outputs from eager attention in
float32, over plain, padded and packed inputs, the root mean square of the differences from float32 in bfloat16, for
eager and for regard, and whether greedy and beam search write the same tokens. ``speed``: a forward pass of models of
the shapes of BERT-base and of a small Llama, and the largest memory of the process. The tables are printed, for
``benchmarks/results/hugging_face_families.txt`` and ``hugging_face_speed.txt``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from machine import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from model_families import FAMILIES, Family, inputs, output
from regard.integrations.transformers import enable

IMPLEMENTATIONS = ("eager", "sdpa", "regard")
SHAPES: dict[str, dict[str, Any]] = {
    "BERT-base": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "vocab_size": 1000,
    },
    "Llama": {
        "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8,
        "num_key_value_heads": 4, "vocab_size": 1000,
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["families", "speed"])
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    enable()
    warnings.simplefilter("ignore")
    if arguments.table == "families":
        families()
    else:
        speed(arguments.lengths, arguments.repeats)


def families() -> None:
    """Print the differences of each family."""
    import transformers

    transformers.logging.set_verbosity_error()
    print(f"transformers {transformers.__version__}; {machine()}")
    print(f"{'':16}{'float32':>10}{'bfloat16':>12}{'eager':>10}  same tokens")
    for name, family in FAMILIES.items():
        model, cases = family.build(), inputs(family.kind)
        exact, largest = {}, 0.0
        for case, given in cases.items():
            exact[case], ours = (_output(model, given, one) for one in ("eager", "regard"))
            largest = max(largest, float((ours - exact[case]).abs().max()))
        same = _same_tokens(family, model, cases)
        model.bfloat16()
        first = next(iter(cases))
        half = {key: x.bfloat16() if x.is_floating_point() else x for key, x in cases[first].items()}
        errors = [
            float((_output(model, half, one).float() - exact[first]).square().mean().sqrt())
            for one in ("regard", "eager")
        ]
        print(f"{name:16}{largest:>10.1e}{errors[0]:>12.1e}{errors[1]:>10.1e}  {same}", flush=True)


def _output(model: Any, given: dict[str, Any], implementation: str) -> torch.Tensor:
    model.set_attn_implementation(implementation)
    with torch.inference_mode():
        return output(model, given)


def _same_tokens(family: Family, model: Any, cases: dict[str, dict[str, Any]]) -> str:
    """Whether greedy search and beam search write the same, with dynamic and static caches."""
    if family.kind not in ("decoder", "seq2seq", "speech") or not model.can_generate():
        return "–"
    given = cases["padded on the left" if family.kind == "decoder" else "plain"]
    given = {key: value for key, value in given.items() if key != "decoder_input_ids"}
    same = []
    for beams in (1, 3):
        for cache in ("dynamic", "static"):
            texts = []
            for implementation in ("eager", "regard"):
                model.set_attn_implementation(implementation)
                texts.append(
                    model.generate(
                        **given, max_new_tokens=9, min_new_tokens=9, do_sample=False, num_beams=beams,
                        cache_implementation=cache, disable_compile=True,
                    )
                )  # fmt: skip
            same.append(torch.equal(*texts))
    return f"{sum(same)} of {len(same)}"


def speed(lengths: list[int], repeats: int) -> None:
    """Print times and memory, each measured in a process of its own."""
    print(f"seconds of a forward pass, median of {repeats}, and largest memory of the process in GB; {machine()}")
    print(f"{'':12}{'tokens':>8}" + "".join(f"{name:>18}" for name in IMPLEMENTATIONS))
    context = multiprocessing.get_context("spawn")
    for shape in SHAPES:
        for length in lengths:
            cells = []
            for implementation in IMPLEMENTATIONS:
                with context.Pool(1) as pool:
                    seconds, memory = pool.apply(timed, (shape, length, implementation, repeats))
                cells.append(f"{seconds:.3f} · {memory:.2f}")
            print(f"{shape:12}{length:>8,}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


def timed(shape: str, length: int, implementation: str, repeats: int) -> tuple[float, float]:
    """The seconds of a forward pass, and the largest memory of this process in gigabytes."""
    import transformers

    enable()
    sizes = {**SHAPES[shape], "max_position_embeddings": length}
    if shape == "BERT-base":
        model = transformers.BertModel(transformers.BertConfig(**sizes, attn_implementation=implementation))
    else:
        model = transformers.LlamaModel(transformers.LlamaConfig(**sizes, attn_implementation=implementation))
    model.eval()
    ids, times = torch.randint(0, 1000, (1, length)), list[float]()
    with torch.inference_mode():
        for _ in range(1 + repeats):
            began = time.perf_counter()
            model(input_ids=ids)
            times.append(time.perf_counter() - began)
    return statistics.median(times[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
