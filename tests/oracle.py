"""A second implementation of attention, in NumPy float64 with loops over the formulas; it does not use torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Score = Callable[[int, np.ndarray, np.ndarray], float]
"""Head, one query ``(E,)``, one key ``(E,)`` → score."""

Bias = Callable[[int, int, int, int], float]
"""Batch, head, query, key → the number that is added to the score."""


class Row(NamedTuple):
    """Weights of the visible keys, the log-sum-exp, and the normalizer's extra result; NaN where it defines none."""

    weights: np.ndarray
    lse: float = math.nan
    extra: float = math.nan


Normalizer = Callable[[np.ndarray, int, int, int, list[int]], Row]
"""Scores of the visible keys, batch, head, query, numbers of these keys → their weights."""


class Answer(NamedTuple):
    """Output ``(B, H, Lq, Ev)``, weights ``(B, H, Lq, Lk)``, log-sum-exp and extra result ``(B, H, Lq)``."""

    output: np.ndarray
    weights: np.ndarray
    lse: np.ndarray
    extra: np.ndarray


# Scores


def dot(scale: float) -> Score:
    return lambda head, q, k: scale * float(sum(a * b for a, b in zip(q, k, strict=True)))


def cosine(scale: np.ndarray) -> Score:
    def score(head: int, q: np.ndarray, k: np.ndarray) -> float:
        norms = np.sqrt(np.sum(q * q)) * np.sqrt(np.sum(k * k))
        return float(scale[head] * np.sum(q * k) / norms) if norms > 0 else 0.0

    return score


def bilinear(weight: np.ndarray) -> Score:
    return lambda head, q, k: float(q @ (weight if weight.ndim == 2 else weight[head]) @ k)


def additive(v: np.ndarray, bias: np.ndarray | None = None) -> Score:
    def score(head: int, q: np.ndarray, k: np.ndarray) -> float:
        shift = 0.0 if bias is None else (bias if bias.ndim == 1 else bias[head])
        return float(np.sum((v if v.ndim == 1 else v[head]) * np.tanh(q + k + shift)))

    return score


def distance(scale: float) -> Score:
    return lambda head, q, k: -scale * float(np.sum((q - k) ** 2))


def laplace(scale: float) -> Score:
    return lambda head, q, k: -scale * float(np.sum(np.abs(q - k)))


def softcap(score: Score, cap: float) -> Score:
    return lambda head, q, k: cap * math.tanh(score(head, q, k) / cap)


# Biases


def dense(bias: np.ndarray) -> Bias:
    def added(*place: int) -> float:
        return float(
            bias[tuple(0 if size == 1 else at for size, at in zip(bias.shape, place[-bias.ndim :], strict=True))]
        )

    return added


def alibi(slopes: np.ndarray, shift: int) -> Bias:
    return lambda b, h, i, j: -float(slopes[h]) * abs(i + shift - j)


def t5(table: np.ndarray, shift: int, bidirectional: bool, farthest: int) -> Bias:
    """Raffel et al. 2020: half of a direction's buckets hold one distance each, the others grow to ``farthest``."""
    buckets = table.shape[-1] // (2 if bidirectional else 1)

    def added(b: int, h: int, i: int, j: int) -> float:
        ahead = j - (i + shift)
        away = abs(ahead) if bidirectional else max(0, -ahead)
        near = buckets // 2
        if away >= near:
            far = math.log(away / near) / math.log(farthest / near) * (buckets - near)
            away = min(buckets - 1, near + int(far + 1e-6))
        return float((table if table.ndim == 1 else table[h])[away + (buckets if bidirectional and ahead > 0 else 0)])

    return added


def clipped(table: np.ndarray, shift: int) -> Bias:
    limit = table.shape[-1] // 2
    return lambda b, h, i, j: float(table[h, max(-limit, min(limit, j - i - shift)) + limit])


# Normalizers


def _lse(s: np.ndarray) -> float:
    return float(s.max() + math.log(np.exp(s - s.max()).sum()))


def _soft(s: np.ndarray) -> np.ndarray:
    """Softmax. It divides by the sum: e^(s − lse) would round away the sum where scores are large."""
    parts = np.exp(s - s.max())
    return np.asarray(parts / parts.sum())


def softmax(s: np.ndarray, b: int, h: int, i: int, keys: list[int]) -> Row:
    return Row(_soft(s), _lse(s))


def sink(logits: np.ndarray) -> Normalizer:
    return lambda s, b, h, i, keys: Row(_soft(np.append(s, logits[h]))[:-1], _lse(s))


def sparsemax(s: np.ndarray, b: int, h: int, i: int, keys: list[int]) -> Row:
    """Martins and Astudillo 2016, algorithm 1. Scores are relative to the largest: 1 is rounded away next to 2⁶⁰."""
    s = s - s.max()
    z = sorted(s, reverse=True)
    support = max(k for k in range(1, len(z) + 1) if 1 + k * z[k - 1] > sum(z[:k]))
    threshold = (sum(z[:support]) - 1) / support
    return Row(np.maximum(s - threshold, 0.0))


def entmax(alpha: np.ndarray) -> Normalizer:
    """By bisection: the interval of the threshold is halved until it contains no other number."""

    def normalize(s: np.ndarray, b: int, h: int, i: int, keys: list[int]) -> Row:
        a = float(alpha.reshape(-1)[h if alpha.size > 1 else 0])
        z = (a - 1) * (s - s.max())
        low, high = z.max() - 1, z.max()
        while low < (middle := (low + high) / 2) < high:
            total = (np.maximum(z - middle, 0.0) ** (1 / (a - 1))).sum()
            low, high = (middle, high) if total >= 1 else (low, middle)
        return Row(np.maximum(z - low, 0.0) ** (1 / (a - 1)))

    return normalize


def sigmoid(bias: np.ndarray) -> Normalizer:
    def normalize(s: np.ndarray, b: int, h: int, i: int, keys: list[int]) -> Row:
        return Row(1 / (1 + np.exp(-(s + bias.reshape(-1)[h if bias.size > 1 else 0]))))

    return normalize


def topk(k: int) -> Normalizer:
    def normalize(s: np.ndarray, b: int, h: int, i: int, keys: list[int]) -> Row:
        top = s >= sorted(s, reverse=True)[min(k, len(s)) - 1]
        return Row(_soft(np.where(top, s, -np.inf)), _lse(s[top]))

    return normalize


def hard(temperature: np.ndarray, seed: int | None) -> Normalizer:
    """The key of the largest score, or with a seed, that of the largest sum of score and Gumbel noise."""

    def normalize(s: np.ndarray, b: int, h: int, i: int, keys: list[int]) -> Row:
        t = float(temperature.reshape(-1)[h if temperature.size > 1 else 0])
        largest, s = float(s.max()) / t, (s - s.max()) / t
        noise = [0.0 if seed is None else -math.log(-math.log(uniform(seed, 2, b, h, i, j))) for j in keys]
        selected = int(np.argmax(s + noise))
        return Row(np.eye(len(s))[selected], largest + _lse(s), s[selected] - _lse(s))

    return normalize


def variational(scale: np.ndarray, mean: Bias, prior_scale: float, seed: int | None) -> Normalizer:
    def normalize(s: np.ndarray, b: int, h: int, i: int, keys: list[int]) -> Row:
        sigma = float(scale.reshape(-1)[h if scale.size > 1 else 0])
        divergence = 0.0
        for score, j in zip(s, keys, strict=True):
            squared = (score - mean(b, h, i, j)) ** 2
            divergence += math.log(prior_scale / sigma) + (sigma**2 + squared) / (2 * prior_scale**2) - 0.5
        if seed is not None:
            s = s + [sigma * normal(seed, b, h, i, j) for j in keys]
        return Row(_soft(s), _lse(s), divergence)

    return normalize


# Random bits


def _mix(x: int) -> int:
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> shift)) * factor % 2**32
    return x ^ (x >> 16)


def bits(seed: int, stream: int, b: int, h: int, i: int, j: int) -> int:
    row = _mix(seed % 2**32)
    for part in (seed >> 32, stream, b, h, i):
        row = _mix(row ^ (part * 0x9E3779B9 % 2**32))
    return _mix(row ^ (j * 0x9E3779B9 % 2**32))


def uniform(*place: int) -> float:
    """A number in (0, 1) from the upper 23 bits, of which the highest is inverted."""
    return (((bits(*place) ^ 0x80000000) >> 9) + 0.5) / 2**23


def normal(seed: int, *place: int) -> float:
    return statistics.NormalDist().inv_cdf(uniform(seed, 2, *place))


# Attention


def attend(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    visible: np.ndarray,
    *,
    score: Score,
    bias: Bias | None = None,
    normalizer: Normalizer = softmax,
    dropout: tuple[float, int] | None = None,
) -> Answer:
    """``visible`` is boolean ``(B, H, Lq, Lk)``; ``dropout`` is the probability and the seed."""
    batch, heads, queries, _ = query.shape
    keys, group = key.shape[2], heads // max(1, key.shape[1])
    output = np.zeros((batch, heads, queries, value.shape[3]))
    weights = np.zeros((batch, heads, queries, keys))
    lse, extra = np.full((batch, heads, queries), -np.inf), np.zeros((batch, heads, queries))
    for b, h, i in np.ndindex(batch, heads, queries):
        seen = [j for j in range(keys) if visible[b, h, i, j]]
        s = np.array([score(h, query[b, h, i], key[b, h // group, j]) for j in seen])
        if bias is not None:
            s = s + [bias(b, h, i, j) for j in seen]
        # A bias of −∞ hides a key as a mask does; a query that sees none has output 0.
        seen, s = [j for j, hidden in zip(seen, s == -np.inf, strict=True) if not hidden], s[s != -np.inf]
        if not seen:
            continue
        with np.errstate(over="ignore"):
            row = normalizer(s, b, h, i, seen)
        lse[b, h, i], extra[b, h, i] = row.lse, row.extra
        for j, weight in zip(seen, row.weights, strict=True):
            weights[b, h, i, j] = weight
            if dropout is None:
                output[b, h, i] += weight * value[b, h // group, j]
            elif (bits(dropout[1], 1, b, h, i, j) + 2**31) % 2**32 >= round(dropout[0] * 2**32):
                output[b, h, i] += weight / (1 - dropout[0]) * value[b, h // group, j]
    return Answer(output, weights, lse, extra)
