"""The table of mechanisms: every row is run by every generic test. Sizes are distinct primes, but for the heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import oracle
from regard import Additive, Bilinear, Causal, Cosine, Dot, Lengths
from regard.attend import Mask, Score

B, H, G, LQ, LK, E, EV = 2, 6, 3, 5, 7, 11, 13


@dataclass(frozen=True)
class Case:
    """A score with its parameters, and the same for the oracle."""

    name: str
    parameters: Callable[[], list[Tensor]]
    score: Callable[..., Score]
    oracle: Callable[..., oracle.Score]
    key_width: int = E


def random(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


SCORES = (
    Case("dot", list, Dot, lambda: oracle.dot(E**-0.5)),
    Case("dot, scale 1", list, lambda: Dot(scale=1.0), lambda: oracle.dot(1.0)),
    Case("cosine", list, lambda: Cosine(3.0), lambda: oracle.cosine(np.full(H, 3.0))),
    Case("cosine, learnt", lambda: [random(H)], Cosine, lambda s: oracle.cosine(_array(s))),
    Case("bilinear", lambda: [random(E, E)], Bilinear, lambda w: oracle.bilinear(_array(w))),
    Case("bilinear, a head", lambda: [random(H, E, 3)], Bilinear, lambda w: oracle.bilinear(_array(w)), key_width=3),
    Case("additive", lambda: [random(E)], Additive, lambda v: oracle.additive(_array(v), None)),
    Case(
        "additive, bias, a head",
        lambda: [random(H, E), random(H, E, seed=8)],
        Additive,
        lambda v, b: oracle.additive(_array(v), _array(b)),
    ),
)

_HOLES = random(B, 1, LQ, LK, seed=3) > -0.4
_HOLES[0, 0, 2] = False

MASKS: dict[str, tuple[Callable[[], Mask | Tensor | None], np.ndarray]] = {
    "none": (lambda: None, np.ones((B, H, LQ, LK), bool)),
    "causal": (Causal, np.arange(LK)[None] <= np.arange(LQ)[:, None] + LK - LQ),
    "causal, top left": (lambda: Causal(0), np.arange(LK)[None] <= np.arange(LQ)[:, None]),
    "causal, negative": (lambda: Causal(-2), np.arange(LK)[None] <= np.arange(LQ)[:, None] - 2),
    "lengths": (lambda: Lengths(torch.tensor([3, 0])), np.arange(LK)[None, None] < np.array([[[3]], [[0]]])),
    "lengths of both": (
        lambda: Lengths(torch.tensor([7, 2]), queries=torch.tensor([4, 1])),
        (np.arange(LK)[None, None] < np.array([[[7]], [[2]]]))
        & (np.arange(LQ)[None, :, None] < np.array([[[4]], [[1]]])),
    ),
    "boolean": (lambda: _HOLES, _HOLES.numpy()),
    "all three": (
        lambda: Causal() & _HOLES & Lengths(torch.tensor([6, 5])),
        (np.arange(LK)[None] <= np.arange(LQ)[:, None] + LK - LQ)
        & _HOLES.numpy()
        & (np.arange(LK)[None, None, None] < np.array([[[[6]]], [[[5]]]])),
    ),
}


def visible(name: str) -> np.ndarray:
    """The mask as a boolean ``(B, H, LQ, LK)``."""
    shown = MASKS[name][1]
    shown = shown[:, None] if shown.ndim == 3 else shown
    return np.broadcast_to(shown, (B, H, LQ, LK))


def inputs(case: Case, *, heads: int = G) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value in float64."""
    return random(B, H, LQ, E), random(B, heads, LK, case.key_width, seed=1), random(B, heads, LK, EV, seed=2)
