"""How a row of scores becomes a row of weights: one small value a normalizer."""

from __future__ import annotations

from dataclasses import dataclass

from regard.kernels.plan import NormalizerKind


@dataclass(frozen=True)
class Softmax:
    """``w_j = exp(s_j) / Σ exp(s)`` over the visible keys; a row without any has weights 0."""

    kind = NormalizerKind.SOFTMAX


Normalizer = Softmax
"""Every normalizer."""
