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
        target: int64 ``(N,)``; −1: the row is left out.
        smoothing: ε, from 0 to below 1.

    Example:
        >>> features, weight, bias = torch.randn(5, 8), torch.randn(100, 8), torch.randn(100)
        >>> target = torch.randint(100, (5,))
        >>> loss = linear_cross_entropy(features, weight, bias, target)
        >>> torch.allclose(loss, F.cross_entropy(features @ weight.T + bias, target, reduction="sum"))
        True
    """
    with torch.autocast(features.device.type, enabled=False):
        if torch.compiler.is_compiling():
            loss: Tensor = _as_op(features, weight, bias, target, smoothing, torch.is_grad_enabled())[0]
        else:
            loss = _LinearCrossEntropy.apply(features, weight, bias, target, smoothing)  # type: ignore[no-untyped-call]
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float) -> Tensor:
        loss, *gradients = _computed(features, weight, bias, target, smoothing, any(ctx.needs_input_grad))
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return *(saved * gradient for saved in ctx.saved_tensors), None, None


def _computed(
    features: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float, gradients: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss, and its gradients for features, weight and bias, if there are to be ``gradients``."""
    precise = torch.promote_types(features.dtype, torch.float32)
    counted = (target != -1).nonzero()[:, 0]
    kept, labels = features, target
    if len(counted) < len(target):
        kept, labels = features.index_select(0, counted), target.index_select(0, counted)
    matrix, count = weight.to(features.dtype), len(labels)
    total = features.new_zeros((), dtype=torch.float64)
    to_kept = torch.empty_like(kept)
    to_weight, to_bias = (torch.zeros_like(t, dtype=precise) for t in (weight, bias))
    for start in range(0, count, _ROWS):
        part, short = slice(start, min(count, start + _ROWS)), max(0, start + _ROWS - count)
        chunk = F.pad(kept[part], (0, 0, 0, short)) if short else kept[part]
        logits = F.linear(chunk, matrix)
        losses, gradient, of_bias = _gradient(logits[: _ROWS - short], bias, labels[part], smoothing)
        total += losses.sum()
        if not gradients:
            continue
        to_bias += of_bias
        gradient = F.pad(gradient, (0, 0, 0, short)) if short else gradient
        to_kept[part] = (gradient @ matrix)[: _ROWS - short]
        if gradient.dtype is precise:
            to_weight.addmm_(gradient.T, chunk)
        else:
            to_weight += gradient.T @ chunk
    if kept is not features:
        to_kept = torch.zeros_like(features).index_copy_(0, counted, to_kept)
    return total.to(precise), to_kept, to_weight.to(weight.dtype), to_bias.to(bias.dtype)


_as_op = torch.library.custom_op("regard::linear_cross_entropy", _computed, mutates_args=())
"""For graphs, which contain it as one operation."""


@_as_op.register_fake  # type: ignore[untyped-decorator]
def _shapes(
    features: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float, gradients: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    loss = features.new_empty((), dtype=torch.promote_types(features.dtype, torch.float32))
    return loss, torch.empty_like(features), torch.empty_like(weight), torch.empty_like(bias)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*output[1:])


def _from_saved(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    return *(saved * gradient for saved in ctx.saved_tensors), None, None, None


_as_op.register_autograd(_from_saved, setup_context=_save)


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
