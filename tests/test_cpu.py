"""The C++ kernels beyond the small sizes of the table of mechanisms: many tiles, all levels and dtypes, threads."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from layers import rand
from regard import (
    Additive,
    ALiBi,
    Causal,
    Distance,
    Documents,
    Dot,
    Dropout,
    Entmax,
    Hard,
    Lengths,
    Look,
    RelativeBias,
    Sigmoid,
    Softcap,
    Softmax,
    Sparsemax,
    TopK,
    Variational,
    Window,
    attention,
)
from regard.attend.attention import lower
from regard.kernels import reference, sdpa
from regard.kernels.backends import choose
from regard.kernels.cpu import backend, library, ops
from regard.kernels.cpu.call import FIELDS, NORMALIZERS, SCORES
from regard.kernels.plan import NormalizerKind, Plan, ScoreKind
from threads import use_threads

pytestmark = pytest.mark.skipif(library.level is None, reason=library.why_none)

TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-6, torch.float16: 3e-3, torch.bfloat16: 2e-2}
"""Relative to the largest number of the result."""


def close(result: Tensor, wanted: Tensor, tolerance: float) -> None:
    off = (result.double() - wanted).abs().max() / wanted.abs().max().clamp(min=1e-3)
    assert off <= tolerance, f"off by {off:.1e} of the largest"


def compare(q: Tensor, k: Tensor, v: Tensor, dtype: torch.dtype, **options: Any) -> None:
    """Compare output and gradients of the kernels in ``dtype`` with the reference in float64, for the same inputs."""
    inputs = [t.to(dtype).requires_grad_() for t in (q, k, v)]
    exact = [t.detach().double().requires_grad_() for t in inputs]
    output = attention(*inputs, backend="cpu", **options)
    wanted = attention(*exact, backend="reference", **options)
    close(output, wanted, TOLERANCE[dtype])
    grad = rand(*output.shape, seed=9).to(dtype)
    grads = torch.autograd.grad(output, inputs, grad)
    for one, other in zip(grads, torch.autograd.grad(wanted, exact, grad.double()), strict=True):
        close(one, other, 2 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    ("heads", "lengths", "widths"),
    [
        ((2, 2), (200, 300), (64, 64)),
        ((4, 2), (65, 129), (80, 80)),
        ((3, 1), (300, 140), (33, 7)),
        ((1, 1), (400, 400), (96, 128)),
        ((1, 1), (70, 200), (256, 32)),
        ((2, 1), (3, 500), (64, 64)),
        ((1, 1), (1, 1), (1, 1)),
    ],
    ids=str,
)
def test_sizes(
    level: str, dtype: torch.dtype, heads: tuple[int, int], lengths: tuple[int, int], widths: tuple[int, int]
) -> None:
    q = rand(2, heads[0], lengths[0], widths[0], seed=1)
    k, v = rand(2, heads[1], lengths[1], widths[0], seed=2), rand(2, heads[1], lengths[1], widths[1], seed=3)
    for mask in (None, Causal(), Window(40, 7), Lengths(torch.tensor([lengths[1], lengths[1] // 3]))):
        compare(q, k, v, dtype, mask=mask)


LARGE: dict[str, dict[str, Any]] = {
    "softcap": {"score": Softcap(Dot(), 2.0)},
    "softcap, far above": {"score": Softcap(Dot(), 50.0)},
    "distance": {"score": Distance(0.1)},
    "additive": {"score": Additive(torch.linspace(-0.3, 0.3, 32, dtype=torch.float64))},
    "alibi, window": {"bias": ALiBi(), "mask": Window(40, 7)},
    "documents": {"mask": Causal() & Documents(torch.arange(300) // 70)},
    "sparsemax": {"normalizer": Sparsemax()},
    "entmax, causal": {"normalizer": Entmax(1.5), "mask": Causal()},
    "topk": {"normalizer": TopK(9)},
    "sigmoid": {"normalizer": Sigmoid()},
    "dropout": {"normalizer": Dropout(Softmax(), 0.3, seed=4), "mask": Causal()},
    "straight-through": {"normalizer": Hard("straight-through")},
    "variational": {"normalizer": Variational(0.3, seed=3)},
}


@pytest.mark.parametrize("name", LARGE)
def test_mechanisms_over_many_tiles(level: str, name: str) -> None:
    q, k, v = (rand(1, 2, 300, 32, seed=s) for s in (1, 2, 3))
    compare(q, k, v, torch.float64, **LARGE[name])
    options = LARGE[name]
    if name == "additive":
        options = {"score": Additive(torch.linspace(-0.3, 0.3, 32))}
        output = attention(q.float(), k.float(), v.float(), backend="cpu", **options)
        close(output, attention(q, k, v, backend="reference", **LARGE[name]), TOLERANCE[torch.float32])
    elif name not in ("topk", "straight-through"):  # float32 may choose other keys
        compare(q, k, v, torch.float32, **options)


@pytest.mark.parametrize("shape", [(2, 2, 150, 300), (1, 2, 150, 300), (1, 1, 1, 300), (2, 1, 150, 1)], ids=str)
def test_gradients_of_broadcast_tensors(level: str, shape: tuple[int, ...]) -> None:
    q, k, v = rand(2, 2, 150, 16, seed=1), rand(2, 1, 300, 16, seed=2), rand(2, 1, 300, 16, seed=3)
    grads = []
    for name in ("cpu", "reference"):
        bias = rand(*shape, seed=4).requires_grad_()
        relative = RelativeBias(rand(2, 8, seed=5).requires_grad_(), max_distance=40)
        output = attention(q, k, v, bias=bias, normalizer=Sigmoid(0.1), mask=Causal(), backend=name)
        with_relative = attention(q, k, v, bias=relative, mask=Causal(), backend=name)
        (output.square().sum() + with_relative.square().sum()).backward()
        grads.append((bias.grad, relative.table.grad))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_any_strides(level: str) -> None:
    packed = rand(2, 150, 4, 3 * 64, seed=1)
    for q, k, v in (
        [t.transpose(1, 2) for t in packed.split(64, -1)],
        [t.transpose(1, 2)[..., ::2] for t in packed.split(64, -1)],
        [t.transpose(1, 2)[:, :, ::3] for t in packed.split(64, -1)],
    ):
        for dtype in (torch.float32, torch.bfloat16):
            rounded = [t.to(dtype).double() if dtype is torch.bfloat16 else t for t in (q, k, v)]
            compare(rounded[0], rounded[1], rounded[2], dtype)
    q = packed.transpose(1, 2)[..., :64]
    compare(q, q[:, :1].expand(2, 4, 150, 64), q[:, :1].expand(2, 4, 150, 64), torch.float32)


@pytest.mark.parametrize("count", [1, 2])
def test_the_same_bits_twice_and_from_several_threads(level: str, count: int) -> None:
    q, k, v = (rand(1, 1, 500, 64, seed=s).float().requires_grad_() for s in (1, 2, 3))

    def call() -> list[Tensor]:
        assert torch.get_num_threads() == count
        output = attention(q, k, v, mask=Causal(), backend="cpu")
        return [output, *torch.autograd.grad(output.sum(), (q, k, v))]

    results = []
    with use_threads(count):
        expected = call()
        workers = [threading.Thread(target=lambda: results.append(call())) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        again = call()
    assert len(results) == 4
    for some in (again, *results):
        assert all(torch.equal(one, other) for one, other in zip(some, expected, strict=True))


def test_looks_over_many_tiles(level: str) -> None:
    q, k, v = (rand(1, 2, n, 32, seed=s) for s, n in ((1, 300), (2, 400), (3, 400)))
    look = Look(lse=True, entropy=True, received=True, reach=True, top=5, map=(7, 9), norms=True, sinks=True,
        rows=[0, 299, 64])  # fmt: skip
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        views = [attention(*(t.to(d) for t in (q, k, v)), mask=Causal(), look=look, backend=b)[1]
                 for d, b in ((dtype, "cpu"), (torch.float64, "reference"))]  # fmt: skip
        for name in ("lse", "entropy", "received", "reach", "rows"):
            close(getattr(views[0], name), getattr(views[1], name), tolerance)
        for name in ("map", "norms", "sinks"):
            for one, other in zip(getattr(views[0], name), getattr(views[1], name), strict=True):
                close(one, other, tolerance)
        close(views[0].top.weights, views[1].top.weights, tolerance)
        assert dtype is torch.float32 or torch.equal(views[0].top.keys, views[1].top.keys)
        close(views[0].tile([299, 3], slice(5, 300, 2)), views[1].tile([299, 3], slice(5, 300, 2)), tolerance)


def test_opcheck() -> None:
    plan, _ = lower(*(rand(1, 2, n, 8, seed=n) for n in (5, 7, 7)), mask=Causal(), bias=rand(1, 2, 5, 7, seed=1))
    leaves = ("query", "key", "value", "bias")
    plan = replace(plan, **{name: getattr(plan, name).clone().requires_grad_() for name in leaves})
    arguments = (*(getattr(plan, name) for name in ops.PLAN_FIELDS), None, False)
    assert set(torch.library.opcheck(torch.ops.regard.cpu_forward.default, arguments).values()) == {"SUCCESS"}
    output, stats, _ = torch.ops.regard.cpu_forward(*arguments)
    backward_arguments = (*arguments[:-2], output.detach(), stats, None, output.detach(), None, ["query", "bias"])
    checks = torch.library.opcheck(
        torch.ops.regard.cpu_backward.default, backward_arguments, test_utils=["test_schema", "test_faketensor"]
    )
    assert set(checks.values()) == {"SUCCESS"}


def test_refused_calls_and_their_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    q = rand(1, 1, 3, 4, seed=1)
    assert backend.refuse(lower(q, q, q)[0]) is None
    assert "nothing to compute" in str(backend.refuse(lower(q[:, :, :0], q, q)[0]))
    monkeypatch.setattr(library, "level", None)
    monkeypatch.setattr(library, "why_none", "the C++ kernels were not built")
    with pytest.raises(ValueError, match=r"cpu: the C\+\+ kernels were not built"):
        attention(q, q, q, backend="cpu")


class NewScore(StrEnum):
    """A score that no kernel supports."""

    CHEBYSHEV = "chebyshev"


class NewNormalizer(StrEnum):
    """A normalizer that no kernel supports."""

    CUBIC = "cubic"


@dataclass(eq=False, slots=True)
class NewPlan(Plan):
    """A plan with a field that no kernel supports."""

    power: float = 1.0


def test_numbers_of_scores_and_normalizers_match_the_header() -> None:
    """Each number is that of the C++ enumerator of the same name, in any order of Python's enums."""
    header = (Path(library.__file__).parent / "native" / "args.h").read_text()
    for kind, numbers in ((ScoreKind, SCORES), (NormalizerKind, NORMALIZERS)):
        assert set(numbers) == set(kind)
        assert len(set(numbers.values())) == len(numbers)
        for member, number in numbers.items():
            assert re.search(rf"\b{member.name} = {number}\b", header), member
    assert {field.name for field in fields(Plan)} == FIELDS == sdpa._FIELDS


@pytest.mark.parametrize("name", ["cpu", "torch"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"score": NewScore.CHEBYSHEV}, ".*chebyshev"),
        ({"normalizer": NewNormalizer.CUBIC}, ".*cubic"),
        ({"power": 2.0}, ".*(do|does) not know the plan's field power"),
    ],
    ids=["score", "normalizer", "field"],
)
def test_unknown_scores_normalizers_and_fields_are_refused(name: str, change: dict[str, Any], reason: str) -> None:
    q = rand(1, 1, 3, 4, seed=1).float()
    plan = NewPlan(q, q, q)
    assert choose(plan, name).name == name
    with pytest.raises(ValueError, match=f"none can run this call .{name}: {reason}"):
        choose(replace(plan, **change), name)
    assert choose(replace(plan, **change)).name == "reference"


@pytest.mark.parametrize("change", [{"score": NewScore.CHEBYSHEV}, {"normalizer": NewNormalizer.CUBIC}], ids=str)
def test_the_reference_raises_an_error_for_an_unknown_kind(change: dict[str, Any]) -> None:
    q = rand(1, 1, 3, 4, seed=1)
    with pytest.raises(NotImplementedError, match=r"does not have the (score chebyshev|normalizer cubic)"):
        reference.run(replace(Plan(q, q, q), **change), False, False)


def test_the_level_of_the_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CPU", "portable")
    assert library._chosen() == ("portable", "")
    monkeypatch.setenv("REGARD_CPU", "sse9")
    name, why = library._chosen()
    assert name is None
    assert "REGARD_CPU: got 'sse9', expected one of" in why
    with pytest.raises(ValueError, match="use_level: this machine has"), library.use_level("sse9"):
        pass
