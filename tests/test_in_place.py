"""In-place changes between forward and backward raise, as in PyTorch, and results share no memory with inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import mechanisms
from mechanisms import Sizes
from regard import Additive, Causal, Entmax, Hard, Lengths, Look, Softmax, Variational, attention

SIZE = Sizes(2, 6, 3, 5, 7, 16, 16)


def options(name: str) -> tuple[Tensor | None, dict[str, Any]]:
    """The tensor to change and the options that contain it; None instead of query, key, value and the output."""
    per_head = mechanisms.random(6).abs()
    cases: dict[str, Callable[[], tuple[Tensor | None, dict[str, Any]]]] = {
        "lengths": lambda: ((n := torch.tensor([3, 5])), {"mask": Lengths(n)}),
        "boolean mask": lambda: ((m := mechanisms.random(5, 7) > -1), {"mask": m}),
        "bias": lambda: ((b := mechanisms.random(6, 5, 7).requires_grad_()), {"bias": b}),
        "constant bias": lambda: ((b := mechanisms.random(6, 5, 7)), {"bias": b}),
        "sink": lambda: ((s := per_head.requires_grad_()), {"normalizer": Softmax(s)}),
        "vector": lambda: ((v := mechanisms.random(16).requires_grad_()), {"score": Additive(v)}),
        "alpha": lambda: ((a := (1.2 + per_head / 9).requires_grad_()), {"normalizer": Entmax(a)}),
        "temperature": lambda: ((t := per_head.requires_grad_()), {"normalizer": Hard("gumbel", t, seed=3)}),
        "seed": lambda: ((s := torch.tensor(3)), {"normalizer": Variational(0.3, seed=s)}),
    }
    return cases[name]() if name in cases else (None, {"mask": Causal()} if name.endswith("causal") else {})


NAMES = (
    "query", "key", "value", "output", "query, causal", "lengths", "boolean mask", "bias", "constant bias", "sink",
    "vector", "alpha", "temperature", "seed",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_backward_after_an_in_place_change_raises(name: str) -> None:
    query, key, value = (t.requires_grad_() for t in mechanisms.inputs(mechanisms.CASES[0], SIZE))
    changed, arguments = options(name)
    output = attention(query, key, value, **arguments)
    tensors = {"query": query, "key": key, "value": value, "output": output}
    changed = tensors[name.split(",")[0]] if changed is None else changed
    with torch.no_grad():
        changed.copy_(changed == 0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_results_share_no_memory_with_the_inputs() -> None:
    for size in (SIZE, Sizes(1, 1, 1, 1, 1, 1, 1), Sizes(1, 1, 1, 5, 7, 16, 16)):
        tensors = [t.requires_grad_() for t in mechanisms.inputs(mechanisms.CASES[0], size)]
        output, view = attention(*tensors, look=Look(lse=True, entropy=True, received=True, rows=[0], norms=True))
        grads = torch.autograd.grad(output.sum(), tensors, retain_graph=True)
        shown = [view.lse, view.entropy, view.received, view.rows, view.norms.value, view.norms.received]
        addresses = [t.untyped_storage().data_ptr() for t in (*tensors, output, *grads, *shown)]
        assert len(set(addresses)) == len(addresses)
        with torch.no_grad():
            view.lse.zero_()  # the backward pass does not use this tensor
        repeated = torch.autograd.grad(output.sum(), tensors)
        assert all(torch.equal(*pair) for pair in zip(grads, repeated, strict=True))
