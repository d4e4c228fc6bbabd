"""The C++ kernels' decoding: few queries, from one key on, with rows of keys and values read in place."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from layers import rand
from regard import Causal, Dot, Lengths, Look, Softmax, Window, attention
from regard.kernels.cpu import library
from test_cpu import TOLERANCE
from threads import use_threads

pytestmark = pytest.mark.skipif(library.level is None, reason=library.why_none)

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
KEYS = (1, 2, 7, 33, 600)
HEADS = ((2, 2, 1), (3, 1, 1), (6, 2, 2), (2, 1, 4), (1, 1, 3))
"""Query heads, key heads, queries: one to eight rows that share a key."""


def inputs(heads: tuple[int, int, int], keys: int, width: int, value_width: int) -> tuple[Tensor, ...]:
    """Query, key and value of two sequences, with the strides of a projection's output."""
    sizes = ((heads[2], heads[0], width), (keys, heads[1], width), (keys, heads[1], value_width))
    query, key, value = (rand(2, *size, seed=i).transpose(1, 2) for i, size in enumerate(sizes))
    return query, key, value


def close(result: Tensor, wanted: Tensor, dtype: torch.dtype) -> None:
    """Relative to the largest number and to 1: with one key, gradients of queries and keys are 0."""
    wanted = wanted.detach()
    largest = max(1.0, float(wanted.abs().max()))
    torch.testing.assert_close(result.double(), wanted, rtol=0, atol=2 * TOLERANCE[dtype] * largest)


def compare(tensors: tuple[Tensor, ...], dtype: torch.dtype, **options: Any) -> None:
    """Compare the kernels' output, with and without a gradient, and gradients with the reference in float64."""
    leaves = [tensor.to(dtype).requires_grad_() for tensor in tensors]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    wanted = attention(*exact, backend="reference", **options)
    close(attention(*(leaf.detach() for leaf in leaves), **options), wanted, dtype)
    output = attention(*leaves, **options)
    close(output, wanted, dtype)
    grad = rand(*output.shape, seed=9).to(dtype)
    grads = torch.autograd.grad(output, leaves, grad)
    for one, other in zip(grads, torch.autograd.grad(wanted, exact, grad.double()), strict=True):
        close(one, other, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("widths", [(8, 8), (12, 20), (40, 24), (64, 72), (80, 136)], ids=str)
def test_widths_and_numbers_of_keys(level: str, widths: tuple[int, int], keys: int, dtype: torch.dtype) -> None:
    for heads in HEADS:
        compare(inputs(heads, keys, *widths), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize(
    "mask",
    [Causal(), Causal(-1), Lengths(torch.tensor([3, 0])), Window(2, 0)],
    ids=["causal", "shifted", "lengths", "window"],
)
def test_masks(level: str, mask: Any, keys: int, dtype: torch.dtype) -> None:
    for heads in HEADS:
        fitting = Lengths(torch.tensor([min(3, keys), 0])) if isinstance(mask, Lengths) else mask
        compare(inputs(heads, keys, 40, 64), dtype, mask=fitting)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("keys", KEYS)
def test_looks_and_sinks(level: str, keys: int, dtype: torch.dtype) -> None:
    for heads in HEADS:
        tensors = [tensor.to(dtype) for tensor in inputs(heads, keys, 32, 32)]
        sink, look, score = rand(heads[0], seed=5).float(), Look(lse=True, received=True, rows=[0]), Dot(0.4)
        output, view = attention(*tensors, normalizer=Softmax(sink=sink), score=score, look=look, backend="cpu")
        doubled = [tensor.double() for tensor in (*tensors, sink)]
        wanted, exact = attention(
            *doubled[:3], normalizer=Softmax(sink=doubled[3]), score=score, look=look, backend="reference"
        )
        close(output, wanted, dtype)
        for name in ("lse", "received", "rows"):
            close(getattr(view, name), getattr(exact, name), torch.float32)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("keys", [5, 40, 600])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("of", ["key", "value"])
def test_hidden_numbers_have_no_influence_and_visible_ones_give_nan(
    level: str, of: str, bad: float, keys: int, dtype: torch.dtype
) -> None:
    """A visible key whose score is −∞ too: its weight alone would be 0."""
    query, key, value = (tensor.to(dtype).contiguous() for tensor in inputs((4, 2, 1), keys, 32, 32))
    query = query.abs()
    lengths = Lengths(torch.tensor([keys - 2, keys]))
    expected = attention(query, key, value, mask=lengths)
    (key if of == "key" else value)[:, :, -2] = bad
    output = attention(query, key, value, mask=lengths)
    close(output[0], expected[0].double(), dtype)
    assert output[1].isnan().all()
    assert attention(query, key, value, mask=Causal()).isnan().all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [32, 40])
def test_equal_keys_have_equal_weights_wherever_they_are(level: str, width: int, dtype: torch.dtype) -> None:
    """A score is summed in one order for every key, so that rounding errors of large scores are equal."""
    for keys in (2, 3, 9, 70, 513):
        for heads in HEADS:
            query, key, value = inputs(heads, keys, width, width)
            key = key[:, :, :1].expand_as(key)
            output = attention((300 * query).to(dtype), (300 * key).to(dtype), value.to(dtype))
            exact = value.to(dtype).double().mean(2, keepdim=True)
            close(output, exact.repeat_interleave(heads[0] // heads[1], 1).expand_as(output), dtype)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_heads_that_are_a_task_together(level: str, threads: int) -> None:
    query, key, value = (rand(27, heads, keys, 16, seed=heads) for heads, keys in ((6, 1), (3, 9), (3, 9)))
    lengths = torch.arange(27) % 10  # some queries see no key
    with use_threads(threads):
        for mask in (None, Lengths(lengths)):
            output = attention(query.float(), key.float(), value.float(), mask=mask)
            close(output, attention(query, key, value, mask=mask, backend="reference"), torch.float32)
