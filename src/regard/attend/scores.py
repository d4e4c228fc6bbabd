"""Score functions, which measure how well a query and a key match: one small class each.

`Score.prepare` lowers a score for the kernels: cosine and bilinear scores become dot products of prepared inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from regard.kernels.plan import ScoreKind
from regard.kernels.visibility import all_true, nonfinite

__all__ = ["Additive", "Bilinear", "Cosine", "Distance", "Dot", "Score", "Softcap"]


class Prepared(NamedTuple):
    """A score lowered to kernel terms; shapes as in `regard.kernels.plan.Plan`."""

    query: Tensor
    key: Tensor
    kind: ScoreKind
    scale: float = 1.0
    vector: Tensor | None = None
    softcap: float = 0.0
    own: Callable[[Tensor, Tensor], Tensor] | None = None
    name: str = ""


class Score:
    """The base class of score functions: ``s_ij`` of each query i and key j.

    A score of your own is a subclass with the method `scores`. It runs on the reference backend, with masks, biases,
    normalizers, looks and gradients, and in `Softcap`. The C++ kernels refuse it, as `explain_choice` shows. A
    tensor with ``requires_grad`` that it holds gets its gradient.

    >>> import torch
    >>> from dataclasses import dataclass
    >>> from regard import Causal, Score, attention
    >>> @dataclass(frozen=True, eq=False)
    ... class Laplace(Score):  # the negative sum of absolute differences
    ...     scale: float = 1.0
    ...
    ...     def scores(self, query, key):
    ...         return -self.scale * (query[..., :, None, :] - key[..., None, :, :]).abs().sum(-1)
    >>> query = key = torch.tensor([[0.0], [1.0], [5.0]])
    >>> attention(query, key, torch.eye(3), score=Laplace(), mask=Causal()).round(decimals=3)
    tensor([[1.0000, 0.0000, 0.0000],
            [0.2690, 0.7310, 0.0000],
            [0.0070, 0.0180, 0.9760]])
    """

    products: ClassVar[bool] = True
    """Whether it is made of matrix products, whose inputs autocast gives its own dtype."""

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """The scores of every query for every key.

        Each must depend on its own query and key only: looks call this with a part of the queries.

        Args:
            query: ``(B, H, Lq, E)``, in float32, or float64 if the call is in float64.
            key: ``(B, H, Lk, Ek)``, likewise; shared key heads are repeated for their query heads.

        Returns:
            ``(B, H, Lq, Lk)``.
        """
        raise TypeError(f"score: {type(self).__name__} must define scores(self, query, key)")

    def prepare(self, query: Tensor, key: Tensor, masked: bool) -> Prepared:
        """Lower for the kernels; a subclass with `scores` need not define it."""
        return Prepared(query, key, ScoreKind.DOT, own=self.scores, name=type(self).__name__)

    def to(self, dtype: torch.dtype) -> Score:
        """The same score for inputs of ``dtype``, for autocast; overridden by scores that hold tensors."""
        return self


@dataclass(frozen=True, eq=False)
class Dot(Score):
    """``s = scale · q·k`` (Vaswani et al. 2017, arXiv:1706.03762).

    Attributes:
        scale: 1/√E by default; 1.0 is the plain dot product of Luong et al. 2015 (arXiv:1508.04025).

    Example:
        >>> from regard import Look, attention
        >>> query, key = torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0, 0.0], [1.0, 2.0]])
        >>> _, view = attention(query, key, key, score=Dot(scale=1.0), look=Look(rows=[0]))
        >>> view.rows.round(decimals=3)
        tensor([[0.8810, 0.1190]])
    """

    scale: float | None = None

    def prepare(self, query: Tensor, key: Tensor, masked: bool) -> Prepared:
        """Lower for the kernels. Raises ValueError: ``scale`` is not finite."""
        _same_width(query, key)
        width = query.shape[-1]
        scale = (width**-0.5 if width else 1.0) if self.scale is None else _finite("Dot.scale", self.scale)
        return Prepared(query, key, ScoreKind.DOT, scale)


@dataclass(frozen=True, eq=False)
class Cosine(Score):
    """``s = scale · q·k / (|q| |k|)`` (Graves et al. 2014, arXiv:1410.5401).

    A zero vector scores 0 and gets no gradient.

    Attributes:
        scale: a number, or a learned tensor with one value per head, ``(H,)``.

    Example:
        >>> from regard import Look, attention
        >>> query, key = torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 0.0], [9.0, 0.0], [0.0, 1.0]])
        >>> _, view = attention(query, key, key, score=Cosine(scale=2.0), look=Look(rows=[0]))
        >>> view.rows.round(decimals=3)  # the lengths of the keys do not matter
        tensor([[0.4680, 0.4680, 0.0630]])
    """

    scale: float | Tensor

    def prepare(self, query: Tensor, key: Tensor, masked: bool) -> Prepared:
        """Lower for the kernels. Raises ValueError: ``scale`` is not finite, not ``(H,)``, or on another device."""
        _same_width(query, key)
        precise = torch.promote_types(query.dtype, torch.float32)
        factor: float | Tensor
        if isinstance(self.scale, Tensor):
            if self.scale.device != query.device:
                raise ValueError(f"score: Cosine.scale is on {self.scale.device}, query on {query.device}")
            scale, factor = 1.0, _per_head("Cosine.scale", self.scale, (query.shape[1],)).to(precise)[:, None, None]
        else:
            scale, factor = _finite("Cosine.scale", self.scale), 1.0

        query_hat = _apart_from_nonfinite(lambda tensor: _unit(tensor.to(precise)) * factor, query, masked)
        key_hat = _apart_from_nonfinite(lambda tensor: _unit(tensor.to(precise)), key, masked)
        return Prepared(query_hat, key_hat, ScoreKind.DOT, scale)


@dataclass(frozen=True, eq=False)
class Bilinear(Score):
    """``s = q W k``, the "general" score of Luong et al. 2015 (arXiv:1508.04025).

    Attributes:
        weight: W, ``(E, Ek)``, shared by the heads, or ``(H, E, Ek)``: the key's width Ek may differ from the query's.

    Example:
        >>> from regard import attention
        >>> query, key = torch.randn(5, 4), torch.randn(7, 3)
        >>> attention(query, key, key, score=Bilinear(torch.randn(4, 3))).shape
        torch.Size([5, 3])
    """

    weight: Tensor

    def to(self, dtype: torch.dtype) -> Bilinear:
        """See `Score.to`."""
        return Bilinear(self.weight.to(dtype))

    def prepare(self, query: Tensor, key: Tensor, masked: bool) -> Prepared:
        """Lower for the kernels. Raises ValueError: ``weight`` does not fit the widths or the heads."""
        shape = (query.shape[-1], key.shape[-1])
        allowed = (shape, (query.shape[1], *shape))
        if tuple(self.weight.shape) not in allowed:
            raise ValueError(
                f"score: Bilinear.weight must have shape {allowed[0]} or {allowed[1]} for these query and key, "
                f"got {tuple(self.weight.shape)}"
            )
        _like("Bilinear.weight", self.weight, query)
        return Prepared(_apart_from_nonfinite(lambda t: t @ self.weight, query, masked), key, ScoreKind.DOT)


@dataclass(frozen=True, eq=False)
class Additive(Score):
    """``s = v · tanh(q + k + bias)`` with q and k already projected.

    Bahdanau, Cho and Bengio 2015 (arXiv:1409.0473); the "concat" score of Luong et al. 2015 (arXiv:1508.04025).

    Attributes:
        v: ``(E,)``, shared by the heads, or ``(H, E)``.
        bias: None, ``(E,)`` or ``(H, E)``.

    Example:
        >>> from regard import Look, attention
        >>> query, key = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> _, view = attention(query, key, key, score=Additive(torch.tensor([2.0, 1.0])), look=Look(rows=[0]))
        >>> view.rows.round(decimals=3)
        tensor([[0.8730, 0.1270]])
    """

    v: Tensor
    bias: Tensor | None = None

    products: ClassVar[bool] = False

    def to(self, dtype: torch.dtype) -> Additive:
        """See `Score.to`."""
        return Additive(self.v.to(dtype), None if self.bias is None else self.bias.to(dtype))

    def prepare(self, query: Tensor, key: Tensor, masked: bool) -> Prepared:
        """Lower for the kernels. Raises ValueError: ``v`` or ``bias`` does not fit the width or the heads."""
        _same_width(query, key)
        heads, width = query.shape[1], query.shape[-1]
        vector = _per_head("Additive.v", _like("Additive.v", self.v, query), (width,), (heads, width))
        if self.bias is not None:
            bias = _like("Additive.bias", self.bias, query)
            query = query + _per_head("Additive.bias", bias, (width,), (heads, width)).expand(heads, width)[:, None]
        return Prepared(query, key, ScoreKind.ADDITIVE, 1.0, vector.expand(heads, width))


@dataclass(frozen=True, eq=False)
class Distance(Score):
    """``s = −scale · |q − k|²``: a Gaussian kernel of width 1/√(2·scale) (Tsai et al. 2019, arXiv:1908.11775).

    It is computed as ``scale · (2q·k − |q|² − |k|²)``, so inputs far from the origin, compared with their distances,
    lose digits: subtract their common mean first.

    Attributes:
        scale: positive.

    Example:
        >>> from regard import Look, attention
        >>> places = torch.tensor([[0.0], [1.0], [5.0]])
        >>> _, view = attention(places, places, places, score=Distance(), look=Look(rows=[0]))
        >>> view.rows.round(decimals=3)
        tensor([[0.7310, 0.2690, 0.0000]])
    """

    scale: float = 1.0

    def prepare(self, query: Tensor, key: Tensor, masked: bool) -> Prepared:
        """Lower for the kernels. Raises ValueError: ``scale`` is not positive and finite."""
        _same_width(query, key)
        return Prepared(query, key, ScoreKind.DISTANCE, _positive("Distance.scale", self.scale))


@dataclass(frozen=True, eq=False)
class Softcap(Score):
    """``cap · tanh(s / cap)`` of another score s, which limits it to ±cap (Gemma 2, arXiv:2408.00118).

    Attributes:
        score: the score that is capped.
        cap: positive, in the unit of the score.

    Example:
        >>> from regard import Dot, Look, attention
        >>> query, key = torch.tensor([[9.0]]), torch.tensor([[9.0], [0.0]])
        >>> _, view = attention(query, key, key, score=Softcap(Dot(), cap=2.0), look=Look(rows=[0]))
        >>> view.rows.round(decimals=3)  # scores of 2 and 0, where they were 81 and 0
        tensor([[0.8810, 0.1190]])
    """

    score: Score
    cap: float

    def to(self, dtype: torch.dtype) -> Softcap:
        """See `Score.to`."""
        return Softcap(self.score.to(dtype), self.cap)

    def prepare(self, query: Tensor, key: Tensor, masked: bool) -> Prepared:
        """Lower for the kernels. Raises ValueError: ``cap`` is not positive and finite."""
        if not isinstance(self.score, Score) or isinstance(self.score, Softcap):
            raise TypeError(f"score: Softcap.score must be a score such as Dot(), got {self.score!r}")
        return self.score.prepare(query, key, masked)._replace(softcap=_positive("Softcap.cap", self.cap))


def _same_width(query: Tensor, key: Tensor) -> None:
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"key: must be as wide as query for this score, {query.shape[-1]}, got {key.shape[-1]}; "
            "Bilinear takes different widths"
        )


def _unit(tensor: Tensor) -> Tensor:
    """Vectors along the last dimension to length 1, of any size that is a normal number; smaller ones to 0.

    Divided by the largest entry first, because squares overflow and underflow long before the entries do. It needs no
    gradient, because the direction does not depend on it; a zero vector, which has no direction, has gradient 0.
    """
    if not tensor.shape[-1]:
        return tensor
    largest = tensor.detach().abs().amax(-1, keepdim=True)
    zero = largest < torch.finfo(tensor.dtype).tiny
    scaled = torch.where(zero, 0.0, tensor) / torch.where(zero, 1.0, largest)
    length: Tensor = torch.linalg.vector_norm(scaled + zero.to(scaled.dtype), dim=-1, keepdim=True)
    return scaled / length


def _finite(name: str, number: float) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"score: {name} must be a number, got {number!r}")
    if not -math.inf < number < math.inf:  # a graph can guard this, but not math.isfinite
        raise ValueError(f"score: {name} must be finite, got {number}")
    return float(number)


def _positive(name: str, number: float) -> float:
    if _finite(name, number) <= 0:
        raise ValueError(f"score: {name} must be positive, got {number}")
    return float(number)


def _per_head(name: str, tensor: Tensor, *shapes: tuple[int, ...]) -> Tensor:
    if tuple(tensor.shape) not in shapes:
        raise ValueError(f"score: {name} must have shape {' or '.join(map(str, shapes))}, got {tuple(tensor.shape)}")
    return tensor


def _like(name: str, tensor: Tensor, query: Tensor) -> Tensor:
    if tensor.device != query.device:
        raise ValueError(f"score: {name} is on {tensor.device}, query on {query.device}")
    if tensor.dtype != query.dtype:
        raise TypeError(f"score: {name} must have query's dtype {query.dtype}, got {tensor.dtype}")
    return tensor


def _apart_from_nonfinite(prepare: Callable[[Tensor], Tensor], tensor: Tensor, masked: bool) -> Tensor:
    """``prepare(tensor)``; with a mask, vectors that are not finite are replaced by zeros first and set to NaN after.

    The backward pass of ``prepare`` multiplies by its input, and 0 · NaN is NaN: a masked vector would leak into the
    gradient of a weight or a norm.
    """
    if not masked:
        return prepare(tensor)
    poison = nonfinite(tensor)
    if all_true(poison == 0):
        return prepare(tensor)
    return prepare(torch.nan_to_num(tensor, 0.0, 0.0, 0.0)) + poison[..., None]
