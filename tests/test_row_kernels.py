"""GELU, RMSNorm and cross-entropy of the C++ kernels, with their gradients, beside PyTorch's in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.kernels.cpu import library, rows
from regard.nn import FeedForward, RMSNorm, linear_cross_entropy
from threads import use_threads

pytestmark = pytest.mark.skipif(library.level is None, reason=library.why_none)

Function = Callable[..., Tensor]
FUNCTIONS: dict[str, tuple[Function, Function]] = {
    "gelu": (lambda x, weight: rows.gelu(x) * weight, lambda x, weight: F.gelu(x) * weight),
    "rms_norm": (
        lambda x, weight: rows.rms_norm(x, weight, 1e-3),
        lambda x, weight: F.rms_norm(x, weight.shape, weight, 1e-3),
    ),
}


def _inputs(*shape: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    x = 3 * torch.randn(*shape, generator=random)
    x.view(-1)[:3] = torch.tensor([0.0, -30.0, 30.0])[: x.numel()]
    return [x.to(dtype), torch.randn(shape[-1], generator=random)]


def _with_gradients(function: Function, inputs: list[Tensor], dtype: torch.dtype | None = None) -> list[Tensor]:
    """The result, the gradients, and the gradients of their squares."""
    leaves = [tensor.to(dtype or tensor.dtype).requires_grad_() for tensor in inputs]
    result = function(*leaves)
    gradients = torch.autograd.grad(result.square().sum(), leaves, retain_graph=True)
    twice = torch.autograd.grad(result.sin().sum(), leaves, create_graph=True)
    second = torch.autograd.grad([part.square().sum() for part in twice], leaves)
    return [result.detach(), *gradients, *second]


@pytest.mark.parametrize("shape", [(1,), (2, 3), (3, 70, 37), (5, 128)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_and_gradients_to_second_order(level: str, name: str, shape: tuple[int, ...]) -> None:
    ours, exact = FUNCTIONS[name]
    inputs = _inputs(*shape)
    for got, wanted in zip(_with_gradients(ours, inputs), _with_gradients(exact, inputs, torch.float64), strict=True):
        torch.testing.assert_close(got.double(), wanted, rtol=2e-5, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("shape", [(1,), (3, 70, 37)])
def test_gelu_in_bfloat16(level: str, shape: tuple[int, ...]) -> None:
    x = _inputs(*shape, dtype=torch.bfloat16)[0].requires_grad_()
    precise = x.detach().double().requires_grad_()
    result, exact = rows.gelu(x), F.gelu(precise)
    for got, wanted in (
        (result, exact),
        (torch.autograd.grad(result.sum(), x)[0], torch.autograd.grad(exact.sum(), precise)[0]),
    ):
        torch.testing.assert_close(got.double(), wanted, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy(level: str, smoothing: float, dtype: torch.dtype) -> None:
    logits, bias = _inputs(40, 101, dtype=dtype)
    target = torch.arange(40) * 2
    leaves = [logits.double().requires_grad_(), bias.double().requires_grad_()]
    exact = F.cross_entropy(leaves[0] + leaves[1], target, reduction="none", label_smoothing=smoothing)
    exact.sum().backward()
    losses, to_bias = rows.cross_entropy_(logits, bias, target, smoothing)
    torch.testing.assert_close(losses, exact.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(to_bias.double(), leaves[1].grad, rtol=1e-5, atol=1e-6)
    gap = 2**-8 if dtype is torch.bfloat16 else 1e-5
    torch.testing.assert_close(logits.double(), leaves[0].grad, rtol=gap, atol=1e-6)


def test_threads_make_no_difference() -> None:
    results = []
    for threads in (1, 2, 5):
        with use_threads(threads):
            parts = [part for ours, _ in FUNCTIONS.values() for part in _with_gradients(ours, _inputs(7, 70, 96))]
            logits, bias = _inputs(200, 96)
            parts += [*rows.cross_entropy_(logits, bias, torch.arange(200) % 96, 0.1), logits]
            results.append(parts)
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], result, strict=True))


def test_a_token_that_does_not_exist_is_an_error() -> None:
    features, weight, bias = torch.randn(2, 4), torch.randn(10, 4), torch.randn(10)
    for target in ([0, 10], [-2, 0]):
        with pytest.raises(IndexError, match="target: tokens are 0 to 9"):
            linear_cross_entropy(features, weight, bias, torch.tensor(target))


def test_in_graphs_transforms_and_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Sequential(RMSNorm(8), FeedForward(8, 16, activation="gelu"))
    x = torch.randn(3, 8)
    wanted = model(x)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    samples = torch.func.vmap(model)(x)
    tangent = torch.func.jvp(model, (x,), (torch.zeros_like(x),))[0]
    monkeypatch.setattr(library, "level", None)
    for got in (compiled(x), samples, tangent, model(x)):
        torch.testing.assert_close(got, wanted)
