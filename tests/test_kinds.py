"""Tensors of every kind as every argument give the correct result, or an error that names the argument."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.masked import masked_tensor
from torch.testing._internal.two_tensor import TwoTensor

from regard import (
    Additive,
    ALiBi,
    Bias,
    Bilinear,
    BlockSparse,
    Causal,
    Cosine,
    Documents,
    Dropout,
    Entmax,
    Hard,
    Lengths,
    Look,
    Mask,
    Prefix,
    RelativeBias,
    Sigmoid,
    Softcap,
    Softmax,
    Variational,
    Window,
    attention,
)
from regard.attend.visible import Visible


class OwnBias(Bias):
    """A user's bias, which returns the given tensor."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor

    def values(self, shape: Any, query: Tensor) -> Tensor:
        return self.tensor


class OwnMask(Mask):
    """A user's mask, made of the given tensors."""

    def __init__(self, **tensors: Any):
        self.tensors = tensors

    def lower(self, shape: Any, device: torch.device) -> Visible:
        return Visible(**self.tensors)


class OwnParameter(torch.nn.Parameter):
    """A user's subclass of Parameter."""


class WithTorchFunction(Tensor):
    """A subclass with `__torch_function__`, as in PyTorch's documentation."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        return super().__torch_function__(func, types, args, kwargs or {})


def conjugate(tensor: Tensor) -> Tensor:
    """The same numbers, stored negated and read through the imaginary part of a conjugate."""
    return torch.complex(torch.zeros_like(tensor), -tensor).conj().imag


def mesh_tensor(tensor: Tensor) -> Tensor:
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, torch.distributed.init_device_mesh("cpu", (1,)))


def from_read_only_file(tensor: Tensor) -> Tensor:
    path = Path(tempfile.mkdtemp()) / "numbers"
    tensor.numpy().tofile(path)
    return torch.from_numpy(np.memmap(path, tensor.numpy().dtype, "r", shape=tuple(tensor.shape)))


def from_mapped_file(tensor: Tensor) -> Tensor:
    path = Path(tempfile.mkdtemp()) / "tensor"
    torch.save(tensor.clone(), path)
    return torch.load(path, mmap=True)


def strided_view(tensor: Tensor) -> Tensor:
    """Every second number of a larger tensor, from offset 5 on."""
    larger = torch.full((2 * tensor.numel() + 7,), 77).to(tensor.dtype)
    part = torch.as_strided(larger, tensor.shape, [2 * step for step in tensor.contiguous().stride()], 5)
    return part.copy_(tensor)


def swapped(tensor: Tensor) -> Tensor:
    zeros, copy = torch.zeros(3, 3), tensor.clone()
    torch.utils.swap_tensors(zeros, copy)
    return zeros


ACCEPTED: dict[str, Callable[[Tensor], Tensor]] = {
    "parameter": lambda t: torch.nn.Parameter(t, requires_grad=False),
    "buffer": lambda t: torch.nn.Buffer(t),
    "own parameter": lambda t: OwnParameter(t, requires_grad=False),
    "shared": lambda t: t.clone().share_memory_(),
    "read-only file": from_read_only_file,
    "mapped file": from_mapped_file,
    "strided view": strided_view,
    "expanded": lambda t: t[None].expand(3, *t.shape)[1],
    "reversed twice": lambda t: t.flip(-1).contiguous().flip(-1) if t.dim() else t,
    "swapped": swapped,
    "negated": lambda t: torch._neg_view(-t),
    "conjugate": conjugate,
    "torch function": lambda t: t.as_subclass(WithTorchFunction),
    "torch dispatch": lambda t: TwoTensor(t, t.clone()),
}
"""Kinds of tensors with the numbers of ``t``."""

REFUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "meta": lambda t: t.to("meta"),
    "fake": lambda t: FakeTensorMode().from_tensor(t),
    "quantized": lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
    "COO": lambda t: t.to_sparse(),
    "CSR": lambda t: t.to_sparse_csr(),
    "nested": lambda t: torch.nested.nested_tensor(list(t)),
    "masked": lambda t: masked_tensor(t, torch.ones_like(t, dtype=torch.bool)),
    "DTensor": mesh_tensor,
    "uninitialized": lambda t: torch.nn.UninitializedParameter(),
}


def rand(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


QKV: dict[str, Any] = {"query": rand(2, 2, 5, 8), "key": rand(2, 2, 6, 8) * 0.9, "value": rand(2, 2, 6, 8) + 0.1}
POSITIVE = torch.tensor([1.3, 1.7])
ARGUMENTS: dict[str, tuple[Tensor, Callable[[Tensor], dict[str, Any]]]] = {
    "query": (QKV["query"], lambda t: {"query": t}),
    "key": (QKV["key"], lambda t: {"key": t}),
    "value": (QKV["value"], lambda t: {"value": t}),
    "bias": (rand(2, 2, 5, 6), lambda t: {"bias": t}),
    "score: Additive.v": (rand(8), lambda t: {"score": Softcap(Additive(t), 3.0)}),
    "score: Additive.bias": (rand(2, 8), lambda t: {"score": Additive(rand(8), t)}),
    "score: Bilinear.weight": (rand(8, 8), lambda t: {"score": Bilinear(t)}),
    "score: Cosine.scale": (rand(2), lambda t: {"score": Cosine(t)}),
    "bias: ALiBi.slopes": (rand(2), lambda t: {"bias": ALiBi(t)}),
    "bias: RelativeBias.table": (rand(2, 8), lambda t: {"bias": RelativeBias(t)}),
    "normalizer: Softmax.sink": (rand(2), lambda t: {"normalizer": Dropout(Softmax(t), 0.0)}),
    "normalizer: Entmax.alpha": (POSITIVE, lambda t: {"normalizer": Entmax(t)}),
    "normalizer: Sigmoid.bias": (rand(2), lambda t: {"normalizer": Sigmoid(t)}),
    "normalizer: Hard.temperature": (POSITIVE, lambda t: {"normalizer": Hard("straight-through", t)}),
    "normalizer: Variational.scale": (POSITIVE, lambda t: {"normalizer": Variational(t, seed=3)}),
    "normalizer: Dropout.seed": (torch.tensor(3), lambda t: {"normalizer": Dropout(Softmax(), 0.5, t)}),
    "mask: Lengths.keys": (torch.tensor([3, 6]), lambda t: {"mask": Lengths(t)}),
    "mask: Lengths.queries": (torch.tensor([3, 5]), lambda t: {"mask": Lengths(torch.tensor([3, 6]), t) & Causal()}),
    "mask: Causal.offset": (torch.tensor([1, 2]), lambda t: {"mask": Causal(t)}),
    "mask: Window.offset": (torch.tensor([1, 2]), lambda t: {"mask": ~Window(1, 1, t)}),
    "mask: Prefix.keys": (torch.tensor([1, 2]), lambda t: {"mask": Prefix(t)}),
    "mask: Documents.keys": (torch.tensor([0, 0, 1, 1, 0, 2]), lambda t: {"mask": Documents(t)}),
    "mask: BlockSparse.layout": (rand(3, 3) > 0, lambda t: {"mask": BlockSparse(t, 2)}),
    "mask": (rand(5, 6) > 0, lambda t: {"mask": t}),
    "bias: OwnBias.values": (rand(2, 2, 5, 6), lambda t: {"bias": OwnBias(t)}),
    "mask, own dense": (rand(2, 1, 5, 6) > 0, lambda t: {"mask": OwnMask(dense=t)}),
    "mask, own end": (torch.tensor([2, 4]).view(2, 1, 1), lambda t: {"mask": OwnMask(end=t)}),
    "normalizer: Variational.prior_mean": (
        rand(5, 6),
        lambda t: {"normalizer": Variational(prior_mean=t, seed=3), "look": Look(kl=True)},
    ),
    "look: Look.rows": (torch.tensor([3, 0]), lambda t: {"look": Look(rows=t)}),
    "look: Look.norms": (rand(2, 8, 3), lambda t: {"look": Look(norms=t)}),
}


CONVERTIBLE = {"negated": 27, "conjugate": 18, "quantized": 18, "CSR": 13, "nested": 29}
"""The number of arguments that PyTorch can represent as a kind; all arguments for the kinds that are not in it.

Booleans cannot be negated, integers can be neither conjugated nor quantized, CSR needs two dimensions (and as many
entries in each matrix of a batch), and nested tensors need one.
"""


def converted(make: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor | None:
    """``tensor`` as another kind; None if PyTorch has no such tensor of this dtype or shape."""
    try:
        return make(tensor)
    except (RuntimeError, TypeError, IndexError, NotImplementedError):
        return None


def check_arguments(kind: str) -> int:
    """Check each argument as ``kind``, with and without gradients; returns the number of arguments checked."""
    count = 0
    for name, (tensor, options) in ARGUMENTS.items():
        print(kind, name, flush=True)  # after a crash, the last line shows where it happened
        argument = converted((ACCEPTED | REFUSED)[kind], tensor)
        if argument is None:
            continue
        count += 1
        for grad in (False, True):
            qkv = {n: t.clone().requires_grad_(grad) for n, t in QKV.items()}
            if kind in REFUSED:
                # Of two tensors on different devices, the second is named.
                named = "key" if (kind, name) in (("meta", "query"), ("fake", "query")) else name.split(",")[0]
                with pytest.raises((TypeError, ValueError), match=f"^{named}[: ]"):
                    attention(**qkv | options(argument))
            else:
                output = results(**qkv | options(argument))
                expected = results(**qkv | options(tensor))
                torch.testing.assert_close([plain(t) for t in output], expected)
                if grad:
                    leaf = qkv["value" if name != "value" else "query"]
                    ours, theirs = (torch.autograd.grad(o.square().sum(), leaf)[0] for o in (output[0], expected[0]))
                    torch.testing.assert_close(plain(ours), theirs)
    return count


def results(**arguments: Any) -> list[Tensor]:
    """The output, and the results of the look."""
    if "look" not in arguments:
        return [attention(**arguments)]
    output, view = attention(**arguments)
    return [output, *view._results.values()]


def check_tiles(kind: str) -> None:
    """Check the queries and the keys of a tile as ``kind``."""
    view = attention(**QKV, look=Look())[1]
    for name, numbers in (("queries", torch.tensor([3, 0])), ("keys", torch.tensor([1, 5, 0]))):
        print(kind, "tile", name, flush=True)
        argument = converted((ACCEPTED | REFUSED)[kind], numbers)
        if argument is None:
            continue
        indices = {"queries": [3, 0], "keys": [1, 5, 0]}
        if kind in REFUSED:
            with pytest.raises(TypeError, match=f"^{name}[: ]"):
                view.tile(**indices | {name: argument})
        else:
            torch.testing.assert_close(plain(view.tile(**indices | {name: argument})), view.tile(**indices))


def plain(tensor: Tensor) -> Tensor:
    return tensor.a if isinstance(tensor, TwoTensor) else tensor.as_subclass(Tensor)


def check_gradients(kind: str) -> None:
    """Check the output's gradient as ``kind``, on the quick path and on the general one."""
    for options in ({}, {"mask": Window(2, 1)}, {"bias": rand(2, 2, 5, 6)}, {"normalizer": Entmax()}):
        print(kind, "gradient", options, flush=True)
        leaves = [t.clone().requires_grad_() for t in QKV.values()]
        output = attention(*leaves, **options)
        upstream = rand(*output.shape)
        expected = torch.autograd.grad(output, leaves, upstream, retain_graph=True)
        gradient = converted((ACCEPTED | REFUSED)[kind], upstream)
        if gradient is None:
            continue
        if kind in ACCEPTED:
            for create in (False, True):
                grads = torch.autograd.grad(output, leaves, gradient, retain_graph=True, create_graph=create)
                torch.testing.assert_close([plain(t) for t in grads], list(expected))
        else:
            with pytest.raises((TypeError, RuntimeError), match=r"(?i)gradient|grad|tensor"):
                torch.autograd.grad(output, leaves, gradient)


def main() -> None:
    """All checks, run in a separate process."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    for kind in ACCEPTED | REFUSED:
        assert check_arguments(kind) == CONVERTIBLE.get(kind, len(ARGUMENTS)), kind
        if kind != "uninitialized":  # autograd refuses it by itself
            check_gradients(kind)
        check_tiles(kind)
    torch.distributed.destroy_process_group()
    print("all")


def test_every_kind_as_every_argument() -> None:
    call = "import test_kinds; test_kinds.main()"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", call],
        cwd=Path(__file__).parent, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    last = result.stdout.splitlines()[-1:]
    assert (result.returncode, last) == (0, ["all"]), f"{result.returncode}, at {last}\n{result.stderr[-3000:]}"


def test_zero_tensors_without_memory() -> None:
    for name in QKV:
        zero = torch._efficientzerotensor(QKV[name].shape)
        calls: list[dict[str, Any]] = [{}, {"mask": Causal()}, {"mask": Window(2, 1)}, {"bias": rand(5, 6)}]
        for options in calls:
            expected = attention(**QKV | {name: torch.zeros_like(QKV[name])}, **options)
            torch.testing.assert_close(attention(**QKV | {name: zero}, **options), expected)
    leaves = [t.clone().requires_grad_() for t in QKV.values()]
    output = attention(*leaves)
    grads = torch.autograd.grad(output, leaves, torch._efficientzerotensor(output.shape))
    assert all(torch.equal(grad, torch.zeros_like(leaf)) for grad, leaf in zip(grads, leaves, strict=True))


FREED = {
    "key": lambda free: {"key": free(QKV["key"])},
    "value, general path": lambda free: {"value": free(QKV["value"]), "mask": Window(2, 1)},
    "sink": lambda free: {"normalizer": Softmax(free(rand(2)))},
}


@pytest.mark.parametrize("name", FREED)
def test_a_tensor_with_freed_memory_is_refused(name: str) -> None:
    def free(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor.untyped_storage().resize_(0)
        return tensor

    with pytest.raises(RuntimeError, match="was freed"):
        attention(**QKV | FREED[name](free))


def test_tracing_by_torch_jit_is_refused() -> None:
    for options in ({}, {"mask": Window(2, 1)}):
        with pytest.raises(RuntimeError, match=r"torch\.jit\.trace"):
            torch.jit.trace(lambda q, options=options: attention(q, QKV["key"], QKV["value"], **options), QKV["query"])
