"""The quick path to the C++ kernels gives the bits of the general path, and leaves it the calls that need it."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from regard import Causal, Dot, Lengths, Softmax, attention, use_backend
from regard.attend import Mask
from regard.kernels.cpu import library, quick
from regard.kernels.cpu.quick import LAST_SEES_ALL, NO_MASK

pytestmark = pytest.mark.skipif(library.level is None, reason=library.why_none)


def _inputs(shape: tuple[int, int, int, int, int, int], width: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Query, key and value with the strides of a projection's output."""
    batch, heads, key_heads, queries, keys, value_width = shape
    random = torch.Generator().manual_seed(sum(shape))
    sizes = ((queries, heads, width), (keys, key_heads, width), (keys, key_heads, value_width))
    return tuple(torch.randn(batch, *size, generator=random).to(dtype).transpose(1, 2) for size in sizes)


SHAPES = [(1, 4, 4, 1, 1, 16), (2, 4, 2, 1, 70, 16), (3, 2, 2, 33, 33, 5), (1, 2, 1, 130, 200, 16)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_output_has_the_bits_of_the_general_path(
    level: str, shape: tuple[int, int, int, int, int, int], dtype: torch.dtype
) -> None:
    q, k, v = _inputs(shape, 16, dtype)
    lengths = torch.arange(shape[4], 0, -1)[: shape[0]].repeat(shape[0])[: shape[0]]
    for mask, arguments in (
        (None, ()), (Causal(), (LAST_SEES_ALL,)), (Causal(-2), (-2,)), (Causal(10**9), (10**9,)),
        (Lengths(lengths), (NO_MASK, lengths)),
    ):  # fmt: skip
        for scale in (None, 0.3):
            output = quick.attention(q, k, v, scale, *arguments)
            expected = attention(q, k, v, mask=mask, score=Dot(scale), backend="cpu")
            assert output is not None
            assert output.dtype is dtype
            assert output.is_contiguous()
            assert torch.equal(output, expected)
            assert torch.equal(attention(q, k, v, mask=mask, score=Dot(scale)), expected)


@pytest.mark.parametrize("rank", [2, 3])
def test_leading_dimensions_may_be_missing(rank: int) -> None:
    query, key, value = (tensor[(0,) * (4 - rank)] for tensor in _inputs((1, 2, 2, 3, 9, 4), 8, torch.float32))
    output = quick.attention(query, key, value, None, NO_MASK)
    assert output is not None
    assert torch.equal(output, attention(query, key, value, backend="cpu"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["all", "causal", "shifted", "lengths"])
def test_gradients_have_the_bits_of_the_general_path(
    level: str, kind: str, shape: tuple[int, int, int, int, int, int], dtype: torch.dtype
) -> None:
    lengths = Lengths(torch.tensor([1, shape[4], 0])[: shape[0]])
    mask = {"all": None, "causal": Causal(), "shifted": Causal(-2), "lengths": lengths}[kind]
    inputs = [tensor.requires_grad_() for tensor in _inputs(shape, 16, dtype)]
    output, expected = attention(*inputs, mask=mask), attention(*inputs, mask=mask, backend="cpu")
    assert type(output.grad_fn).__name__ == "_QuickBackward"
    assert torch.equal(output, expected)
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    grads = [torch.autograd.grad(result, inputs, grad) for result in (output, expected)]
    assert all(torch.equal(*pair) for pair in zip(*grads, strict=True))


@pytest.mark.parametrize("rank", [2, 3, 4])
@pytest.mark.parametrize(
    "mask", [None, Causal(), Causal(1), Lengths(torch.tensor([3]))], ids=["all", "causal", "shifted", "lengths"]
)
def test_second_derivatives(mask: Mask | None, rank: int) -> None:
    inputs = [t[(0,) * (4 - rank)].requires_grad_() for t in _inputs((1, 2, 2, 3, 4, 3), 5, torch.float64)]

    def call(*tensors: Tensor) -> Tensor:
        output = attention(*tensors, mask=mask)
        assert type(output.grad_fn).__name__ == "_QuickBackward"
        return output

    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


def test_one_input_with_a_gradient() -> None:
    q, k, v = _inputs((1, 2, 2, 3, 4, 3), 5, torch.float64)
    k.requires_grad_()
    output = attention(q, k, v)
    assert type(output.grad_fn).__name__ == "_QuickBackward"
    (grad,) = torch.autograd.grad(output.sum(), k, create_graph=True)
    (expected,) = torch.autograd.grad(attention(q, k, v, backend="reference").sum(), k)
    torch.testing.assert_close(grad, expected)
    total = attention(q, k, v).add_(1).sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


def test_changed_saved_tensors_are_refused() -> None:
    q, k, v = (torch.randn(1, 2, 5, 8, requires_grad=True) for _ in range(3))
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor.double()):
        total = attention(q, k, v).sum()
    with pytest.raises(RuntimeError, match="has changed"):
        total.backward()


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        return func(*args, **(kwargs or {}))


def test_calls_that_need_the_general_path(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = (torch.randn(1, 2, 5, 8) for _ in range(3))

    def is_quick(q: Any, k: Any, v: Any, scale: Any = None, causal: int = NO_MASK, lengths: Any = None) -> bool:
        return quick.attention(q, k, v, scale, causal, lengths) is not None

    assert is_quick(q, k, v)
    for arguments in (
        (q, k, None), ([1.0], k, v), (nn.Parameter(q), k, v), (q, k.to("meta"), v), (q.to("meta"), k, v),
        (q, k.double(), v), (q.long(), k.long(), v.long()), (q[0], k, v), (q[..., :7], k, v), (q, k[:, :, :4], v),
        (q, k[:, :1], v), (q[:0], k[:0], v[:0]), (q[:, :, :0], k, v), (q[None], k[None], v[None]), (q[0, 0, 0], k, v),
        (q[0, 0, 0, 0], k, v), (torch.randn(1, 3, 5, 8), k, v), (torch.randn(2, 2, 5, 8), k, v),
        (q.to(torch.cfloat), k.to(torch.cfloat), v.to(torch.cfloat)),
    ):  # fmt: skip
        assert not is_quick(*arguments)
    for scale in (1, math.nan, math.inf, torch.tensor(1.0)):
        assert not is_quick(q, k, v, scale=scale)
    assert is_quick(q, k, v, lengths=torch.tensor([5]))
    for lengths in ([6], [-1], [5, 5], 5, [5.0]):
        assert not is_quick(q, k, v, lengths=torch.tensor(lengths))
    assert not is_quick(q, k, v, lengths=[5])
    assert not is_quick(q[0, 0].to_sparse(), k[0, 0], v[0, 0])
    assert not is_quick(q, k, v, lengths=torch.tensor([5]), causal=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_quick(q, k, v)
    with _Mode():
        assert not is_quick(q, k, v)
    assert not torch.func.vmap(lambda x: float(is_quick(x, k, v)) + 0 * x.sum())(q[None]).any()
    with_nan = v.clone()
    with_nan[0, 0, 4, 0] = math.nan
    assert is_quick(q, k, with_nan)
    assert not is_quick(q, k, with_nan, causal=LAST_SEES_ALL)
    assert attention(q, k, with_nan, mask=Causal())[0, 0, :4].isfinite().all()
    monkeypatch.setattr(library, "level", None)
    assert not is_quick(q, k, v)


def test_other_arguments_and_pinned_backends_use_the_general_path(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = (torch.randn(1, 2, 5, 8) for _ in range(3))

    def fail(*arguments: object) -> None:
        raise AssertionError("the quick path was used")

    monkeypatch.setattr(quick, "attention", fail)
    with use_backend("reference"):
        attention(q, k, v)
    attention(q, k, v, backend="cpu")
    attention(q, k, v, mask=torch.ones(5, 5, dtype=torch.bool))
    attention(q, k, v, mask=Causal(torch.tensor([2])))
    attention(q, k, v, mask=Lengths(torch.tensor([2]), torch.tensor([5])))
    attention(q, k, v, normalizer=Softmax(sink=torch.zeros(2)))
    with pytest.raises(AssertionError, match="quick path"):
        attention(q, k, v)


def test_a_long_call_releases_the_interpreter_lock() -> None:
    """Python runs during a long call, and concurrent calls give the bits of a single one."""
    q, k, v = (torch.randn(1, 1, 3000, 64) for _ in range(3))
    expected, outputs, iterations = attention(q, k, v), [], 0
    threads = [threading.Thread(target=lambda: outputs.append(attention(q, k, v))) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        iterations += 1
    assert iterations > 100
    assert all(torch.equal(output, expected) for output in outputs)


@pytest.mark.parametrize("grad", [False, True])
def test_the_output_is_on_the_device_of_the_query(grad: bool) -> None:
    q, k, v = (torch.randn(1, 2, 5, 8, requires_grad=grad) for _ in range(3))
    with torch.device("meta"):
        assert attention(q, k, v).device.type == "cpu"
        if grad:
            attention(q, k, v, mask=Causal()).sum().backward()
            assert q.grad is not None
            assert q.grad.device.type == "cpu"
