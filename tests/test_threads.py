"""The C++ kernels on several threads give the results of one thread, in calls that are divided into parts."""

from __future__ import annotations

import os
import signal
import struct
import time
from typing import Any

import pytest
import torch
from torch import Tensor

import mechanisms
from masks import MASKS
from mechanisms import CASES, Case, Sizes
from regard import Causal, Lengths, Look, Variational, attention
from regard.kernels.cpu import call, library, quick
from test_cpu import TOLERANCE, close
from threads import linux, script, use_threads

pytestmark = pytest.mark.skipif(library.level is None, reason=library.why_none)

THREADS = (2, 5)

SIZE = Sizes(1, 2, 1, 280, 290, 16, 24)
"""One key head, so that the backward pass splits its queries; more blocks of queries and tiles of keys than threads."""

KERNELS = [case for case in CASES if not case.reference]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """For forward, backward and look: the number of threads of a call, and the largest number of parts of queries."""
    calls: dict[str, tuple[int, int]] = {}
    run, quick_forward, quick_backward = call.run, quick._forward, quick._backward

    def recorded(function: Any, packed: bytes) -> None:
        threads = struct.unpack_from("q", packed, 8 * 10)[0]
        splits = struct.unpack_from("q", packed, call._HEAD.size + call._OPTIONS.size + 8 * 25)[0]
        name = function.__name__.removeprefix("regard_")
        calls[name] = threads, max(splits, calls.get(name, (0, 0))[1])
        run(function, packed)

    def forward(*arguments: Any) -> int:
        calls["forward"] = arguments[-2], 1
        return int(quick_forward(*arguments))

    def backward(*arguments: Any) -> int:
        calls["backward"] = arguments[-3], arguments[-1]
        return int(quick_backward(*arguments))

    monkeypatch.setattr(call, "run", recorded)
    monkeypatch.setattr(quick, "_forward", forward)
    monkeypatch.setattr(quick, "_backward", backward)
    return calls


def _looks(case: Case) -> Look:
    requests = {"lse": True, "entropy": True, "received": True, "reach": True, "norms": True}
    requests |= {case.extra: True} if case.extra else {}
    requests = {name: value for name, value in requests.items() if name not in case.undefined}
    return Look(top=3, rows=[0, 279, 64, 65], map=(7, 9), **requests)


SUMS = ("received", "map.mean", "norms.received")
"""The results of a look that are summed over queries, part by part."""


def _call(case: Case, mask: str, dtype: torch.dtype, backend: str = "cpu") -> dict[str, Tensor]:
    """The output, the results of a look and the gradients, by name."""
    leaves = [tensor.to(dtype).requires_grad_() for tensor in mechanisms.inputs(case, SIZE)]
    parameters = [tensor.to(dtype).requires_grad_() for tensor in case.parameters(SIZE)]
    options = case.call(SIZE, *parameters) | {"mask": MASKS[mask].make(SIZE), "backend": backend}
    if options.get("bias") is None and len(options) == 2 and backend == "cpu":
        del options["backend"]  # for the quick path, if it is a plain call
    output = attention(*leaves, **options)
    _, view = attention(*leaves, look=_looks(case), **options | {"backend": backend})
    grad = mechanisms.random(*output.shape, seed=11).to(dtype)
    gradients = torch.autograd.grad(output, leaves + parameters, grad, allow_unused=True)
    results = {"output": output.detach()}
    for name in ("lse", "entropy", "received", "reach", "rows", case.extra):
        if name and name not in case.undefined:
            results[name] = getattr(view, name).detach()
    results |= {"top": view.top.weights, "map.mean": view.map.mean, "map.max": view.map.max}
    results |= {"norms.received": view.norms.received}
    names = ["query", "key", "value", *(f"parameter {place}" for place in range(len(parameters)))]
    return results | {f"grad {name}": g for name, g in zip(names, gradients, strict=True) if g is not None}


def _same(result: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Like `close`, for results with −∞, such as the log-sum-exp of a query without a visible key."""
    hidden = wanted.isneginf()
    assert torch.equal(result.isneginf(), hidden)
    close(result.masked_fill(hidden, 0), wanted.double().masked_fill(hidden, 0), tolerance)


def _check(case: Case, mask: str, dtype: torch.dtype, parts: dict[str, tuple[int, int]]) -> dict[str, Tensor]:
    """Compare two and five threads with one, at the same level; returns the results of five."""
    parts.clear()
    with use_threads(1):
        one = _call(case, mask, dtype)
        assert parts == {"forward": (1, 1), "backward": (1, 1), "look": (1, 2)}
    for threads in THREADS:
        parts.clear()
        with use_threads(threads):
            several = _call(case, mask, dtype)
            look = min(2 * threads, 5)
            assert parts == {"forward": (threads, 1), "backward": (threads, threads), "look": (threads, look)}
            again = _call(case, mask, dtype) if threads == THREADS[-1] else several
        assert several.keys() == one.keys()
        for name, value in one.items():
            assert torch.equal(again[name], several[name]), f"{name}: two runs on {threads} threads differ"
            # The bilinear score has products by PyTorch, whose rounding depends on its number of threads.
            in_parts = name in SUMS or name.startswith("grad ") or "bilinear" in case.name
            if in_parts and not (name == "grad query" and "bilinear" not in case.name):
                _same(several[name], value, 2 * TOLERANCE[dtype])
            else:
                assert torch.equal(several[name], value), f"{name}: {threads} threads and one thread differ"
    return several


@pytest.mark.parametrize("mask", ["none", "causal"])
@pytest.mark.parametrize("case", KERNELS, ids=lambda case: case.name)
def test_mechanisms_on_threads(case: Case, mask: str, parts: dict[str, tuple[int, int]]) -> None:
    results = _check(case, mask, torch.float64, parts)
    for name, exact in _call(case, mask, torch.float64, "reference").items():
        _same(results[name], exact, 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", KERNELS, ids=lambda case: case.name)
def test_dtypes_on_threads(case: Case, dtype: torch.dtype, parts: dict[str, tuple[int, int]]) -> None:
    _check(case, "causal", dtype, parts)


@pytest.mark.parametrize("mask", MASKS)
def test_masks_on_threads(mask: str, parts: dict[str, tuple[int, int]]) -> None:
    dot = KERNELS[0]
    results = _check(dot, mask, torch.float64, parts)
    for name, exact in _call(dot, mask, torch.float64, "reference").items():
        _same(results[name], exact, 1e-10)
    _check(dot, mask, torch.float16, parts)


@pytest.mark.parametrize("name", ["dot", "additive", "entmax", "all: cosine, t5, sink"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_levels_on_threads(level: str, dtype: torch.dtype, name: str, parts: dict[str, tuple[int, int]]) -> None:
    _check(next(case for case in KERNELS if case.name == name), "causal", dtype, parts)


@pytest.mark.parametrize("threads", THREADS)
def test_a_shared_bias_on_threads(level: str, threads: int) -> None:
    """Each of its entries is summed over the heads by one task."""
    case, bias = KERNELS[0], mechanisms.random(SIZE.queries, SIZE.keys).requires_grad_()
    prior = mechanisms.random(SIZE.queries, SIZE.keys, seed=8).requires_grad_()
    q, k, v = mechanisms.inputs(case, SIZE)
    gradients = []
    for backend, count in (("cpu", threads), ("cpu", 1), ("reference", 1)):
        with use_threads(count):
            normalizer = Variational(0.5, prior, seed=3)
            look = Look(kl=True)
            output, view = attention(
                q, k, v, bias=bias, mask=Causal(), normalizer=normalizer, look=look, backend=backend
            )
            gradients.append(torch.autograd.grad(output.square().sum() + view.kl.sum(), (bias, prior)))
    for several, one, exact in zip(*gradients, strict=True):
        assert torch.equal(several, one)
        close(several, exact, 1e-11)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_decoding_on_threads(level: str, dtype: torch.dtype, threads: int) -> None:
    """Keys are divided into parts of at least 512, each with a separate softmax; the parts are combined."""
    q, k, v = (mechanisms.random(2, heads, n, 64, seed=n).to(dtype) for heads, n in ((4, 1), (2, 5000), (2, 5000)))
    lengths = Lengths(torch.tensor([5000, 700]))
    with use_threads(threads):
        output, view = attention(q, k, v, mask=lengths, look=Look(lse=True), backend="cpu")
    exact, wanted = attention(*(t.double() for t in (q, k, v)), mask=lengths, look=Look(lse=True), backend="reference")
    close(output, exact, TOLERANCE[dtype])
    close(view.lse, wanted.lse, TOLERANCE[torch.float32])


COUNTED = """
import os, torch
from regard import attention, Look
from regard.kernels.cpu import units
q, k = torch.randn(1, 1, 400, 8), torch.randn(1, 1, 2000, 8).requires_grad_()
one, keys = torch.randn(1, 1, 1, 32), torch.randn(1, 1, 5000, 32)
output = attention(q, k, k)
torch.set_num_threads(2)  # PyTorch starts a thread
for threads, call in enumerate((
    lambda: attention(q, k, k), lambda: output.sum().backward(), lambda: attention(q, k, k, look=Look(received=True)),
    lambda: attention(one, keys, keys), lambda: units.factors((2**20,), 0.5, torch.bfloat16),
), 2):
    torch.set_num_threads(threads)
    before = len(os.listdir("/proc/self/task"))
    call()
    print(threads, len(os.listdir("/proc/self/task")) - before)
"""


@linux
def test_each_kind_of_call_starts_its_threads() -> None:
    """Forward, backward, look, decoding and units, each with one thread more than the call before."""
    assert script(COUNTED).split("\n")[:5] == [f"{threads} 1" for threads in range(2, 7)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_computes_too() -> None:
    """On threads that the library starts, because OpenMP's threads do not exist in the child."""
    q = mechanisms.random(1, 4, 300, 64).float()
    with use_threads(5):
        expected = attention(q, q, q, backend="cpu").numpy()
        child = os.fork()
        if not child:
            # Only the kernels: PyTorch's own operations on several threads would wait forever here.
            result = attention(q, q, q, backend="cpu").numpy()
            os._exit(0 if (result == expected).all() else 1)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")
