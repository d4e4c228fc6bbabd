"""Results of a view that are several tensors."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Top(NamedTuple):
    """The largest weights of each query, largest first.

    ``weights`` ``(B, H, Lq, top)``; ``keys``, int64, of the same shape, −1 where a query sees fewer keys.

    Example:
        >>> import torch
        >>> from regard import Look, attention
        >>> query, key = torch.ones(1, 1), torch.tensor([[1.0], [3.0], [2.0]])
        >>> _, view = attention(query, key, key, look=Look(top=2))
        >>> view.top.keys.tolist()
        [[1, 2]]
    """

    weights: Tensor
    keys: Tensor


class Pooled(NamedTuple):
    """The weights pooled to R × C: ``mean`` and ``max``, each ``(B, H, R, C)``.

    Query i is in row ``⌊i · R / Lq⌋``, key j in column ``⌊j · C / Lk⌋``; masked keys have weight 0.

    Example:
        >>> import torch
        >>> from regard import Look, attention
        >>> words = torch.randn(6, 8)
        >>> _, view = attention(words, words, words, look=Look(map=(2, 3)))
        >>> view.map.mean.shape
        torch.Size([2, 3])
    """

    mean: Tensor
    max: Tensor


class Norms(NamedTuple):
    """Norms of the (projected) values, each ``(B, H, Lk)``.

    ``value`` is ‖v_j‖ itself, so that ``view.rows * view.norms.value[..., None, :]`` is ‖w_ij v_j‖; ``received`` is the
    sum of that over the queries.

    Example:
        >>> import torch
        >>> from regard import Look, attention
        >>> words = torch.randn(6, 8)
        >>> _, view = attention(words, words, words, look=Look(norms=True))
        >>> torch.equal(view.norms.value, words.norm(dim=-1))
        True
    """

    value: Tensor
    received: Tensor


class Sinks(NamedTuple):
    """The weight of each query that goes to a sink, each ``(B, H, Lq)``.

    ``first`` is the weight on the first key, ``logit`` that on the sink of ``Softmax(sink=…)``, which has no value; 0
    without a sink.

    Example:
        >>> import torch
        >>> from regard import Look, Softmax, attention
        >>> words = torch.zeros(2, 1)
        >>> _, view = attention(words, words, words, normalizer=Softmax(sink=torch.zeros(1)), look=Look(sinks=True))
        >>> [round(float(part[0]), 3) for part in view.sinks]
        [0.333, 0.333]
    """

    first: Tensor
    logit: Tensor
