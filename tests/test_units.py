"""Dropout's factors of units from the C++ kernels: the reference's bits at any level, dtype and number of threads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regard.kernels import random
from regard.kernels.cpu import library, units
from regard.kernels.plan import Plan
from regard.nn import Dropout, FeedForward
from threads import use_threads

kernels = pytest.mark.skipif(library.level is None, reason=library.why_none)

RUN, STREAM = 1 << 14, 3
"""The number of units in a row of random bits, and the number of the stream that the bits come from."""


def _drawn(shape: tuple[int, ...], p: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Factors, and the seed of their random numbers."""
    torch.manual_seed(8)
    seed = torch.empty((), dtype=torch.int64).random_(-(2**63), None)
    torch.manual_seed(8)
    return units.factors(shape, p, dtype), seed


@kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("count", [1, 3 * RUN + 77])
def test_factors_have_the_random_bits_of_the_reference(level: str, count: int, dtype: torch.dtype) -> None:
    factors, seed = _drawn((count,), 0.3, dtype)
    rows = -(-count // RUN)
    plan = Plan(torch.empty(1, 1, rows, 1), torch.empty(1, 1, RUN, 1), torch.empty(1, 1, RUN, 1))
    kept = random.bits(plan, seed, STREAM).flatten()[:count] >= round(0.3 * 2**32) - 2**31
    assert torch.equal(factors, kept.to(dtype) * torch.tensor(1 / 0.7, dtype=dtype))


@kernels
def test_threads_make_no_difference() -> None:
    results = []
    for threads in (1, 2, 5):
        with use_threads(threads):
            results.append(_drawn((7, RUN), 0.5, torch.float32)[0])
    assert all(torch.equal(results[0], result) for result in results[1:])


@kernels
@pytest.mark.parametrize("p", [2**-33, 1 - 2**-33])
def test_probabilities_close_to_0_and_1(p: float) -> None:
    factors, _ = _drawn((RUN,), p, torch.float32)
    assert (factors == 0).float().mean() == round(p)


@kernels
def test_in_a_graph_the_gradient_has_the_same_factors() -> None:
    torch.compiler.reset()
    x = torch.ones(3, 64, requires_grad=True)
    dropped = torch.compile(Dropout(0.25), backend="aot_eager", fullgraph=True)(x)
    (grad,) = torch.autograd.grad(dropped.sum(), x)
    assert torch.equal(grad, dropped)
    assert set(dropped.flatten().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert not torch.equal(torch.compile(Dropout(0.25), backend="aot_eager", fullgraph=True)(x), dropped)


@pytest.mark.parametrize("training", [False, True])
def test_a_feed_forward_layer_in_a_graph_has_the_gradients_of_relu(training: bool) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    layer = FeedForward(4, 64, dropout=1e-9).train(training)  # a mask of ones
    x = torch.randn(3, 5, 4, requires_grad=True)
    outputs = torch.compile(layer, backend="aot_eager", fullgraph=True)(x), layer(x)
    leaves = [x, *layer.parameters()]
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*(torch.autograd.grad(output.square().sum(), leaves) for output in outputs))


def test_without_kernels_and_under_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Dropout(0.5), torch.ones(3, 64)
    samples = torch.func.vmap(layer, randomness="different")(x)
    assert not torch.equal(samples[0], samples[1])
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    assert set(compiled(x).flatten().tolist()) == {0.0, 2.0}
    monkeypatch.setattr(library, "level", None)
    assert set(layer(x).flatten().tolist()) == {0.0, 2.0}
