"""Entmax: weights with exact zeros, ``w = [(α − 1)·s − τ]₊^(1/(α − 1))`` with τ such that they sum to one.

Peters, Niculae and Martins 2019 (arXiv:1905.05702); α = 2 is sparsemax (Martins and Astudillo 2016, arXiv:1602.02068).
The gradient of α is from Correia, Niculae and Martins 2019 (arXiv:1909.00015), proposition 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from regard.kernels.memory import is_plain

_MAX_STEPS = 100
"""Steps of Newton's method; about ten are needed."""

_TRACED_STEPS = 24
"""Steps in a graph, which cannot stop early by a value."""


def entmax(scores: Tensor, alpha: float | Tensor) -> Tensor:
    """The weights along the last dimension.

    Args:
        scores: ``(…, n)``, −∞ for hidden keys; each row needs a finite score.
        alpha: above 1 and at most 2; a tensor must broadcast to ``(…, 1)`` and is differentiable.
    """
    if not scores.shape[-1]:
        return scores
    weights: Tensor = _Entmax.apply(scores, alpha)  # type: ignore[no-untyped-call]
    return weights


class _Entmax(torch.autograd.Function):
    """The gradient is written with the weights alone, in differentiable operations, so it has a gradient too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scores: Tensor, alpha: float | Tensor) -> Tensor:
        return _solve(scores, alpha)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float | Tensor], output: Tensor) -> None:
        alpha = inputs[1]
        tensors = (output, alpha) if isinstance(alpha, Tensor) else (output,)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.alpha = None if isinstance(alpha, Tensor) else alpha

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        weights, alpha = _saved(ctx)
        slope, share = _slopes(weights, alpha)
        # The Jacobian is symmetric, so this is also the derivative in forward mode.
        grad_scores = slope * (grad - (share * grad).sum(-1, keepdim=True))
        if not ctx.needs_input_grad[1]:
            return grad_scores, None
        assert isinstance(alpha, Tensor)
        by_alpha = (grad * _by_alpha(weights, alpha, share)).sum(-1, keepdim=True)
        return grad_scores, by_alpha.sum_to_size(alpha.shape)

    @staticmethod
    def jvp(ctx: Any, scores: Tensor | None, alpha_tangent: Tensor | None) -> Tensor:
        weights, alpha = _saved(ctx)
        slope, share = _slopes(weights, alpha)
        tangent = torch.zeros_like(weights)
        if scores is not None:
            tangent = tangent + slope * (scores - (share * scores).sum(-1, keepdim=True))
        if alpha_tangent is not None:
            assert isinstance(alpha, Tensor)
            tangent = tangent + alpha_tangent * _by_alpha(weights, alpha, share)
        return tangent


def _saved(ctx: Any) -> tuple[Tensor, float | Tensor]:
    """The weights and alpha."""
    return ctx.saved_tensors[0], ctx.saved_tensors[1] if ctx.alpha is None else ctx.alpha


def _slopes(weights: Tensor, alpha: float | Tensor) -> tuple[Tensor, Tensor]:
    """``w^(2 − α)`` on the support and 0 elsewhere, and the same divided by its sum over the row."""
    support = weights > 0
    if not isinstance(alpha, Tensor) and alpha == 2:
        slope = support.to(weights.dtype)
    else:
        slope = torch.where(support, torch.where(support, weights, 1.0) ** (2 - alpha), 0.0)
    return slope, slope / slope.sum(-1, keepdim=True)


def _by_alpha(weights: Tensor, alpha: Tensor, share: Tensor) -> Tensor:
    """The derivative of each weight with respect to α."""
    surprise = -weights * torch.where(weights > 0, weights, 1.0).log()
    change = (weights - share) / (alpha - 1) ** 2
    return change + (surprise - share * surprise.sum(-1, keepdim=True)) / (alpha - 1)


def _solve(scores: Tensor, alpha: float | Tensor) -> Tensor:
    """Newton's method on ``‖[z − τ]₊‖_p − 1``, p = 1/(α − 1): convex and decreasing, so it never oversteps.

    With p = 1 (sparsemax) this is Michelot's algorithm and ends at the exact threshold.
    """
    # The largest becomes 0, so that subtracting 1 is exact for scores of any size.
    z = (scores - scores.amax(-1, keepdim=True)) * (alpha - 1)
    power = 1 / (alpha - 1)
    threshold = torch.full_like(z[..., :1], -1.0)
    traced = not is_plain(scores, alpha if isinstance(alpha, Tensor) else None)
    for _ in range(_TRACED_STEPS if traced else _MAX_STEPS):
        part = (z - threshold).relu_()
        # The slope of the norm N is −Σ part^(p − 1) · N^(1 − p) over the keys above τ, also for p = 1.
        below = _power(part, power, 1)
        total = (below * part).sum(-1, keepdim=True)
        norm = _power(total, alpha - 1, 0)
        step = (norm - 1) * _power(norm, power, 1) / below.sum(-1, keepdim=True)
        moved = threshold + step
        if not traced and not bool((moved > threshold).any()):
            break
        threshold = torch.maximum(moved, threshold)
    part = (z - threshold).relu_()
    weights = _power(part, power, 0)
    return weights / weights.sum(-1, keepdim=True)


def _power(part: Tensor, power: float | Tensor, less: int) -> Tensor:
    """``part ** (power − less)``, and 0 where ``part`` is 0; common exponents do not call `pow`."""
    exponent = power - less
    if isinstance(exponent, float) and exponent in _COMMON:
        return _COMMON[exponent](part)
    return torch.where(part > 0, part**exponent, 0.0)


_COMMON: dict[float, Callable[[Tensor], Tensor]] = {
    0.0: lambda part: (part > 0).to(part.dtype),
    0.5: torch.sqrt,
    1.0: lambda part: part,
    2.0: torch.square,
}
