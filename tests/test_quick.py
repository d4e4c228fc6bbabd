"""The short way to the C++ kernels: the long way's bits where it is taken, and not taken where it must not be."""

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
    """Query, key and value, laid out as a projection leaves them."""
    batch, heads, key_heads, queries, keys, value_width = shape
    random = torch.Generator().manual_seed(sum(shape))
    sizes = ((queries, heads, width), (keys, key_heads, width), (keys, key_heads, value_width))
    return tuple(torch.randn(batch, *size, generator=random).to(dtype).transpose(1, 2) for size in sizes)


SHAPES = [(1, 4, 4, 1, 1, 16), (2, 4, 2, 1, 70, 16), (3, 2, 2, 33, 33, 5), (1, 2, 1, 130, 200, 16)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_gives_the_long_ways_bits(
    level: str, shape: tuple[int, int, int, int, int, int], dtype: torch.dtype
) -> None:
    q, k, v = _inputs(shape, 16, dtype)
    lengths = torch.arange(shape[4], 0, -1)[: shape[0]].repeat(shape[0])[: shape[0]]
    for mask, masked in (
        (None, ()), (Causal(), (LAST_SEES_ALL,)), (Causal(-2), (-2,)), (Causal(10**9), (10**9,)),
        (Lengths(lengths), (NO_MASK, lengths)),
    ):  # fmt: skip
        for scale in (None, 0.3):
            found = quick.attention(q, k, v, scale, *masked)
            expected = attention(q, k, v, mask=mask, score=Dot(scale), backend="cpu")
            assert found is not None
            assert found.dtype is dtype
            assert found.is_contiguous()
            assert torch.equal(found, expected)
            assert torch.equal(attention(q, k, v, mask=mask, score=Dot(scale)), expected)


@pytest.mark.parametrize("rank", [2, 3])
def test_leading_dimensions_may_be_missing(rank: int) -> None:
    query, key, value = (tensor[(0,) * (4 - rank)] for tensor in _inputs((1, 2, 2, 3, 9, 4), 8, torch.float32))
    found = quick.attention(query, key, value, None, NO_MASK)
    assert found is not None
    assert torch.equal(found, attention(query, key, value, backend="cpu"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["all", "causal", "shifted", "lengths"])
def test_gradients_are_the_long_ways(
    level: str, kind: str, shape: tuple[int, int, int, int, int, int], dtype: torch.dtype
) -> None:
    lengths = Lengths(torch.tensor([1, shape[4], 0])[: shape[0]])
    mask = {"all": None, "causal": Causal(), "shifted": Causal(-2), "lengths": lengths}[kind]
    inputs = [tensor.requires_grad_() for tensor in _inputs(shape, 16, dtype)]
    found, expected = attention(*inputs, mask=mask), attention(*inputs, mask=mask, backend="cpu")
    assert type(found.grad_fn).__name__ == "_QuickBackward"
    assert torch.equal(found, expected)
    grad = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    given = [torch.autograd.grad(one, inputs, grad) for one in (found, expected)]
    assert all(torch.equal(one, other) for one, other in zip(*given, strict=True))


@pytest.mark.parametrize("rank", [2, 3, 4])
@pytest.mark.parametrize(
    "mask", [None, Causal(), Causal(1), Lengths(torch.tensor([3]))], ids=["all", "causal", "shifted", "lengths"]
)
def test_gradients_have_gradients(mask: Mask | None, rank: int) -> None:
    inputs = [t[(0,) * (4 - rank)].requires_grad_() for t in _inputs((1, 2, 2, 3, 4, 3), 5, torch.float64)]

    def call(*tensors: Tensor) -> Tensor:
        found = attention(*tensors, mask=mask)
        assert type(found.grad_fn).__name__ == "_QuickBackward"
        return found

    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


def test_some_may_have_no_gradient() -> None:
    q, k, v = _inputs((1, 2, 2, 3, 4, 3), 5, torch.float64)
    k.requires_grad_()
    found = attention(q, k, v)
    assert type(found.grad_fn).__name__ == "_QuickBackward"
    (given,) = torch.autograd.grad(found.sum(), k, create_graph=True)
    (expected,) = torch.autograd.grad(attention(q, k, v, backend="reference").sum(), k)
    torch.testing.assert_close(given, expected)
    total = attention(q, k, v).add_(1).sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


def test_a_backward_is_given_what_was_saved() -> None:
    q, k, v = (torch.randn(1, 2, 5, 8, requires_grad=True) for _ in range(3))
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor.double()):
        total = attention(q, k, v).sum()
    with pytest.raises(RuntimeError, match="has changed"):
        total.backward()


class _Watching(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        return func(*args, **(kwargs or {}))


def test_it_is_not_taken_where_the_long_way_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = (torch.randn(1, 2, 5, 8) for _ in range(3))

    def taken(q: Any, k: Any, v: Any, scale: Any = None, causal: int = NO_MASK, lengths: Any = None) -> bool:
        return quick.attention(q, k, v, scale, causal, lengths) is not None

    assert taken(q, k, v)
    for wrong in (
        (q, k, None), ([1.0], k, v), (nn.Parameter(q), k, v), (q, k.to("meta"), v), (q.to("meta"), k, v),
        (q, k.double(), v), (q.long(), k.long(), v.long()), (q[0], k, v), (q[..., :7], k, v), (q, k[:, :, :4], v),
        (q, k[:, :1], v), (q[:0], k[:0], v[:0]), (q[:, :, :0], k, v), (q[None], k[None], v[None]), (q[0, 0, 0], k, v),
        (q[0, 0, 0, 0], k, v), (torch.randn(1, 3, 5, 8), k, v), (torch.randn(2, 2, 5, 8), k, v),
        (q.to(torch.cfloat), k.to(torch.cfloat), v.to(torch.cfloat)),
    ):  # fmt: skip
        assert not taken(*wrong)
    for scale in (1, math.nan, math.inf, torch.tensor(1.0)):
        assert not taken(q, k, v, scale=scale)
    assert taken(q, k, v, lengths=torch.tensor([5]))
    for lengths in ([6], [-1], [5, 5], 5, [5.0]):
        assert not taken(q, k, v, lengths=torch.tensor(lengths))
    assert not taken(q, k, v, lengths=[5])
    assert not taken(q[0, 0].to_sparse(), k[0, 0], v[0, 0])
    assert not taken(q, k, v, lengths=torch.tensor([5]), causal=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert not taken(q, k, v)
    with _Watching():
        assert not taken(q, k, v)
    assert not torch.func.vmap(lambda x: float(taken(x, k, v)) + 0 * x.sum())(q[None]).any()
    spoilt = v.clone()
    spoilt[0, 0, 4, 0] = math.nan
    assert taken(q, k, spoilt)
    assert not taken(q, k, spoilt, causal=LAST_SEES_ALL)
    assert attention(q, k, spoilt, mask=Causal())[0, 0, :4].isfinite().all()
    monkeypatch.setattr(library, "level", None)
    assert not taken(q, k, v)


def test_a_pinned_backend_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = (torch.randn(1, 2, 5, 8) for _ in range(3))

    def called(*arguments: object) -> None:
        raise AssertionError("the short way was taken")

    monkeypatch.setattr(quick, "attention", called)
    with use_backend("reference"):
        attention(q, k, v)
    attention(q, k, v, backend="cpu")
    attention(q, k, v, mask=torch.ones(5, 5, dtype=torch.bool))
    attention(q, k, v, mask=Causal(torch.tensor([2])))
    attention(q, k, v, mask=Lengths(torch.tensor([2]), torch.tensor([5])))
    attention(q, k, v, normalizer=Softmax(sink=torch.zeros(2)))
    with pytest.raises(AssertionError, match="short way"):
        attention(q, k, v)


def test_others_run_meanwhile() -> None:
    """A long call lets go of the interpreter's lock, and several give the bits of one."""
    q, k, v = (torch.randn(1, 1, 3000, 64) for _ in range(3))
    expected, found, counted = attention(q, k, v), [], 0
    threads = [threading.Thread(target=lambda: found.append(attention(q, k, v))) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counted += 1
    assert counted > 100
    assert all(torch.equal(one, expected) for one in found)


@pytest.mark.parametrize("grad", [False, True])
def test_outputs_are_where_the_query_is(grad: bool) -> None:
    q, k, v = (torch.randn(1, 2, 5, 8, requires_grad=grad) for _ in range(3))
    with torch.device("meta"):
        assert attention(q, k, v).device.type == "cpu"
        if grad:
            attention(q, k, v, mask=Causal()).sum().backward()
            assert q.grad is not None
            assert q.grad.device.type == "cpu"
