"""Hugging Face's models with regard's attention, beside eager attention: small models of each family, random weights.

    python benchmarks/hugging_face.py [--compile]

Columns: the largest difference of outputs from eager attention in float32, over plain, padded and packed inputs; that
of gradients, as a share of the largest gradient of the parameter; the root mean square of the differences from float32
in bfloat16, for regard and for eager; whether greedy and beam search write the same tokens; and, with ``--compile``,
the largest difference of a compiled model from eager. The table is printed, for
``benchmarks/results/hugging_face_families.txt``.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from machine import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from model_families import FAMILIES, Family, inputs, output
from regard.integrations.transformers import enable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compile", action="store_true")
    enable()
    warnings.simplefilter("ignore")
    families(compiled=parser.parse_args().compile)


def families(compiled: bool) -> None:
    """Print the differences of each family."""
    import transformers

    transformers.logging.set_verbosity_error()
    print(f"transformers {transformers.__version__}; {machine()}")
    last = f"{'compiled':>10}" if compiled else ""
    print(f"{'':16}{'float32':>10}{'gradients':>11}{'bfloat16':>10}{'eager':>10}  same tokens{last}")
    for name, family in FAMILIES.items():
        model, cases = family.build(), inputs(family.kind)
        exact, largest = {}, 0.0
        for case, given in cases.items():
            exact[case], ours = (_output(model, given, one) for one in ("eager", "regard"))
            largest = max(largest, float((ours - exact[case]).abs().max()))
        same, first = _same_tokens(family, model, cases), next(iter(cases))
        gradients = _gradient_difference(model, cases[first])
        last = f"{_compiled_difference(model, family, list(cases.values())[-1]):>10.1e}" if compiled else ""
        model.bfloat16()
        half = {key: x.bfloat16() if x.is_floating_point() else x for key, x in cases[first].items()}
        errors = [
            float((_output(model, half, one).float() - exact[first]).square().mean().sqrt())
            for one in ("regard", "eager")
        ]
        numbers = f"{largest:>10.1e}{gradients:>11.1e}{errors[0]:>10.1e}{errors[1]:>10.1e}"
        print(f"{name:16}{numbers}  {same:11}{last}", flush=True)


def _output(model: Any, given: dict[str, Any], implementation: str) -> torch.Tensor:
    model.set_attn_implementation(implementation)
    with torch.inference_mode():
        return output(model, given)


def _gradient_difference(model: Any, given: dict[str, Any]) -> float:
    """The largest difference of a gradient from that of eager attention, as a share of the largest of its parameter."""
    by_implementation = []
    for implementation in ("eager", "regard"):
        model.set_attn_implementation(implementation)
        results = output(model, given)
        (results * torch.linspace(-1, 1, results.numel()).view_as(results)).sum().backward()
        named = model.named_parameters()
        by_implementation.append({name: one.grad for name, one in named if one.grad is not None})
        model.zero_grad(set_to_none=True)
    eager, ours = by_implementation
    assert eager.keys() == ours.keys()
    # Gradients that are zero by symmetry, such as those of keys' biases, are rounding: they are compared with all.
    least = 1e-3 * max(float(one.abs().max()) for one in eager.values())
    return max(
        float((one - ours[name]).abs().max()) / max(float(one.abs().max()), least) for name, one in eager.items()
    )


def _compiled_difference(model: Any, family: Family, given: dict[str, Any]) -> float:
    """The largest difference of the compiled model with regard from eager attention that is not compiled."""
    exact = _output(model, given, "eager")
    model.set_attn_implementation("regard")
    torch._dynamo.reset()
    whole = family.kind in ("encoder", "decoder")
    with torch.no_grad():
        compiled = output(torch.compile(model, backend="aot_eager", fullgraph=whole), given)
    return float((compiled - exact).abs().max())


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


if __name__ == "__main__":
    main()
