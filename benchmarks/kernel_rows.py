"""The calls that `kernels.py` times: each row is a call of regard and the same computation in another library."""

# mypy infers no types for a lambda that binds a loop's variables as defaults.
# mypy: disable-error-code=misc
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from entmax import entmax15, sparsemax
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention as sdpa
from x_transformers.attend import Attend

from regard import Additive, ALiBi, Causal, Dot, Entmax, Softcap, Sparsemax, TopK, Window, attention

F32, BF16 = torch.float32, torch.bfloat16


@dataclass
class Row:
    """One line of the table.

    Attributes:
        name: what is computed.
        peer: the library that regard is compared with.
        dtype: of all tensors.
        ours: the call of regard.
        theirs: the same computation in the peer.
        target: the intended ratio of their time to ours.
        operations: floating-point operations of the matrix products, from which the lower bound of the time follows;
            0 if they do not limit it.
        bytes: bytes that have to be read, likewise.
    """

    name: str
    peer: str
    dtype: torch.dtype
    ours: Callable[[], object]
    theirs: Callable[[], object]
    target: float
    operations: float = 0
    bytes: float = 0


def normal(*shape: int, dtype: torch.dtype, grad: bool = False) -> Tensor:
    return torch.randn(shape, dtype=dtype, requires_grad=grad)


def both(call: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], object]:
    """Forward and backward."""
    grad = torch.randn_like(call(*inputs))
    return lambda: torch.autograd.grad(call(*inputs), inputs, grad)


def softmax_rows(quick: bool) -> Iterator[Row]:
    lengths = (512, 2048) if quick else (512, 2048, 8192)
    for dtype in (F32, BF16):
        low = dtype is F32
        for width, targets in ((64, (2.2, 4.0)), (128, (2.0, 3.5))):
            for length in lengths:
                q, k, v = (normal(1, 8, length, width, dtype=dtype) for _ in range(3))
                yield Row(
                    f"softmax forward, 8 × {width}, L {length}", "SDPA", dtype,
                    lambda q=q, k=k, v=v: attention(q, k, v), lambda q=q, k=k, v=v: sdpa(q, k, v),
                    targets[not low], 4 * 8 * length**2 * width,
                )  # fmt: skip
        for length in lengths:
            q, k, v = (normal(1, 8, length, 64, dtype=dtype) for _ in range(3))
            yield Row(
                f"causal forward, 8 × 64, L {length}", "SDPA", dtype,
                lambda q=q, k=k, v=v: attention(q, k, v, mask=Causal()),
                lambda q=q, k=k, v=v: sdpa(q, k, v, is_causal=True), 2.4 if low else 4.2,
                4 * 8 * 64 * length * (length + 1) / 2,
            )  # fmt: skip
        for heads, length in [(8, length) for length in lengths] + [(1, 4096)]:
            inputs = [normal(1, heads, length, 64, dtype=dtype, grad=True) for _ in range(3)]
            target = ((2.1, 2.6) if heads == 8 else (2.2, 2.7))[not low]
            name = f"forward + backward, {heads} × 64, L {length}"
            operations = 14 * heads * length**2 * 64
            yield Row(name, "SDPA", dtype, both(attention, *inputs), both(sdpa, *inputs), target, operations)
        inputs = [normal(64, 8, 32, 64, dtype=dtype, grad=True) for _ in range(3)]
        target = 1.5 if low else 4.0
        name = "forward + backward, batch 64, 8 × 64, L 32"
        operations = 14 * 64 * 8 * 32**2 * 64
        yield Row(name, "SDPA", dtype, both(attention, *inputs), both(sdpa, *inputs), target, operations)
        for batch in (1, 8):
            q = normal(batch, 8, 1, 64, dtype=dtype)
            k, v = (normal(batch, 2, 8192, 64, dtype=dtype) for _ in range(2))
            yield Row(
                f"decode, batch {batch}, 8 query and 2 key heads, cache 8192", "SDPA", dtype,
                lambda q=q, k=k, v=v: attention(q, k, v), lambda q=q, k=k, v=v: sdpa(q, k, v, enable_gqa=True),
                2.5 if low else 10.0, bytes=k.nbytes + v.nbytes,
            )  # fmt: skip


def flex_rows(quick: bool) -> Iterator[Row]:
    flex = torch.compile(flex_attention)
    slopes = torch.tensor([2.0 ** -(i + 1) for i in range(8)])

    def capped(score: Tensor, b: Any, h: Any, i: Any, j: Any) -> Tensor:
        return 20.0 * torch.tanh(score / 20.0)

    def alibi(score: Tensor, b: Any, h: Any, i: Any, j: Any) -> Tensor:
        return score - slopes[h] * (i - j).abs()

    length = 2048
    operations = 4 * 8 * length**2 * 64
    for dtype in (F32, BF16):
        target = 3.0 if dtype is F32 else 5.0
        q, k, v = (normal(1, 8, length, 64, dtype=dtype) for _ in range(3))
        few = [t[:, :2].contiguous() for t in (k, v)]
        yield Row(
            f"softcap forward, 8 × 64, L {length}", "Flex", dtype,
            lambda q=q, k=k, v=v: attention(q, k, v, score=Softcap(Dot(), 20.0)),
            lambda q=q, k=k, v=v: flex(q, k, v, score_mod=capped), target,
            operations,
        )  # fmt: skip
        yield Row(
            f"ALiBi forward, 8 × 64, L {length}", "Flex", dtype,
            lambda q=q, k=k, v=v: attention(q, k, v, bias=ALiBi(slopes)),
            lambda q=q, k=k, v=v: flex(q, k, v, score_mod=alibi), target,
            operations,
        )  # fmt: skip
        yield Row(
            f"grouped queries forward, 8 and 2 × 64, L {length}", "Flex", dtype,
            lambda q=q, few=few: attention(q, *few), lambda q=q, few=few: flex(q, *few, enable_gqa=True), target,
            operations,
        )  # fmt: skip
        if quick:
            continue
        size = 8192
        q, k, v = (normal(1, 8, size, 64, dtype=dtype) for _ in range(3))

        def near(b: Any, h: Any, i: Any, j: Any) -> Any:
            return (j <= i) & (j > i - 256)

        mask = torch.ones(size, size, dtype=torch.bool).tril() & ~torch.ones(size, size, dtype=torch.bool).tril(-256)
        blocks = create_block_mask(near, None, None, size, size, device="cpu")
        ours = lambda q=q, k=k, v=v: attention(q, k, v, mask=Window(255, 0))  # noqa: E731
        name = f"causal window 256 forward, 8 × 64, L {size}"
        seen = 4 * 8 * 64 * float(mask.sum())
        yield Row(name, "SDPA", dtype, ours, lambda q=q, k=k, v=v, m=mask: sdpa(q, k, v, m), 10.0, seen)
        yield Row(
            name, "Flex", dtype, ours, lambda q=q, k=k, v=v, m=blocks: flex(q, k, v, block_mask=m),
            2.5 if dtype is F32 else 4.0, seen,
        )  # fmt: skip


def other_rows(quick: bool) -> Iterator[Row]:
    for dtype in (F32, BF16):
        length = 1024
        q, k, v = (normal(1, 8, length, 64, dtype=dtype, grad=True) for _ in range(3))
        bias = normal(1, 8, length, length, dtype=dtype, grad=True)
        yield Row(
            f"bias with gradient, forward + backward, 8 × 64, L {length}", "SDPA", dtype,
            both(lambda q, k, v, bias: attention(q, k, v, bias=bias), q, k, v, bias), both(sdpa, q, k, v, bias),
            4.0 if dtype is F32 else 5.0, 14 * 8 * length**2 * 64,
        )  # fmt: skip
        q, k = (normal(1, 1, 512, 128, dtype=dtype, grad=True) for _ in range(2))
        v, w = normal(1, 1, 512, 64, dtype=dtype, grad=True), normal(128, dtype=dtype, grad=True)

        def plain(q: Tensor, k: Tensor, v: Tensor, w: Tensor) -> Tensor:
            return torch.softmax(torch.tanh(q[..., :, None, :] + k[..., None, :, :]) @ w, -1) @ v

        def ours(q: Tensor, k: Tensor, v: Tensor, w: Tensor) -> Tensor:
            return attention(q, k, v, score=Additive(w))

        still = [t.detach() for t in (q, k, v, w)]
        name = "additive, E 128, L 512 × 512"
        yield Row(f"{name}, forward", "plain", dtype, lambda s=still: ours(*s), lambda s=still: plain(*s), 4.0)
        yield Row(f"{name}, forward + backward", "plain", dtype, both(ours, q, k, v, w), both(plain, q, k, v, w), 4.0)
        inputs = [normal(1, 8, 2048, 64, dtype=dtype, grad=True) for _ in range(3)]
        for name, normalizer, function in (
            ("sparsemax", Sparsemax(), sparsemax),
            ("entmax 1.5", Entmax(1.5), entmax15),
        ):

            def by_package(q: Tensor, k: Tensor, v: Tensor, function: Any = function) -> Tensor:
                return function(q @ k.mT * 64**-0.5, -1) @ v

            yield Row(
                f"{name}, forward + backward, 8 × 64, L 2048", "entmax", dtype,
                both(lambda q, k, v, n=normalizer: attention(q, k, v, normalizer=n), *inputs),
                both(by_package, *inputs), 8.0,
            )  # fmt: skip


def other_library_rows(quick: bool) -> Iterator[Row]:
    """Mechanisms that x-transformers has as well; it computes the full Lq × Lk matrix of weights."""
    for dtype in (F32, BF16):
        q, k, v = (normal(1, 8, 2048, 64, dtype=dtype) for _ in range(3))
        for name, theirs, options in (
            ("softcap", Attend(softclamp_logits=True, logit_softclamp_value=20.0), {"score": Softcap(Dot(), 20.0)}),
            ("top-k of 32", Attend(sparse_topk=32), {"normalizer": TopK(32)}),
        ):
            yield Row(
                f"{name} forward, 8 × 64, L 2048", "x-tf", dtype,
                lambda q=q, k=k, v=v, o=options: attention(q, k, v, **o),
                lambda q=q, k=k, v=v, a=theirs: a(q, k, v), 0.0,
            )  # fmt: skip


def all_rows(quick: bool) -> Iterator[Row]:
    """All rows; ``quick`` leaves out lengths of 8,192."""
    for rows in (softmax_rows, flex_rows, other_rows, other_library_rows):
        yield from rows(quick)
