"""Rows and tiles that are asked for in any order, and gradients of few parameters that many scores add up to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import mechanisms
from masks import MASKS
from mechanisms import CASES, Case, Sizes
from regard import Additive, ALiBi, Look, RelativeBias, TopK, attention

SIZE = Sizes(1, 6, 3, 80, 90, 16, 16)
ROWS = ([5, 0, 7], [0, 2, 2, 3], [79, 1, 0, -79, 3, 4], [3, 2, 1, 0], [64, 65, 63], list(range(17)) + [3, 18])
"""Unsorted, repeated, negative; the first and last of most are as far apart as if the rows followed each other."""


@pytest.mark.parametrize("mask", ["none", "causal", "boolean", "blocks per head, causal"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rows_and_tiles_in_any_order(case: Case, mask: str) -> None:
    inputs = [t.float() for t in mechanisms.inputs(case, SIZE)]
    options = case.call(SIZE, *(p.float() for p in case.parameters(SIZE))) | {"mask": MASKS[mask].make(SIZE)}
    output, view = attention(*inputs, look=Look(rows=slice(None)), **options)
    for rows in ROWS:
        found = attention(*inputs, look=Look(rows=rows), **options)[1]
        torch.testing.assert_close(found.rows, view.rows[:, :, rows], rtol=1e-5, atol=1e-6)
        columns = [89, 3, 3, 4, 0, -90, 70]
        torch.testing.assert_close(found.tile(rows, columns), view.rows[:, :, rows][..., columns], rtol=1e-5, atol=1e-6)
    if "dropout" not in case.name:
        value = inputs[2].repeat_interleave(2, 1)
        torch.testing.assert_close(view.rows @ value, output, rtol=1e-4, atol=1e-4)


def test_topk_of_an_additive_score_keeps_the_same_keys_in_every_row() -> None:
    q, k, v, vector = (
        mechanisms.random(*shape).float() for shape in ((2, 4, 40, 33), (2, 4, 50, 33), (2, 4, 50, 8), (33,))
    )
    options: dict[str, Any] = {"score": Additive(vector), "normalizer": TopK(3)}
    whole = attention(q, k, v, look=Look(rows=slice(None)), **options)[1].rows
    assert (whole > 0).sum(-1).eq(3).all()
    for row in range(40):
        assert torch.equal(attention(q, k, v, look=Look(rows=[row]), **options)[1].rows > 0, whole[:, :, [row]] > 0)


def learned(kind: str, leaf: Tensor, keys: int) -> dict[str, Any]:
    far = -keys  # every key is far behind its query
    kinds: dict[str, Callable[[], dict[str, Any]]] = {
        "alibi": lambda: {"bias": ALiBi(leaf, offset=keys)},
        "t5": lambda: {"bias": RelativeBias(leaf, offset=far)},
        "clipped": lambda: {"bias": RelativeBias(leaf, "clipped", offset=far)},
        "a bias a query": lambda: {"bias": leaf},
        "a bias a key": lambda: {"bias": leaf},
        "additive": lambda: {"score": Additive(leaf)},
    }
    return kinds[kind]()


SHAPES = {
    "alibi": (4,), "t5": (4, 8), "clipped": (4, 5), "a bias a query": (4, 300, 1), "a bias a key": (4, 1, 600),
    "additive": (32,),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", SHAPES)
def test_gradients_of_small_parameters_add_up_no_rounding(kind: str, dtype: torch.dtype) -> None:
    # The gradients of a row's scores sum to 0, so what the parameter gets of them cancels, but for what rounding left.
    q, k, v = (mechanisms.random(1, 4, length, 32, seed=s).to(dtype) for length, s in ((300, 1), (600, 2), (600, 3)))
    if kind == "additive":
        q = q + 5  # where tanh is near 1 for all
    v = v + 3
    weight = mechanisms.random(1, 4, 300, 32, seed=5).to(dtype)

    def gradient(backend: str, to: torch.dtype) -> Tensor:
        leaf = (0.01 * mechanisms.random(*SHAPES[kind])).to(dtype).to(to).requires_grad_()
        output = attention(q.to(to), k.to(to), v.to(to), backend=backend, **learned(kind, leaf, 600))
        return torch.autograd.grad((output * weight.to(to)).sum(), leaf)[0].double()

    exact, reference, ours = gradient("reference", torch.float64), gradient("reference", dtype), gradient("cpu", dtype)
    assert (ours - exact).abs().max() <= 2 * (reference - exact).abs().max() + 1e-2 * exact.abs().max() + 1e-3
