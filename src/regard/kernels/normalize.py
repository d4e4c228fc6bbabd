"""Rows of scores to rows of weights, in plain PyTorch: one short function a normalizer."""

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
    """What becomes of the scores ``(B, H, Lq, Lk)``.

    Attributes:
        weights: ``(B, H, Lq, Lk)``.
        scores: those whose log-sum-exp is the normalizer's, as far as it has one.
        extra: ``(B, H, Lq)``: the log-probability of the key taken (the hard ones) or the divergence from the prior
            (``VARIATIONAL``), with its gradient; None where there is none or it is not asked for.
    """

    weights: Tensor
    scores: Tensor
    extra: Tensor | None = None


def normalize(plan: Plan, scores: Tensor, visible: Tensor | None, extra: bool) -> Row:
    """The weights of ``scores``, which are −∞ where ``visible`` is False, but for rows that see nothing."""
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
        # Not −∞, at which the gradient of many a formula is NaN.
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
        # Scores that are equal to the k-th stay: which of them would go, were it only k, would hang on chance.
        least = scores.detach().topk(plan.count, sorted=False).values.amin(-1, keepdim=True)
        scores = scores.masked_fill(scores < least, -torch.inf)
    return Row(torch.softmax(scores, -1), scores)


def _hard(plan: Plan, scores: Tensor, extra: bool) -> Row:
    """One key a row; the gradient is that of a softmax for two of the estimators, none for the others."""
    kind, temperature = plan.normalizer, _number(plan)
    if not scores.shape[-1]:
        return Row(torch.zeros_like(scores), scores, scores.new_zeros(scores.shape[:-1]))
    # Relative to the largest: s / T itself may be more than the dtype holds, and to the temperature's gradient a large
    # score would add nothing but its rounding, for the gradients of a row's scores sum to 0.
    top = scores.detach().amax(-1, keepdim=True)
    apart = scores - top
    tempered = apart / temperature
    if isinstance(temperature, Tensor):
        # The gradient to the temperature multiplies by s / T², and 0 · ∞ is NaN.
        hidden = (tempered / temperature).detach().isneginf()
        tempered = (apart.masked_fill(hidden, 0.0) / temperature).masked_fill(hidden, -torch.inf)
    choosing = tempered
    if kind in (NormalizerKind.GUMBEL, NormalizerKind.REINFORCE):
        choosing = tempered + random.gumbel(plan, scores.dtype)
    taken = choosing.argmax(-1, keepdim=True)
    # 1, or NaN where the score taken is none: what is not finite must not be hidden by the choice.
    one = choosing.detach().gather(-1, taken) * 0 + 1
    weights = torch.zeros_like(choosing).scatter(-1, taken, one)
    if kind in (NormalizerKind.GUMBEL, NormalizerKind.STRAIGHT_THROUGH):
        weights = _Through.apply(weights, torch.softmax(choosing, -1))  # type: ignore[no-untyped-call]
    logs = torch.log_softmax(tempered, -1).gather(-1, taken)[..., 0] if extra else None
    return Row(weights, tempered + top / temperature, logs)


class _Through(torch.autograd.Function):
    """The first tensor going forward, the gradient of the second going back, without the rounding of a sum of both."""

    generate_vmap_rule = True

    @staticmethod
    def forward(hard: Tensor, soft: Tensor) -> Tensor:
        return hard.clone()

    @staticmethod
    def setup_context(ctx: object, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Nothing is kept: the gradient is that of ``soft`` as it comes."""

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
