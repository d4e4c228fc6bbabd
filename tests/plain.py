"""Attention as plain PyTorch code, in the dtype of the inputs, with the full Lq × Lk matrix of weights.

Tests compare its rounding errors with those of regard's backends, and `benchmarks/reference.py` compares its speed. Its
random numbers are PyTorch's, or those of a plan, so that both sides can drop and draw the same.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from regard import (
    Additive,
    ALiBi,
    Bilinear,
    Cosine,
    Distance,
    Dot,
    Dropout,
    Entmax,
    Hard,
    RelativeBias,
    Sigmoid,
    Softcap,
    Softmax,
    Sparsemax,
    TopK,
    Variational,
)  # fmt: skip
from regard.kernels import random
from regard.kernels.plan import Plan


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, score: Any = None, bias: Any = None, normalizer: Any = None,
    mask: Tensor | None = None, drawn_by: Plan | None = None,
) -> Tensor:  # fmt: skip
    """``mask`` is a boolean tensor; ``drawn_by`` is the plan whose random numbers are used."""
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    s = scores(q, k, score or Dot())
    if bias is not None:
        s = s + (bias if isinstance(bias, Tensor) else _relative(bias, s))
    if mask is not None:
        s = s.masked_fill(~mask, -math.inf)
    return weights(s, normalizer or Softmax(), drawn_by) @ v


def scores(q: Tensor, k: Tensor, score: Any) -> Tensor:
    if isinstance(score, Softcap):
        return torch.tanh(scores(q, k, score.score) / score.cap) * score.cap
    if isinstance(score, Dot):
        return q @ k.mT * (q.shape[-1] ** -0.5 if score.scale is None else score.scale)
    if isinstance(score, Cosine):
        scale = score.scale[:, None, None] if isinstance(score.scale, Tensor) else score.scale
        return functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).mT * scale
    if isinstance(score, Bilinear):
        return q @ score.weight @ k.mT
    if isinstance(score, Distance):
        return (q.square().sum(-1, keepdim=True) + k.square().sum(-1)[..., None, :] - 2 * q @ k.mT) * -score.scale
    if not isinstance(score, Additive):
        return score.scores(q, k)  # the score's definition in PyTorch
    shift = 0 if score.bias is None else score.bias if score.bias.dim() == 1 else score.bias[:, None, None]
    hidden = torch.tanh(q[..., :, None, :] + k[..., None, :, :] + shift)
    return hidden @ score.v if score.v.dim() == 1 else (hidden * score.v[:, None, None]).sum(-1)


def weights(s: Tensor, normalizer: Any, drawn_by: Plan | None = None) -> Tensor:
    if isinstance(normalizer, Dropout):
        undropped = weights(s, normalizer.normalizer, drawn_by)
        if drawn_by is not None:
            return undropped * random.kept(drawn_by) / (1 - normalizer.p)
        return functional.dropout(undropped, normalizer.p)
    if isinstance(normalizer, Softmax):
        if normalizer.sink is None:
            return torch.softmax(s, -1)
        sink = normalizer.sink[:, None, None].expand(*s.shape[:-1], 1)
        return torch.softmax(torch.cat([s, sink], -1), -1)[..., :-1]
    if isinstance(normalizer, Sigmoid):
        shift = -math.log(s.shape[-1]) if normalizer.bias is None else normalizer.bias
        return torch.sigmoid(s + (shift[..., None, None] if isinstance(shift, Tensor) else shift))
    if isinstance(normalizer, TopK):
        threshold = s.topk(min(normalizer.k, s.shape[-1])).values[..., -1:]
        return torch.softmax(s.masked_fill(s < threshold, -math.inf), -1)
    if isinstance(normalizer, Hard):
        return _hard(s, normalizer, drawn_by)
    if isinstance(normalizer, Variational):
        scale = normalizer.scale[:, None, None] if isinstance(normalizer.scale, Tensor) else normalizer.scale
        if not normalizer.training:
            return torch.softmax(s, -1)
        noise = torch.randn_like(s) if drawn_by is None else random.normal(drawn_by, torch.float32).to(s.dtype)
        return torch.softmax(s + noise * scale, -1)
    if not isinstance(normalizer, Sparsemax | Entmax):
        return normalizer.weights(s)  # the normalizer's definition in PyTorch
    return _entmax(s, 2.0 if isinstance(normalizer, Sparsemax) else normalizer.alpha)


def _hard(s: Tensor, normalizer: Hard, drawn_by: Plan | None) -> Tensor:
    if not normalizer.training:
        return functional.one_hot(s.argmax(-1), s.shape[-1]).to(s.dtype)
    temperature = normalizer.temperature
    s = s / (temperature[:, None, None] if isinstance(temperature, Tensor) else temperature)
    if normalizer.estimator == "straight-through":
        soft = torch.softmax(s, -1)
        return torch.zeros_like(s).scatter_(-1, s.argmax(-1, keepdim=True), 1.0) + soft - soft.detach()
    if drawn_by is not None:
        noisy = s + random.gumbel(drawn_by, torch.float32).to(s.dtype)
        return functional.one_hot(noisy.argmax(-1), s.shape[-1]).to(s.dtype)
    if normalizer.estimator == "gumbel":
        return functional.gumbel_softmax(s, hard=True)
    selected = torch.distributions.Categorical(logits=s).sample()
    return functional.one_hot(selected, s.shape[-1]).to(s.dtype)


def _entmax(s: Tensor, alpha: Any) -> Tensor:
    """Bisection in fifty steps; Peters, Niculae and Martins 2019, algorithm 1."""
    if isinstance(alpha, Tensor):
        alpha = alpha.view(-1, 1, 1)
    z = s * (alpha - 1)
    low = z.amax(-1, keepdim=True) - 1
    width = 1 - s.shape[-1] ** (1 - alpha)
    for _ in range(50):
        width = width / 2
        middle = low + width
        total = ((z - middle).clamp(min=0) ** (1 / (alpha - 1))).sum(-1, keepdim=True)
        low = torch.where(total >= 1, middle, low)
    w = (z - low).clamp(min=0) ** (1 / (alpha - 1))
    return w / w.sum(-1, keepdim=True)


def _relative(bias: Any, s: Tensor) -> Tensor:
    """The bias as an Lq × Lk matrix."""
    queries, keys = s.shape[-2:]
    shift = keys - queries if bias.offset is None else bias.offset
    distance = torch.arange(keys) - torch.arange(queries)[:, None] - shift
    if isinstance(bias, ALiBi):
        heads = s.shape[1]
        slopes = bias.slopes if bias.slopes is not None else 2.0 ** (-8 * torch.arange(1, heads + 1) / heads)
        return (-slopes[:, None, None] * distance.abs()).to(s.dtype)
    assert isinstance(bias, RelativeBias)
    table = bias.table.view(-1, bias.table.shape[-1])
    half = table.shape[1] // 2
    if bias.buckets == "clipped":
        return table[:, distance.clamp(-half, half) + half]
    both = bias.bidirectional is None or bias.bidirectional
    side, away = (half, distance.abs()) if both else (table.shape[1], (-distance).clamp(min=0))
    near, farthest = side // 2, bias.max_distance or 128
    far = near + ((away.clamp(min=1) / near).log() / math.log(farthest / near) * (side - near)).long()
    return table[:, torch.where(away < near, away, far.clamp(max=side - 1)) + (side * (distance > 0) if both else 0)]
