"""Rows and tiles of a look in any order, and gradients of small parameters, to which many scores contribute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import mechanisms
from masks import MASKS
from mechanisms import Case, Sizes
from regard import Additive, ALiBi, Look, RelativeBias, TopK, attention
from test_mechanisms import each_case

SIZE = Sizes(1, 6, 3, 80, 90, 16, 16)
ROWS = ([5, 0, 7], [0, 2, 2, 3], [79, 1, 0, -79, 3, 4], [3, 2, 1, 0], [64, 65, 63], list(range(17)) + [3, 18])
"""Unsorted, repeated and negative rows. In most lists, the last minus the first is as if rows were consecutive."""


@pytest.mark.parametrize("mask", ["none", "causal", "boolean", "blocks per head, causal"])
@each_case
def test_rows_and_tiles_in_any_order(case: Case, mask: str) -> None:
    inputs = [t.float() for t in mechanisms.inputs(case, SIZE)]
    options = case.call(SIZE, *(p.float() for p in case.parameters(SIZE))) | {"mask": MASKS[mask].make(SIZE)}
    output, view = attention(*inputs, look=Look(rows=slice(None)), **options)
    for rows in ROWS:
        part = attention(*inputs, look=Look(rows=rows), **options)[1]
        torch.testing.assert_close(part.rows, view.rows[:, :, rows], rtol=1e-5, atol=1e-6)
        columns = [89, 3, 3, 4, 0, -90, 70]
        torch.testing.assert_close(part.tile(rows, columns), view.rows[:, :, rows][..., columns], rtol=1e-5, atol=1e-6)
    if "dropout" not in case.name:
        value = inputs[2].repeat_interleave(2, 1)
        torch.testing.assert_close(view.rows @ value, output, rtol=1e-4, atol=1e-4)


def test_topk_of_an_additive_score_keeps_the_same_keys_in_every_row() -> None:
    q, k, v, vector = (
        mechanisms.random(*shape).float() for shape in ((2, 4, 40, 33), (2, 4, 50, 33), (2, 4, 50, 8), (33,))
    )
    options: dict[str, Any] = {"score": Additive(vector), "normalizer": TopK(3)}
    rows = attention(q, k, v, look=Look(rows=slice(None)), **options)[1].rows
    assert (rows > 0).sum(-1).eq(3).all()
    for row in range(40):
        assert torch.equal(attention(q, k, v, look=Look(rows=[row]), **options)[1].rows > 0, rows[:, :, [row]] > 0)


def options_of(kind: str, leaf: Tensor, keys: int) -> dict[str, Any]:
    behind = -keys  # an offset that places every key far behind its query
    kinds: dict[str, Callable[[], dict[str, Any]]] = {
        "alibi": lambda: {"bias": ALiBi(leaf, offset=keys)},
        "t5": lambda: {"bias": RelativeBias(leaf, offset=behind)},
        "clipped": lambda: {"bias": RelativeBias(leaf, "clipped", offset=behind)},
        "bias per query": lambda: {"bias": leaf},
        "bias per key": lambda: {"bias": leaf},
        "additive": lambda: {"score": Additive(leaf)},
    }
    return kinds[kind]()


SHAPES = {
    "alibi": (4,), "t5": (4, 8), "clipped": (4, 5), "bias per query": (4, 300, 1), "bias per key": (4, 1, 600),
    "additive": (32,),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", SHAPES)
def test_rounding_does_not_accumulate_in_gradients_of_small_parameters(kind: str, dtype: torch.dtype) -> None:
    # The gradients of a row's scores sum to 0: their contributions to the parameter cancel, up to rounding.
    q, k, v = (mechanisms.random(1, 4, length, 32, seed=s).to(dtype) for length, s in ((300, 1), (600, 2), (600, 3)))
    if kind == "additive":
        q = q + 5  # where tanh is near 1 for all
    v = v + 3
    weight = mechanisms.random(1, 4, 300, 32, seed=5).to(dtype)

    def gradient(backend: str, to: torch.dtype) -> Tensor:
        leaf = (0.01 * mechanisms.random(*SHAPES[kind])).to(dtype).to(to).requires_grad_()
        output = attention(q.to(to), k.to(to), v.to(to), backend=backend, **options_of(kind, leaf, 600))
        return torch.autograd.grad((output * weight.to(to)).sum(), leaf)[0].double()

    exact, reference, ours = gradient("reference", torch.float64), gradient("reference", dtype), gradient("cpu", dtype)
    assert (ours - exact).abs().max() <= 2 * (reference - exact).abs().max() + 1e-2 * exact.abs().max() + 1e-3
