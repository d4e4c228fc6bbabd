"""The C++ kernels on several threads: one thread's results, from calls that really are cut into parts."""

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
"""One key head, so that the backward splits its queries; more blocks of queries and tiles of keys than threads."""

KERNELS = [case for case in CASES if not case.reference]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """Of forward, backward and look: the threads that the library was given, and the most parts of queries."""
    seen: dict[str, tuple[int, int]] = {}
    run, quick_forward, quick_backward = call.run, quick._forward, quick._backward

    def watched(function: Any, packed: bytes) -> None:
        threads = struct.unpack_from("q", packed, 8 * 10)[0]
        splits = struct.unpack_from("q", packed, call._HEAD.size + call._OPTIONS.size + 8 * 25)[0]
        name = function.__name__.removeprefix("regard_")
        seen[name] = threads, max(splits, seen.get(name, (0, 0))[1])
        run(function, packed)

    def forward(*arguments: Any) -> int:
        seen["forward"] = arguments[-2], 1
        return int(quick_forward(*arguments))

    def backward(*arguments: Any) -> int:
        seen["backward"] = arguments[-3], arguments[-1]
        return int(quick_backward(*arguments))

    monkeypatch.setattr(call, "run", watched)
    monkeypatch.setattr(quick, "_forward", forward)
    monkeypatch.setattr(quick, "_backward", backward)
    return seen


def _looks(case: Case) -> Look:
    asked = {"lse": True, "entropy": True, "received": True, "reach": True, "norms": True}
    asked |= {case.extra: True} if case.extra else {}
    asked = {name: value for name, value in asked.items() if name not in case.undefined}
    return Look(top=3, rows=[0, 279, 64, 65], map=(7, 9), **asked)


SUMS = ("received", "map.mean", "norms.received")
"""What a look adds up along the queries, part by part."""


def _call(case: Case, mask: str, dtype: torch.dtype, backend: str = "cpu") -> dict[str, Tensor]:
    """Output, looks and gradients by name."""
    leaves = [tensor.to(dtype).requires_grad_() for tensor in mechanisms.inputs(case, SIZE)]
    parameters = [tensor.to(dtype).requires_grad_() for tensor in case.parameters(SIZE)]
    options = case.call(SIZE, *parameters) | {"mask": MASKS[mask].make(SIZE), "backend": backend}
    if options.get("bias") is None and len(options) == 2 and backend == "cpu":
        del options["backend"]  # the way that a plain call takes
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


def _same(found: Tensor, wanted: Tensor, tolerance: float) -> None:
    """As `close`; a query that sees nothing has a log-sum-exp of −∞."""
    hidden = wanted.isneginf()
    assert torch.equal(found.isneginf(), hidden)
    close(found.masked_fill(hidden, 0), wanted.double().masked_fill(hidden, 0), tolerance)


def _check(case: Case, mask: str, dtype: torch.dtype, parts: dict[str, tuple[int, int]]) -> dict[str, Tensor]:
    """Two and five threads beside one, at the same level; what five gave."""
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
            # PyTorch's own products, of the bilinear score, round as its threads cut them.
            in_parts = name in SUMS or name.startswith("grad ") or "bilinear" in case.name
            if in_parts and not (name == "grad query" and "bilinear" not in case.name):
                _same(several[name], value, 2 * TOLERANCE[dtype])
            else:
                assert torch.equal(several[name], value), f"{name} of {threads} threads is not that of one"
    return several


@pytest.mark.parametrize("mask", ["none", "causal"])
@pytest.mark.parametrize("case", KERNELS, ids=lambda case: case.name)
def test_mechanisms_on_threads(case: Case, mask: str, parts: dict[str, tuple[int, int]]) -> None:
    found = _check(case, mask, torch.float64, parts)
    for name, exact in _call(case, mask, torch.float64, "reference").items():
        _same(found[name], exact, 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", KERNELS, ids=lambda case: case.name)
def test_dtypes_on_threads(case: Case, dtype: torch.dtype, parts: dict[str, tuple[int, int]]) -> None:
    _check(case, "causal", dtype, parts)


@pytest.mark.parametrize("mask", MASKS)
def test_masks_on_threads(mask: str, parts: dict[str, tuple[int, int]]) -> None:
    dot = KERNELS[0]
    found = _check(dot, mask, torch.float64, parts)
    for name, exact in _call(dot, mask, torch.float64, "reference").items():
        _same(found[name], exact, 1e-10)
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
    found = []
    for backend, count in (("cpu", threads), ("cpu", 1), ("reference", 1)):
        with use_threads(count):
            normalizer = Variational(0.5, prior, seed=3)
            look = Look(kl=True)
            output, view = attention(
                q, k, v, bias=bias, mask=Causal(), normalizer=normalizer, look=look, backend=backend
            )
            found.append(torch.autograd.grad(output.square().sum() + view.kl.sum(), (bias, prior)))
    for several, one, exact in zip(*found, strict=True):
        assert torch.equal(several, one)
        close(several, exact, 1e-11)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_decoding_on_threads(level: str, dtype: torch.dtype, threads: int) -> None:
    """Keys are cut into parts of 512; each part's softmax is joined with the others'."""
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
torch.set_num_threads(2)  # starts a thread of PyTorch's own
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
    """Forward, backward, look, decoding and units, each with one thread more than the last."""
    assert script(COUNTED).split("\n")[:5] == [f"{threads} 1" for threads in range(2, 7)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_computes_too() -> None:
    """On threads that the library starts: those of OpenMP are not in the child."""
    q = mechanisms.random(1, 4, 300, 64).float()
    with use_threads(5):
        expected = attention(q, q, q, backend="cpu").numpy()
        child = os.fork()
        if not child:
            # Only the kernels: PyTorch's own operations on several threads would wait for ever here.
            found = attention(q, q, q, backend="cpu").numpy()
            os._exit(0 if (found == expected).all() else 1)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")
