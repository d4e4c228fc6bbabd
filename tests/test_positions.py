"""Positions: sinusoidal, learned, rotary, and the scaling of rotary frequencies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from layers import rand
from regard.nn import LearnedPositions, Rotary, Scaling, SinusoidalPositions


def test_sinusoidal_positions_match_the_formula() -> None:
    encoding = SinusoidalPositions(6)(torch.zeros(4, 6), start=3)
    for position in range(4):
        for i in range(3):
            angle = torch.tensor((3 + position) / 10_000 ** (2 * i / 6))
            torch.testing.assert_close(encoding[position, 2 * i : 2 * i + 2], torch.stack([angle.sin(), angle.cos()]))


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("turned", [None, 4])
def test_rotary_rotates_each_pair(interleaved: bool, turned: int | None) -> None:
    rotary = Rotary(8, turned=turned, interleaved=interleaved, base=100.0)
    x, count = rand(2, 3, 5, 8), turned or 8
    rotated = rotary(x, 2)
    for p in range(5):
        for i in range(count // 2):
            pair = [2 * i, 2 * i + 1] if interleaved else [i, i + count // 2]
            angle = torch.tensor((p + 2) * 100.0 ** (-2 * i / count), dtype=torch.float64)
            matrix = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
            torch.testing.assert_close(rotated[..., p, pair], x[..., p, pair] @ matrix.T)
    assert torch.equal(rotated[..., count:], x[..., count:])


def test_products_of_rotary_depend_on_the_distance_only() -> None:
    rotary, q, k = Rotary(8), rand(1, 8), rand(1, 8, seed=1)
    near, far = (rotary(q, at) @ rotary(k, at - 3).T for at in (3, 900))
    torch.testing.assert_close(near, far)
    positions = torch.tensor([[0, 0, 1], [5, 6, 7]])
    x = rand(2, 4, 3, 8)
    torch.testing.assert_close(rotary(x, positions=positions)[1], rotary(x[1], 5))


def test_scaling_of_rotary_frequencies() -> None:
    base = 10_000.0 ** (-torch.arange(0, 64, 2, dtype=torch.float64) / 64)
    linear, factor = Scaling("linear", 4.0).apply(base, 1e4, 64, 0)
    torch.testing.assert_close(linear, base / 4)
    assert factor == 1.0
    ntk, _ = Scaling("ntk", 4.0).apply(base, 1e4, 64, 0)
    torch.testing.assert_close(ntk[[0, -1]], base[[0, -1]] / torch.tensor([1.0, 4.0]))
    dynamic = Scaling("dynamic", 4.0, trained=100)
    assert torch.equal(dynamic.apply(base, 1e4, 64, 100)[0], base)
    torch.testing.assert_close(dynamic.apply(base, 1e4, 64, 200)[0][-1], base[-1] / (4.0 * 2 - 3))
    for kind in ("yarn", "llama3"):
        changed, factor = Scaling(kind, 8.0, trained=2048).apply(base, 1e4, 64, 0)
        ratio = base / changed
        torch.testing.assert_close(ratio[[0, -1]], torch.tensor([1.0, 8.0], dtype=torch.float64))
        assert (ratio.diff() >= -1e-12).all()
        assert factor == (pytest.approx(1.2079, abs=1e-4) if kind == "yarn" else 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SinusoidalPositions(7), "width: must be even and positive, got 7"),
        (lambda: LearnedPositions(0, 4), "length and width must be positive"),
        (lambda: LearnedPositions(4, 4)(torch.zeros(3, 4), 2), "x: reaches position 5, but only 4"),
        (lambda: Rotary(8, turned=10), "turned: must be at most width, 8, got 10"),
        (lambda: Rotary(8, turned=3), "turned: must be even"),
        (lambda: Rotary(8, base=0.5), "base: must be above 1"),
        (lambda: Rotary(8)(torch.zeros(3, 6)), "x: expected width 8"),
        (lambda: Rotary(8)(torch.zeros(3, 8), positions=torch.arange(4)), r"positions: expected \(3,\) or \(B, 3\)"),
        (
            lambda: Scaling("cubic", 2.0),  # type: ignore[arg-type]
            "kind: expected linear, ntk",
        ),
        (lambda: Scaling("linear", 0.5), "factor: must be at least 1"),
        (lambda: Scaling("yarn", 2.0), "trained: yarn needs the length"),
        (lambda: Scaling("yarn", 2.0, 100, fast=0.5), "fast: must be above slow"),
    ],
)
def test_wrong_positions_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
