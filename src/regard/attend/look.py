"""`Look` selects what to compute of an attention call's weights; `View` holds the results."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from regard.attend import kinds
from regard.attend.numbers import is_whole
from regard.kernels.backends import Backend
from regard.kernels.memory import is_watched
from regard.kernels.plan import NormalizerKind, OwnPlan, Plan
from regard.kernels.recomputed import with_gradient
from regard.kernels.reference import log_sum_exp
from regard.kernels.statistics import Request

Indices = Sequence[int] | Tensor | slice
"""Some queries or keys: indices, negative ones count from the end, or a slice."""


@dataclass(frozen=True, eq=False)
class Look:
    """What to report about the weights of a call. All results are exact; the Lq × Lk matrix is never stored.

    Attributes:
        lse: the log-sum-exp of each query's scores, with its gradient.
        entropy: the entropy of each query's weights, in nats.
        received: the total weight that each key received.
        top: the number of largest weights to return for each query; 0 for none.
        reach: the mean distance from each query to the keys that it attends to, in positions.
        map: (rows, columns): the weights pooled to that size, mean and maximum; None: no map.
        rows: the queries whose weights are returned in full, with their gradient; ``slice(None)`` is every query, which
            takes memory of Lq × Lk.
        norms: weights times the norms of the values: True for ‖v_j‖, or a tensor ``(H, Ev, D)`` (or ``(Ev, D)``,
            the same for all heads), the output projection's part of each head, for ‖v_j W_h‖ (Kobayashi et al. 2020,
            arXiv:2004.10102).
        log_prob: for `Hard`: the log-probability of the chosen key, with its gradient.
        kl: for `Variational`: the divergence from the prior, with its gradient.

    Example:
        >>> from regard import Look, attention
        >>> words = torch.eye(4)
        >>> output, view = attention(words, words, words, look=Look(top=1, rows=[0]))
        >>> view.top.keys[:, 0].tolist()
        [0, 1, 2, 3]
        >>> view.rows.shape
        torch.Size([1, 4])
    """

    lse: bool = False
    entropy: bool = False
    received: bool = False
    top: int = 0
    reach: bool = False
    map: tuple[int, int] | None = None
    rows: Indices | None = None
    norms: bool | Tensor = False
    log_prob: bool = False
    kl: bool = False


class Top(NamedTuple):
    """The largest weights of each query, largest first.

    ``weights`` ``(B, H, Lq, top)``; ``keys``, int64, of the same shape, −1 where a query sees fewer keys.

    Example:
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
        >>> from regard import Look, attention
        >>> words = torch.randn(6, 8)
        >>> _, view = attention(words, words, words, look=Look(norms=True))
        >>> torch.equal(view.norms.value, words.norm(dim=-1))
        True
    """

    value: Tensor
    received: Tensor


class View:
    """The results that a `Look` requested. Any other attribute raises AttributeError.

    ``lse``, ``rows``, ``log_prob`` and ``kl`` have a gradient, computed again from the call's inputs in the backward
    pass; all other results are detached, as are copies and pickles of a view. Leading dimensions that the query did not
    have are missing here too. The view keeps references to query, key and value, so that `tile` can compute any part
    later.

    Example:
        >>> from regard import Look, attention
        >>> words = torch.zeros(4, 1)
        >>> _, view = attention(words, words, words, look=Look(entropy=True))
        >>> view
        View(entropy (4,))
        >>> view.tile([0], [1, 2]).tolist()  # computed now
        [[0.25, 0.25]]
    """

    def __init__(self, results: dict[str, Tensor], plan: Plan | None, backend: Backend, lse: Tensor | None, rank: int):
        self._plan, self._backend, self._lse, self._rank = plan, backend, lse, rank
        self._results = {name: self._shape(tensor) for name, tensor in results.items()}

    def _shape(self, tensor: Tensor) -> Tensor:
        """``tensor`` without the leading dimensions that the query did not have."""
        return tensor if self._rank == 4 else tensor[(0,) * (4 - self._rank)]

    def without_inputs(self) -> View:
        """The results alone, detached, without references to query, key and value; `tile` then raises ValueError."""
        kept = copy.copy(self)
        kept._plan = kept._lse = None
        return kept

    def __getstate__(self) -> dict[str, Any]:
        # PyTorch cannot copy a tensor that is part of a graph.
        return self.__dict__ | {"_results": {name: tensor.detach() for name, tensor in self._results.items()}}

    def _get(self, name: str, request: str) -> Tensor:
        if name not in self._results:
            raise AttributeError(f"this view has no {name}: request it with look=Look({request})")
        return self._results[name]

    @property
    def lse(self) -> Tensor:
        """``(B, H, Lq)``: log Σ exp(score) over the visible keys, without a sink; −∞ if there is none.

        With `TopK` it is over the keys that are kept, with `Hard` the score is s / T, with `Variational` it has noise.
        """
        return self._get("lse", "lse=True")

    @property
    def entropy(self) -> Tensor:
        """``(B, H, Lq)``: −Σ w ln w in nats: 0 for one key, ln n for n equal weights, 0 if no key is visible."""
        return self._get("entropy", "entropy=True")

    @property
    def received(self) -> Tensor:
        """``(B, H, Lk)``: the weight that each key received, summed over the queries."""
        return self._get("received", "received=True")

    @property
    def reach(self) -> Tensor:
        """``(B, H, Lq)``: Σ_j w_ij · |i + Lk − Lq − j|: the mean distance to the attended keys, in positions."""
        return self._get("reach", "reach=True")

    @property
    def top(self) -> Top:
        """The largest weights of each query and their keys."""
        return Top(self._get("top_weights", "top=3"), self._get("top_keys", "top=3"))

    @property
    def map(self) -> Pooled:
        """The weights pooled to the requested size."""
        return Pooled(self._get("map_mean", "map=(32, 32)"), self._get("map_max", "map=(32, 32)"))

    @property
    def rows(self) -> Tensor:
        """``(B, H, R, Lk)``: the weights of the R requested queries, in the requested order."""
        return self._get("rows", "rows=slice(None)")

    @property
    def norms(self) -> Norms:
        """Weights times the norms of the values."""
        return Norms(self._get("value_norms", "norms=True"), self._get("norms", "norms=True"))

    @property
    def log_prob(self) -> Tensor:
        """``(B, H, Lq)``: ln softmax(s / T) of the key that `Hard` chose, with its gradient; 0 if no key is visible."""
        return self._get("log_prob", "log_prob=True")

    @property
    def kl(self) -> Tensor:
        """``(B, H, Lq)``: Σ_j KL(N(s_ij, scale²) ‖ prior) over the visible keys, in nats, with its gradient."""
        return self._get("kl", "kl=True")

    def tile(self, queries: Indices, keys: Indices = slice(None)) -> Tensor:
        """The exact weights of some queries for some keys, computed now from the inputs of the call.

        An input that was changed in place since the call gives other weights.

        Args:
            queries: indices or a slice.
            keys: likewise.

        Returns:
            ``(B, H, len(queries), len(keys))``.

        Raises:
            TypeError: the indices are not whole numbers.
            ValueError: a query or key does not exist, or the view has no inputs.
        """
        if self._plan is None:
            raise ValueError("tile: this view has no queries and keys; with looking(…, inputs=True) it keeps them")
        device = self._plan.query.device
        kinds.check(query=self._plan.query, queries=queries, keys=keys)
        at_queries = indices("queries", queries, self._plan.query.shape[2], device)
        at_keys = indices("keys", keys, self._plan.key.shape[2], device)
        with torch.no_grad():
            return self._shape(self._backend.tile(self._plan, at_queries, at_keys, self._lse))

    def __repr__(self) -> str:
        return f"View({', '.join(f'{name} {tuple(tensor.shape)}' for name, tensor in self._results.items())})"


def indices(name: str, chosen: Indices, length: int, device: torch.device) -> Tensor:
    """``chosen`` as int64 indices from 0 to ``length`` − 1 on ``device``.

    Raises:
        TypeError: they are not whole numbers in one dimension.
        ValueError: one is out of range.
    """
    if isinstance(chosen, slice):
        return torch.arange(length, device=device)[chosen]
    try:
        at = torch.as_tensor(chosen, device=device)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be a slice or whole numbers in one dimension, got {chosen!r}") from None
    if at.dim() != 1 or (at.numel() and (at.is_floating_point() or at.dtype is torch.bool)):
        raise TypeError(f"{name} must be a slice or whole numbers in one dimension, got {chosen!r}")
    at = at.to(torch.int64)
    if not is_watched() and at.numel() and not -length <= at.min() <= at.max() < length:
        raise ValueError(f"{name} must be from {-length} to {length - 1}, got {at.tolist()}")
    return at % max(1, length)


def check(look: Look, plan: Plan) -> None:
    """Check that ``look`` can be computed for ``plan``, before anything is computed.

    Raises:
        TypeError: an attribute has the wrong type.
        ValueError: it is out of range, or not defined for the plan's normalizer; the error says why.
    """
    kinds.check(query=plan.query, **{"look: Look.rows": look.rows, "look: Look.norms": look.norms})
    queries, keys = plan.query.shape[2], plan.key.shape[2]
    if not is_whole(look.top):
        raise TypeError(f"look: Look.top must be a whole number, got {look.top!r}")
    if not 0 <= look.top <= keys:
        raise ValueError(f"look: Look.top must be from 0 to the number of keys, {keys}, got {look.top}")
    if look.map is not None:
        if not (isinstance(look.map, tuple) and len(look.map) == 2 and all(type(n) is int for n in look.map)):
            raise TypeError(f"look: Look.map must be (rows, columns), two whole numbers, got {look.map!r}")
        if not (1 <= look.map[0] <= queries and 1 <= look.map[1] <= keys):
            raise ValueError(f"look: Look.map must be from (1, 1) to ({queries}, {keys}), got {look.map}")
    if isinstance(look.norms, Tensor):
        shape, width = (plan.query.shape[1], plan.value.shape[3]), look.norms.shape[-1:]
        if tuple(look.norms.shape) not in ((*shape, *width), (*shape[1:], *width)):
            got = tuple(look.norms.shape)
            raise ValueError(
                f"look: Look.norms must have shape ({shape[0]}, {shape[1]}, D) or ({shape[1]}, D), got {got}"
            )
        if look.norms.device != plan.value.device:
            raise ValueError(f"look: Look.norms is on {look.norms.device}, value on {plan.value.device}")
    for name, reason in _undefined(plan).items():
        if getattr(look, name):
            raise ValueError(f"look: Look.{name} is not defined here: {reason}")


def _undefined(plan: Plan) -> dict[str, str]:
    """The fields of a `Look` that the plan's normalizer leaves undefined, and why."""
    results, kind = {}, plan.normalizer
    if isinstance(plan, OwnPlan) and plan.own_normalizer is not None:
        results["lse"] = "the log-sum-exp of a normalizer of your own is not known"
    if kind is NormalizerKind.SIGMOID:
        results["entropy"] = "the weights of Sigmoid are not a distribution, they do not sum to one"
        results["lse"] = "Sigmoid does not divide by a sum"
    if kind is NormalizerKind.ENTMAX:
        results["lse"] = "Sparsemax and Entmax have a threshold, not a log-sum-exp"
    if not kind.hard:
        results["log_prob"] = "only Hard chooses one key"
    if kind is not NormalizerKind.VARIATIONAL:
        results["kl"] = "only Variational has a prior"
    return results


_weights = attrgetter("weights")


def see(look: Look, graph: Plan, backend: Backend, lse: Tensor, extra: Tensor, rank: int) -> View:
    """Compute what ``look`` requests for the plan ``graph``; ``lse`` and ``extra`` are those of the forward pass."""
    results = {}
    if look.log_prob or look.kl:
        results["log_prob" if look.log_prob else "kl"] = extra
    plan, device = graph.detached(), graph.query.device
    with torch.no_grad():
        wants_norms = isinstance(look.norms, Tensor) or look.norms
        norms = _norms(plan, look.norms) if wants_norms else None
        queries = plan.query.shape[2]
        request = Request(
            names=frozenset(name for name in ("entropy", "received", "reach") if getattr(look, name)),
            top=look.top,
            map=look.map,
            rows=None if look.rows is None else indices("look: Look.rows", look.rows, queries, device),
            norms=norms,
        )
        kept = lse.detach() if backend.looks_by_lse else None
        results |= backend.statistics(plan, request, kept)
        if norms is not None:
            results["value_norms"] = norms
    if look.lse:
        results["lse"] = with_gradient(lse.detach(), graph, torch.arange(queries, device=device), log_sum_exp)
    if request.rows is not None:
        results["rows"] = with_gradient(results["rows"], graph, request.rows, _weights)
    return View(results, plan, backend, kept, rank)


def _norms(plan: Plan, projection: bool | Tensor) -> Tensor:
    value = plan.value.to(torch.promote_types(plan.value.dtype, torch.float32))
    value = value.repeat_interleave(plan.query.shape[1] // max(1, value.shape[1]), 1)
    if isinstance(projection, Tensor):
        value = value @ projection.detach().to(value.dtype)
    norms: Tensor = torch.linalg.vector_norm(value, dim=-1)
    return norms
