"""From scores to weights in plain PyTorch: one function for each normalizer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from regard.kernels import random
from regard.kernels.entmax import entmax
from regard.kernels.plan import NormalizerKind, OwnPlan, Plan


class Row(NamedTuple):
    """The result of a normalizer for scores ``(B, H, Lq, Lk)``.

    Attributes:
        weights: ``(B, H, Lq, Lk)``.
        scores: the scores whose log-sum-exp is the normalizer's, if it has one.
        extra: ``(B, H, Lq)``: the log-probability of the chosen key (hard normalizers) or the divergence from the prior
            (``VARIATIONAL``), differentiable; None if the normalizer has none or it is not requested.
    """

    weights: Tensor
    scores: Tensor
    extra: Tensor | None = None


def normalize(plan: Plan, scores: Tensor, visible: Tensor | None, extra: bool) -> Row:
    """The weights of ``scores``, which are −∞ where ``visible`` is False, except in rows without a visible key."""
    kind = plan.normalizer
    if isinstance(plan, OwnPlan) and plan.own_normalizer is not None:
        return Row(_own_weights(plan.own_normalizer, scores, visible), scores)
    if kind is NormalizerKind.SOFTMAX:
        return _softmax(plan, scores)
    if kind is NormalizerKind.ENTMAX:
        return Row(entmax(scores, _number(plan)), scores)
    if kind is NormalizerKind.SIGMOID:
        return Row(torch.sigmoid(scores), scores)
    if kind is NormalizerKind.TOPK:
        return _topk(plan, scores)
    if kind is NormalizerKind.VARIATIONAL:
        divergence = _divergence(plan, scores, visible) if extra else None
        noisy = scores if plan.seed is None else _noisy(plan, scores)
        return Row(torch.softmax(noisy, -1), noisy, divergence)
    if kind in _HARD:
        return _hard(plan, scores, extra)
    raise NotImplementedError(f"the reference does not have the normalizer {kind}")


_HARD = (NormalizerKind.ARGMAX, NormalizerKind.GUMBEL, NormalizerKind.REINFORCE, NormalizerKind.STRAIGHT_THROUGH)


def _own_weights(function: Callable[[Tensor], Tensor], scores: Tensor, visible: Tensor | None) -> Tensor:
    if visible is not None:
        # Not −∞, where the gradient of many formulas is NaN.
        scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    weights = function(scores)
    if not isinstance(weights, Tensor) or weights.shape != scores.shape:
        got = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise ValueError(
            f"normalizer: its function weights must return a tensor of shape {tuple(scores.shape)}, got {got}"
        )
    return weights if visible is None else torch.where(visible, weights, 0.0)


def _softmax(plan: Plan, scores: Tensor) -> Row:
    if plan.sink is None:
        return Row(torch.softmax(scores, -1), scores)
    sink = plan.sink.to(scores.dtype)[:, None, None].expand(*scores.shape[:-1], 1)
    return Row(torch.softmax(torch.cat([sink, scores], -1), -1)[..., 1:], scores)


def _topk(plan: Plan, scores: Tensor) -> Row:
    if plan.count < scores.shape[-1]:
        # All scores equal to the k-th are kept; to keep exactly k, the choice among them would be arbitrary.
        kth = scores.detach().topk(plan.count, sorted=False).values.amin(-1, keepdim=True)
        scores = scores.masked_fill(scores < kth, -torch.inf)
    return Row(torch.softmax(scores, -1), scores)


def _hard(plan: Plan, scores: Tensor, extra: bool) -> Row:
    """One key in each row; two of the estimators have the gradient of a softmax, the others have none."""
    kind, temperature = plan.normalizer, _number(plan)
    if not scores.shape[-1]:
        return Row(torch.zeros_like(scores), scores, scores.new_zeros(scores.shape[:-1]))
    # Relative to the largest: s / T could overflow. In the gradient of the temperature, a large common part of the
    # scores would only add rounding errors, because the gradients of a row's scores sum to 0.
    top = scores.detach().amax(-1, keepdim=True)
    relative = scores - top
    tempered = relative / temperature
    if isinstance(temperature, Tensor):
        # The gradient of the temperature multiplies by s / T², and 0 · ∞ is NaN.
        hidden = (tempered / temperature).detach().isneginf()
        tempered = (relative.masked_fill(hidden, 0.0) / temperature).masked_fill(hidden, -torch.inf)
    noisy = tempered
    if kind in (NormalizerKind.GUMBEL, NormalizerKind.REINFORCE):
        noisy = tempered + random.gumbel(plan, scores.dtype)
    chosen = noisy.argmax(-1, keepdim=True)
    # 1, or NaN if the chosen score is not finite, so that the choice does not hide it.
    one = noisy.detach().gather(-1, chosen) * 0 + 1
    weights = torch.zeros_like(noisy).scatter(-1, chosen, one)
    if kind in (NormalizerKind.GUMBEL, NormalizerKind.STRAIGHT_THROUGH):
        weights = _Through.apply(weights, torch.softmax(noisy, -1))  # type: ignore[no-untyped-call]
    logs = torch.log_softmax(tempered, -1).gather(-1, chosen)[..., 0] if extra else None
    return Row(weights, tempered + top / temperature, logs)


class _Through(torch.autograd.Function):
    """The first tensor forward, the gradient of the second backward, without the rounding of adding and subtracting."""

    generate_vmap_rule = True

    @staticmethod
    def forward(hard: Tensor, soft: Tensor) -> Tensor:
        return hard.clone()

    @staticmethod
    def setup_context(ctx: object, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Nothing is saved: the gradient is passed to ``soft`` unchanged."""

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad

    @staticmethod
    def jvp(ctx: object, hard: Tensor | None, soft: Tensor) -> Tensor:
        return soft.clone()


def _noisy(plan: Plan, scores: Tensor) -> Tensor:
    """``s + σε``."""
    noise, scale = random.normal(plan, scores.dtype), _number(plan)
    return scores + noise * scale if isinstance(scale, Tensor) else scores.add(noise, alpha=scale)


def _divergence(plan: Plan, scores: Tensor, visible: Tensor | None) -> Tensor:
    """Of N(s, σ²) from N(μ₀, σ₀²), summed over the keys that are visible."""
    scale = _number(plan)
    mean = 0.0 if plan.prior_mean is None else plan.prior_mean.to(scores.dtype)
    seen = scores if visible is None else torch.where(visible, scores, 0.0)
    log_scale = scale.log() if isinstance(scale, Tensor) else math.log(scale)
    spread = math.log(plan.prior_scale) - log_scale + (scale / plan.prior_scale) ** 2 / 2 - 0.5
    divergence = (seen - mean) ** 2 / (2 * plan.prior_scale**2) + spread
    if visible is not None:
        divergence = torch.where(visible, divergence, 0.0)
    return divergence.sum(-1)


def _number(plan: Plan) -> float | Tensor:
    if plan.numbers is None:
        return plan.number
    return plan.numbers.to(torch.promote_types(plan.query.dtype, torch.float32))[:, None, None]
