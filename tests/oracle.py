"""Attention written a second time, in NumPy float64, with loops, straight from the formulas; it knows no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Score = Callable[[int, np.ndarray, np.ndarray], float]
"""Head, one query ``(E,)``, one key ``(E,)`` → score."""


class Answer(NamedTuple):
    """Output ``(B, H, Lq, Ev)``, weights ``(B, H, Lq, Lk)``, log-sum-exp ``(B, H, Lq)``."""

    output: np.ndarray
    weights: np.ndarray
    lse: np.ndarray


def dot(scale: float) -> Score:
    return lambda head, q, k: scale * float(sum(a * b for a, b in zip(q, k, strict=True)))


def cosine(scale: np.ndarray) -> Score:
    def score(head: int, q: np.ndarray, k: np.ndarray) -> float:
        norms = np.sqrt(np.sum(q * q)) * np.sqrt(np.sum(k * k))
        return float(scale[head] * np.sum(q * k) / norms) if norms > 0 else 0.0

    return score


def bilinear(weight: np.ndarray) -> Score:
    return lambda head, q, k: float(q @ (weight if weight.ndim == 2 else weight[head]) @ k)


def additive(v: np.ndarray, bias: np.ndarray | None) -> Score:
    def score(head: int, q: np.ndarray, k: np.ndarray) -> float:
        shift = 0.0 if bias is None else (bias if bias.ndim == 1 else bias[head])
        return float(np.sum((v if v.ndim == 1 else v[head]) * np.tanh(q + k + shift)))

    return score


def attend(query: np.ndarray, key: np.ndarray, value: np.ndarray, score: Score, visible: np.ndarray) -> Answer:
    """``visible`` is boolean ``(B, H, Lq, Lk)``."""
    batch, heads, queries, _ = query.shape
    keys, group = key.shape[2], heads // key.shape[1]
    output = np.zeros((batch, heads, queries, value.shape[3]))
    weights = np.zeros((batch, heads, queries, keys))
    lse = np.full((batch, heads, queries), -np.inf)
    for b in range(batch):
        for h in range(heads):
            for i in range(queries):
                seen = [j for j in range(keys) if visible[b, h, i, j]]
                if not seen:
                    continue
                s = np.array([score(h, query[b, h, i], key[b, h // group, j]) for j in seen])
                exponentials = np.exp(s - s.max())
                lse[b, h, i] = s.max() + np.log(exponentials.sum())
                for j, weight in zip(seen, exponentials / exponentials.sum(), strict=True):
                    weights[b, h, i, j] = weight
                    output[b, h, i] += weight * value[b, h // group, j]
    return Answer(output, weights, lse)
