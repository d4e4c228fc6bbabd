"""Cross-entropy of a linear layer's outputs, without storing all logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.kernels.cpu import rows

_ROWS = 256
"""The number of rows in a chunk of logits. The last chunk is padded to it, so that all products have one shape."""


def linear_cross_entropy(
    features: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float = 0.0
) -> Tensor:
    """The summed cross-entropy of ``softmax(features Wᵀ + b)`` with smoothed targets, as PyTorch's ``cross_entropy``.

    With ``smoothing`` ε the target's probability is 1 − ε + ε/V, every other token's ε/V (Szegedy et al. 2016,
    arXiv:1512.00567). Rows are processed in chunks that fit the cache, and the gradients are computed in the forward
    pass, from the same logits (as in Wijmans et al. 2024, arXiv:2411.09009): ``(N, V)`` is never stored or read again.

    Args:
        features: ``(N, E)``; in half precision, the products are too, and everything else is float32.
        weight: ``(V, E)``.
        bias: ``(V,)``.
        target: int64 ``(N,)``.
        smoothing: ε, from 0 to below 1.

    Example:
        >>> features, weight, bias = torch.randn(5, 8), torch.randn(100, 8), torch.randn(100)
        >>> target = torch.randint(100, (5,))
        >>> loss = linear_cross_entropy(features, weight, bias, target)
        >>> torch.allclose(loss, F.cross_entropy(features @ weight.T + bias, target, reduction="sum"))
        True
    """
    with torch.autocast(features.device.type, enabled=False):
        loss: Tensor = _LinearCrossEntropy.apply(features, weight, bias, target, smoothing)  # type: ignore[no-untyped-call]
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float) -> Tensor:
        precise = torch.promote_types(features.dtype, torch.float32)
        matrix, count = weight.to(features.dtype), features.shape[0]
        total = features.new_zeros((), dtype=torch.float64)
        to_features = torch.empty_like(features)
        to_weight, to_bias = (torch.zeros_like(t, dtype=precise) for t in (weight, bias))
        for start in range(0, count, _ROWS):
            part, short = slice(start, min(count, start + _ROWS)), max(0, start + _ROWS - count)
            chunk = F.pad(features[part], (0, 0, 0, short)) if short else features[part]
            logits = F.linear(chunk, matrix)
            losses, gradient, of_bias = _gradient(logits[: _ROWS - short], bias, target[part], smoothing)
            total += losses.sum()
            if not any(ctx.needs_input_grad):
                continue
            to_bias += of_bias
            gradient = F.pad(gradient, (0, 0, 0, short)) if short else gradient
            to_features[part] = (gradient @ matrix)[: _ROWS - short]
            if gradient.dtype is precise:
                to_weight.addmm_(gradient.T, chunk)
            else:
                to_weight += gradient.T @ chunk
        ctx.save_for_backward(to_features, to_weight, to_bias)
        ctx.dtypes = weight.dtype, bias.dtype
        return total.to(precise)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        to_features, to_weight, to_bias = (saved * gradient for saved in ctx.saved_tensors)
        weight, bias = ctx.dtypes
        return to_features.to(ctx.saved_tensors[0].dtype), to_weight.to(weight), to_bias.to(bias), None, None


def _gradient(logits: Tensor, bias: Tensor, target: Tensor, smoothing: float) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of each row of ``logits`` ``(n, V)``, and its gradients for them, in their dtype, and for ``bias``.

    ``logits``, to which ``bias`` is added, may be overwritten.
    """
    if rows.can(logits, bias):
        low, high = target.aminmax()
        if not 0 <= low <= high < len(bias):
            raise IndexError(f"target: tokens are 0 to {len(bias) - 1}, got {int(low)} to {int(high)}")
        losses, to_bias = rows.cross_entropy_(logits, bias, target, smoothing)
        return losses, logits, to_bias
    precise = torch.promote_types(logits.dtype, torch.float32)
    scores, labels = logits.to(precise).add_(bias), target[:, None]
    lse = scores.logsumexp(-1, keepdim=True)
    losses = lse - (1 - smoothing) * scores.gather(1, labels) - smoothing * scores.mean(-1, keepdim=True)
    gradient = scores.sub_(lse).exp_().sub_(smoothing / len(bias))
    gradient.scatter_add_(1, labels, torch.full_like(labels, smoothing - 1, dtype=precise))
    return losses, gradient.to(logits.dtype), gradient.sum(0)
