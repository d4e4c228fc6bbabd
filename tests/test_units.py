"""Dropout's factors of units from the C++ kernels: the reference's bits, whatever the level, the dtype, the threads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regard.kernels import random
from regard.kernels.cpu import library, units
from regard.kernels.plan import Plan
from regard.nn import Dropout
from threads import use_threads

kernels = pytest.mark.skipif(library.level is None, reason=library.why_none)

RUN, STREAM = 1 << 14, 3
"""Units that share a row of bits, and what these bits are for."""


def _drawn(shape: tuple[int, ...], p: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Factors, and the seed that they were drawn by."""
    torch.manual_seed(8)
    seed = torch.empty((), dtype=torch.int64).random_(-(2**63), None)
    torch.manual_seed(8)
    return units.factors(shape, p, dtype), seed


@kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("count", [1, 3 * RUN + 77])
def test_the_bits_are_the_references(level: str, count: int, dtype: torch.dtype) -> None:
    found, seed = _drawn((count,), 0.3, dtype)
    rows = -(-count // RUN)
    plan = Plan(torch.empty(1, 1, rows, 1), torch.empty(1, 1, RUN, 1), torch.empty(1, 1, RUN, 1))
    kept = random.bits(plan, seed, STREAM).flatten()[:count] >= round(0.3 * 2**32) - 2**31
    assert torch.equal(found, kept.to(dtype) * torch.tensor(1 / 0.7, dtype=dtype))


@kernels
def test_threads_make_no_difference() -> None:
    found = []
    for threads in (1, 2, 5):
        with use_threads(threads):
            found.append(_drawn((7, RUN), 0.5, torch.float32)[0])
    assert all(torch.equal(found[0], other) for other in found[1:])


@kernels
@pytest.mark.parametrize("p", [2**-33, 1 - 2**-33])
def test_probabilities_at_the_ends(p: float) -> None:
    found, _ = _drawn((RUN,), p, torch.float32)
    assert (found == 0).float().mean() == round(p)


def test_without_kernels_and_under_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Dropout(0.5), torch.ones(3, 64)
    each = torch.func.vmap(layer, randomness="different")(x)
    assert not torch.equal(each[0], each[1])
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    assert set(compiled(x).flatten().tolist()) == {0.0, 2.0}
    monkeypatch.setattr(library, "level", None)
    assert set(layer(x).flatten().tolist()) == {0.0, 2.0}
