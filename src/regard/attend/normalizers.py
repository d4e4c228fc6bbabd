"""Normalizers, which turn a row of scores into a row of weights: one small class each.

`lower` returns the fields of a `Plan` that the normalizer sets. Random bits are a function of a seed: a whole number or
an int64 scalar tensor, with which a call can be repeated; None draws a seed from PyTorch's generator, which
``torch.manual_seed`` sets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from regard.attend.numbers import is_whole
from regard.kernels.memory import is_plain
from regard.kernels.plan import NormalizerKind

Shape = tuple[int, int, int, int]
"""The shape of the scores, (B, H, Lq, Lk)."""

Seed = int | Tensor | None

__all__ = [
    "Dropout", "Entmax", "Hard", "Normalizer", "Sigmoid", "Softmax", "Sparsemax", "TopK", "Variational",
]  # fmt: skip


class Normalizer:
    """The base class of normalizers, which turn a row of scores into a row of weights.

    A normalizer of your own is a subclass with the method `weights`. It runs on the reference backend, with any score,
    bias and mask, all looks except ``lse``, in `Dropout`, and with gradients, also of a tensor that it holds. The C++
    kernels refuse it, as `explain_choice` shows.

    >>> import torch
    >>> from regard import Causal, Dot, Normalizer, attention
    >>> class Squared(Normalizer):  # (max(s, 0))² divided by the row's sum
    ...     def weights(self, scores):
    ...         positive = scores.relu().square()
    ...         return positive / positive.sum(-1, keepdim=True).clamp(min=1e-6)
    >>> query = key = torch.tensor([[1.0], [2.0], [-1.0]])
    >>> attention(query, key, torch.eye(3), score=Dot(1.0), mask=Causal(), normalizer=Squared())
    tensor([[1.0000, 0.0000, 0.0000],
            [0.2000, 0.8000, 0.0000],
            [0.0000, 0.0000, 1.0000]])
    """

    def weights(self, scores: Tensor) -> Tensor:
        """The weights of each row of scores.

        Each row must depend on its own scores only: looks call this with a part of the rows.

        Args:
            scores: ``(B, H, Lq, Lk)``; a hidden key has the dtype's lowest finite number, ``torch.finfo(dtype).min``,
                because many formulas have no gradient at −∞.

        Returns:
            Weights of the same shape; those of hidden keys are then set to 0.
        """
        raise TypeError(f"normalizer: {type(self).__name__} must define weights(self, scores)")

    def lower(self, shape: Shape, query: Tensor) -> dict[str, Any]:
        """Its fields of the plan; a subclass with `weights` need not define it."""
        return {"own_normalizer": self.weights, "names": (type(self).__name__,)}


@dataclass(frozen=True, eq=False)
class Softmax(Normalizer):
    """``w_j = exp(s_j) / Σ exp(s)`` over the visible keys; a row without visible keys has weights 0.

    Attributes:
        sink: ``(H,)``, one logit per head that takes part in the sum but has no value, so that a query can attend to
            little (Xiao et al. 2024, arXiv:2309.17453; as in gpt-oss); None: no sink.

    Example:
        >>> from regard import Look, attention
        >>> words = torch.zeros(2, 1)
        >>> _, view = attention(words, words, words, normalizer=Softmax(sink=torch.zeros(1)), look=Look(rows=[0]))
        >>> view.rows.round(decimals=3)  # the sink takes the last third
        tensor([[0.3330, 0.3330]])
    """

    sink: Tensor | None = None

    def lower(self, shape: Shape, query: Tensor) -> dict[str, Any]:
        """Its fields of the plan. Raises ValueError or TypeError: ``sink`` does not fit the heads."""
        sink = None if self.sink is None else _per_head("Softmax.sink", self.sink, shape, query)
        return {"normalizer": NormalizerKind.SOFTMAX, "sink": sink}


@dataclass(frozen=True, eq=False)
class Sparsemax(Normalizer):
    """The projection of the scores onto the simplex, ``[s − τ]₊``, with exact zeros (Martins and Astudillo 2016,
    arXiv:1602.02068).

    Example:
        >>> from regard import Look, attention
        >>> query, key = torch.ones(1, 1), torch.tensor([[1.5], [1.0], [-1.0]])
        >>> _, view = attention(query, key, key, normalizer=Sparsemax(), look=Look(rows=[0]))
        >>> view.rows.tolist()
        [[0.75, 0.25, 0.0]]
    """

    def lower(self, shape: Shape, query: Tensor) -> dict[str, Any]:
        """Its fields of the plan."""
        return {"normalizer": NormalizerKind.ENTMAX, "number": 2.0}


@dataclass(frozen=True, eq=False)
class Entmax(Normalizer):
    """``w = [(α − 1)·s − τ]₊^(1/(α − 1))``: from softmax (α → 1) to sparsemax (α = 2).

    Peters, Niculae and Martins 2019 (arXiv:1905.05702); Correia et al. 2019 (arXiv:1909.00015) learn α.

    Attributes:
        alpha: above 1, at most 2: a number, or a learned tensor, ``()`` or, per head, ``(H,)``.

    Example:
        >>> import torch
        >>> from regard import Look, attention
        >>> query, key = torch.ones(1, 1), torch.tensor([[3.0], [2.0], [-9.0]])
        >>> _, view = attention(query, key, key, normalizer=Entmax(2.0), look=Look(rows=[0]))
        >>> view.rows.tolist()
        [[1.0, 0.0, 0.0]]
    """

    alpha: float | Tensor = 1.5

    def lower(self, shape: Shape, query: Tensor) -> dict[str, Any]:
        """Its fields of the plan. Raises ValueError or TypeError: ``alpha`` is out of range or does not fit."""
        if isinstance(self.alpha, Tensor):
            alpha = _per_head("Entmax.alpha", self.alpha, shape, query, scalar=True)
            _within("Entmax.alpha", alpha, "above 1 and at most 2", lambda t: (t > 1) & (t <= 2))
            return {"normalizer": NormalizerKind.ENTMAX, "numbers": alpha}
        if not 1 < _number("Entmax.alpha", self.alpha) <= 2:
            raise ValueError(
                f"normalizer: Entmax.alpha must be above 1 (which is Softmax) and at most 2, got {self.alpha}"
            )
        return {"normalizer": NormalizerKind.ENTMAX, "number": float(self.alpha)}


@dataclass(frozen=True, eq=False)
class Sigmoid(Normalizer):
    """``w_j = σ(s_j + bias)``, independent of the other keys; rows do not sum to one (Ramapuram et al. 2025,
    arXiv:2409.04431).

    Attributes:
        bias: a number, or a learned tensor, ``()`` or, per head, ``(H,)``; None: −ln Lk, as in the paper, with which
            the sum of a row is near one at first. With a cache Lk grows at each step, so give a number.

    Example:
        >>> from regard import Look, attention
        >>> query, key = torch.ones(1, 1), torch.tensor([[2.0], [0.0]])
        >>> _, view = attention(query, key, key, normalizer=Sigmoid(bias=0.0), look=Look(rows=[0]))
        >>> view.rows.round(decimals=3)
        tensor([[0.8810, 0.5000]])
    """

    bias: float | Tensor | None = None

    def lower(self, shape: Shape, query: Tensor) -> dict[str, Any]:
        """Its fields of the plan. Raises ValueError or TypeError: ``bias`` is not finite or does not fit."""
        precise = torch.promote_types(query.dtype, torch.float32)
        if isinstance(self.bias, Tensor):
            shift = _per_head("Sigmoid.bias", self.bias, shape, query, scalar=True)[None, :, None, None]
        elif self.bias is None:
            # As a tensor, so that one compiled graph serves every number of keys.
            keys = torch.full((1, 1, 1, 1), shape[3], dtype=precise, device=query.device)
            shift = -keys.clamp(min=1).log()
        else:
            number = _number("Sigmoid.bias", self.bias)
            shift = torch.full((1, 1, 1, 1), number, dtype=precise, device=query.device)
        return {"normalizer": NormalizerKind.SIGMOID, "bias": shift}


@dataclass(frozen=True, eq=False)
class TopK(Normalizer):
    """Softmax over the k largest scores of the row; the other weights are 0 (Gupta et al. 2021, arXiv:2106.06899).

    Scores equal to the k-th largest are all kept, so that the result does not depend on the order of the keys.

    Attributes:
        k: at least 1; a row that sees fewer keys keeps them all.

    Example:
        >>> from regard import Look, attention
        >>> query, key = torch.ones(1, 1), torch.tensor([[1.0], [1.0], [0.9]])
        >>> _, view = attention(query, key, key, normalizer=TopK(2), look=Look(rows=[0]))
        >>> view.rows.tolist()
        [[0.5, 0.5, 0.0]]
    """

    k: int

    def lower(self, shape: Shape, query: Tensor) -> dict[str, Any]:
        """Its fields of the plan. Raises ValueError or TypeError: ``k`` is not a whole number from 1."""
        if not is_whole(self.k):
            raise TypeError(f"normalizer: TopK.k must be a whole number, got {self.k!r}")
        if self.k < 1:
            raise ValueError(f"normalizer: TopK.k must be at least 1, got {self.k}")
        return {"normalizer": NormalizerKind.TOPK, "count": self.k}


_ESTIMATORS = {
    "gumbel": NormalizerKind.GUMBEL,
    "reinforce": NormalizerKind.REINFORCE,
    "straight-through": NormalizerKind.STRAIGHT_THROUGH,
}


@dataclass(frozen=True, eq=False)
class Hard(Normalizer):
    """One key for each query (Xu et al. 2015, arXiv:1502.03044); ``Look(log_prob=True)`` gives its ln softmax(s / T).

    In evaluation, it is the key with the largest score. In training, it depends on the estimator:

    - ``"gumbel"``: the largest of s / T + Gumbel noise, which is a draw from softmax(s / T); in the backward pass, the
      gradient of softmax(s / T + noise) (Jang et al. 2017, arXiv:1611.01144);
    - ``"reinforce"``: the same draw, without a gradient of the scores; add (cost − baseline) · log_prob to the loss
      (Williams 1992);
    - ``"straight-through"``: the largest score; in the backward pass, the gradient of softmax(s / T) (Bengio et al.
      2013, arXiv:1308.3432).

    Attributes:
        estimator: one of the three.
        temperature: T, positive: a number, or a learned tensor, ``()`` or ``(H,)``.
        training: whether this is training.
        seed: of the random draw.

    Example:
        >>> from regard import attention
        >>> query, key = torch.ones(1, 1), torch.tensor([[1.0], [3.0], [2.0]])
        >>> attention(query, key, torch.eye(3), normalizer=Hard("straight-through"))
        tensor([[0., 1., 0.]])
    """

    estimator: Literal["gumbel", "reinforce", "straight-through"] = "gumbel"
    temperature: float | Tensor = 1.0
    training: bool = True
    seed: Seed = None

    def lower(self, shape: Shape, query: Tensor) -> dict[str, Any]:
        """Its fields of the plan. Raises ValueError or TypeError: an attribute is out of range."""
        if self.estimator not in _ESTIMATORS:
            raise ValueError(
                f"normalizer: Hard.estimator must be one of {', '.join(_ESTIMATORS)}, got {self.estimator!r}"
            )
        kind = _ESTIMATORS[self.estimator] if self.training else NormalizerKind.ARGMAX
        draws = kind in (NormalizerKind.GUMBEL, NormalizerKind.REINFORCE)
        seed = _seed("Hard.seed", self.seed, query, draws)
        return {"normalizer": kind, "seed": seed} | _scale("Hard.temperature", self.temperature, shape, query)


@dataclass(frozen=True, eq=False)
class Variational(Normalizer):
    """Latent weights: Gaussian noise of ``scale`` is added to the scores, so that their softmax is logistic-normal.

    Bayesian attention modules with a log-normal posterior (Fan et al. 2020, arXiv:2010.10604), before normalization.
    ``Look(kl=True)`` gives the divergence of N(s, scale²) from the prior, summed over the visible keys, with its
    gradient: add it to the loss, with a factor that grows from 0. In evaluation there is no noise: the mean scores are
    used.

    Attributes:
        scale: the posterior's standard deviation, positive: a number, or a learned tensor, ``()`` or ``(H,)``.
        prior_mean: the prior's mean: a number, or a tensor that broadcasts to ``(B, H, Lq, Lk)``, such as one of the
            keys.
        prior_scale: its standard deviation, positive.
        training: whether this is training.
        seed: of the noise.

    Example:
        >>> from regard import Look, attention
        >>> words = torch.randn(4, 8)
        >>> output, view = attention(words, words, words, normalizer=Variational(0.5, seed=1), look=Look(kl=True))
        >>> view.kl.shape
        torch.Size([4])
    """

    scale: float | Tensor = 1.0
    prior_mean: float | Tensor = 0.0
    prior_scale: float = 1.0
    training: bool = True
    seed: Seed = None

    def lower(self, shape: Shape, query: Tensor) -> dict[str, Any]:
        """Its fields of the plan. Raises ValueError or TypeError: an attribute is out of range or does not fit."""
        if _number("Variational.prior_scale", self.prior_scale) <= 0:
            raise ValueError(f"normalizer: Variational.prior_scale must be positive, got {self.prior_scale}")
        return {
            "normalizer": NormalizerKind.VARIATIONAL,
            "prior_mean": self._mean(shape, query),
            "prior_scale": float(self.prior_scale),
            "seed": _seed("Variational.seed", self.seed, query, self.training),
        } | _scale("Variational.scale", self.scale, shape, query)

    def _mean(self, shape: Shape, query: Tensor) -> Tensor | None:
        mean = self.prior_mean
        if not isinstance(mean, Tensor):
            number = _number("Variational.prior_mean", mean)
            precise = torch.promote_types(query.dtype, torch.float32)
            return torch.full((1, 1, 1, 1), number, dtype=precise, device=query.device) if number else None
        got = tuple(mean.shape)
        if len(got) > 4 or any(have not in (1, want) for have, want in zip(got[::-1], shape[::-1], strict=False)):
            raise ValueError(f"normalizer: Variational.prior_mean must broadcast to {shape}, got shape {got}")
        _like("Variational.prior_mean", mean, query)
        return mean[(None,) * (4 - len(got))]


@dataclass(frozen=True, eq=False)
class Dropout(Normalizer):
    """Sets weights of another normalizer to 0 at random and scales the rest by 1/(1 − p); for training only.

    Looks show the weights before dropout. The random bits are a function of (seed, batch, head, query, key): see
    `regard.kernels.random`.

    Attributes:
        normalizer: computes the weights.
        p: the probability, at least 0 and below 1.
        seed: of the random bits.

    Example:
        >>> from regard import attention
        >>> words = torch.zeros(4, 1)
        >>> attention(words, words, torch.eye(4), normalizer=Dropout(Softmax(), p=0.5, seed=1))
        tensor([[0.5000, 0.0000, 0.5000, 0.5000],
                [0.5000, 0.5000, 0.0000, 0.0000],
                [0.0000, 0.5000, 0.0000, 0.0000],
                [0.0000, 0.0000, 0.5000, 0.5000]])
    """

    normalizer: Normalizer
    p: float
    seed: Seed = None

    def lower(self, shape: Shape, query: Tensor) -> dict[str, Any]:
        """Its fields of the plan. Raises ValueError or TypeError: ``p`` is out of range."""
        if not isinstance(self.normalizer, Normalizer) or isinstance(self.normalizer, Dropout):
            raise TypeError(f"normalizer: Dropout.normalizer must be one such as Softmax(), got {self.normalizer!r}")
        if not 0 <= _number("Dropout.p", self.p) < 1:
            raise ValueError(f"normalizer: Dropout.p must be at least 0 and below 1, got {self.p}")
        seed = _seed("Dropout.seed", self.seed, query, self.p > 0)
        return self.normalizer.lower(shape, query) | {"dropout": float(self.p), "dropout_seed": seed}


def _number(name: str, number: float) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"normalizer: {name} must be a number, got {number!r}")
    if not -math.inf < number < math.inf:  # a graph can guard this, but not math.isfinite
        raise ValueError(f"normalizer: {name} must be finite, got {number}")
    return float(number)


def _scale(name: str, scale: float | Tensor, shape: Shape, query: Tensor) -> dict[str, Any]:
    if isinstance(scale, Tensor):
        numbers = _per_head(name, scale, shape, query, scalar=True)
        _within(name, numbers, "positive", lambda t: t > 0)
        return {"numbers": numbers}
    if _number(name, scale) <= 0:
        raise ValueError(f"normalizer: {name} must be positive, got {scale}")
    return {"number": float(scale)}


def _per_head(name: str, tensor: Tensor, shape: Shape, query: Tensor, *, scalar: bool = False) -> Tensor:
    """``tensor`` as ``(H,)`` or, if a scalar is allowed, ``(1,)``."""
    wanted = ((), (shape[1],)) if scalar else ((shape[1],),)
    if not isinstance(tensor, Tensor):
        raise TypeError(f"normalizer: {name} must be a tensor, got {tensor!r}")
    if tuple(tensor.shape) not in wanted:
        raise ValueError(
            f"normalizer: {name} must have shape {' or '.join(map(str, wanted))}, got {tuple(tensor.shape)}"
        )
    _like(name, tensor, query)
    return tensor.view(-1)


def _like(name: str, tensor: Tensor, query: Tensor) -> None:
    if tensor.device != query.device:
        raise ValueError(f"normalizer: {name} is on {tensor.device}, query on {query.device}")
    if tensor.dtype not in (query.dtype, torch.promote_types(query.dtype, torch.float32)):
        raise TypeError(f"normalizer: {name} must have query's dtype {query.dtype} or float32, got {tensor.dtype}")


def _within(name: str, tensor: Tensor, wanted: str, test: Any) -> None:
    # Only where reading the numbers is free: a GPU would have to be waited for, a graph or vmap has no numbers.
    if is_plain(tensor) and not bool(test(tensor).all()):
        raise ValueError(f"normalizer: {name} must be {wanted}, got {tensor.tolist()}")


def _seed(name: str, seed: Seed, query: Tensor, draws: bool) -> Tensor | None:
    if isinstance(seed, Tensor) and (seed.dtype is not torch.int64 or seed.dim()):
        raise TypeError(f"normalizer: {name} must be an int64 scalar, got {seed.dtype} of shape {tuple(seed.shape)}")
    if isinstance(seed, bool) or not isinstance(seed, int | Tensor | None):
        raise TypeError(f"normalizer: {name} must be a whole number, an int64 scalar tensor or None, got {seed!r}")
    if isinstance(seed, Tensor) and seed.is_meta and not query.is_meta:
        raise ValueError(f"normalizer: {name} is on meta, query on {query.device}")
    if isinstance(seed, int) and not 0 <= seed < 2**63:
        raise ValueError(f"normalizer: {name} must be from 0 to 2⁶³ − 1, got {seed}")
    if not draws:
        return None
    if seed is None:
        return torch.randint(2**63 - 1, (), device=query.device)
    return seed if isinstance(seed, Tensor) else torch.full((), seed, dtype=torch.int64, device=query.device)
