"""`View`: the results of a `Look` for one call of attention."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from regard.attend import kinds
from regard.attend.results import Norms, Pooled, Sinks, Top
from regard.kernels.backends import Backend
from regard.kernels.memory import is_watched
from regard.kernels.plan import Plan
from regard.kernels.statistics import pool

Indices = Sequence[int] | Tensor | slice
"""Some queries or keys: indices, negative ones count from the end, or a slice."""


class View:
    """The results that a `Look` requested. Any other attribute raises AttributeError.

    ``lse``, ``rows``, ``log_prob`` and ``kl`` have a gradient, computed again from the call's inputs in the backward
    pass; all other results are detached, as are copies and pickles of a view. Leading dimensions that the query did not
    have are missing here too. The view keeps references to query, key and value, so that `tile` and `pool` can compute
    any part later.

    Example:
        >>> from regard import Look, attention
        >>> words = torch.zeros(4, 1)
        >>> _, view = attention(words, words, words, look=Look(entropy=True))
        >>> view
        View(entropy (4,))
        >>> view.tile([0], [1, 2]).tolist()  # computed now
        [[0.25, 0.25]]
    """

    def __init__(
        self,
        results: dict[str, Tensor],
        plan: Plan | None,
        backend: Backend | None,
        lse: Tensor | None,
        rank: int,
        sizes: tuple[int, ...] = (),
    ):
        self._plan, self._backend, self._lse, self._rank, self._sizes = plan, backend, lse, rank, sizes
        self._results = {name: self._shape(tensor) for name, tensor in results.items()}

    def _shape(self, tensor: Tensor) -> Tensor:
        """``tensor`` without the leading dimensions that the query did not have."""
        return tensor if self._rank == 4 else tensor[(0,) * (4 - self._rank)]

    def without_inputs(self) -> View:
        """The results alone, detached, without references to query, key and value; `tile` and `pool` then raise
        ValueError."""
        kept = copy.copy(self)
        kept._sizes, kept._plan, kept._lse = self.shape, None, None
        return kept

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights, ``(B, H, Lq, Lk)``."""
        if self._plan is None:
            return self._sizes
        return (*self._plan.query.shape[:3], self._plan.key.shape[2])[4 - self._rank :]

    @property
    def plan(self) -> Plan | None:
        """The call that `tile` and `pool` compute with; None: the view has no inputs."""
        return self._plan

    @property
    def results(self) -> dict[str, Tensor]:
        """All results by name; the parts of a map are ``map_mean`` and ``map_max``, and so on."""
        return dict(self._results)

    def example(self, index: int = 0) -> View:
        """The view of one sequence of a batch, detached: its results begin with the heads, ``(H, …)``.

        It has inputs if this view has them, except in a batch with random weights or functions of your own.

        Args:
            index: of the sequence; negative numbers count from the end.

        Raises:
            ValueError: there is no such sequence.
        """
        batch = self.shape[0] if self._rank == 4 else 1
        if not -batch <= index < batch:
            raise ValueError(f"example: must be from {-batch} to {batch - 1}, got {index}")
        at, kept = index % batch, copy.copy(self)
        kept._results = {name: self._of(tensor.detach(), at) for name, tensor in self._results.items()}
        kept._sizes, kept._rank = (*(1,) * (3 - self._rank), *self.shape)[-3:], 3
        plan = self._plan if batch == 1 or self._plan is None else self._plan.at_example(at)
        kept._plan, kept._lse = plan, self._lse if batch == 1 or self._lse is None else self._lse[at : at + 1]
        return kept

    def of_heads(self, heads: Sequence[int]) -> View:
        """The view of some heads, detached: its results have these heads only, and `tile` computes no others.

        It has inputs if this view has them, except with random weights or functions of your own.

        Args:
            heads: their numbers; negative ones count from the end.

        Raises:
            ValueError: there is no such head, or the weights have no heads.
        """
        if self._rank < 3:
            raise ValueError("of_heads: the weights of this view have no heads")
        plan, dim, shape = self._plan, self._rank - 3, self.shape
        at = indices("heads", heads, shape[dim], torch.device("cpu"))
        kept = copy.copy(self)
        kept._results = {
            name: part.detach().index_select(dim, at.to(part.device)) for name, part in self._results.items()
        }
        kept._sizes = (*shape[:dim], len(at), *shape[dim + 1 :])
        if plan is not None:
            at = at.to(plan.query.device)
            kept._plan, kept._lse = plan.at_heads(at), None if self._lse is None else self._lse.index_select(1, at)
        return kept

    def _of(self, tensor: Tensor, index: int) -> Tensor:
        return tensor[index] if self._rank == 4 else tensor[(None,) * (3 - self._rank)]

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
    def sinks(self) -> Sinks:
        """The weight of each query on the first key and on the sink's logit."""
        return Sinks(self._get("sinks", "sinks=True"), self._get("sink_logit", "sinks=True"))

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
        plan, at_queries, at_keys = self._at("tile", queries, keys)
        assert self._backend is not None
        with torch.no_grad():
            return self._shape(self._backend.tile(plan, at_queries, at_keys, self._lse))

    def pool(self, queries: Indices, keys: Indices, size: tuple[int, int]) -> Pooled:
        """The weights of a window, pooled to R × C, computed now from the inputs of the call, a few rows at a time.

        Args:
            queries: indices, such as a range, or a slice.
            keys: likewise.
            size: (R, C), at most the numbers of queries and keys. The n-th of the N queries is in row ``⌊n · R / N⌋``,
                and likewise for keys and columns.

        Returns:
            Mean and maximum, each ``(B, H, R, C)``.

        Raises:
            TypeError: the indices or sizes are not whole numbers.
            ValueError: a query or key does not exist, a size is out of range, or the view has no inputs.

        Example:
            >>> from regard import Look, attention
            >>> words = torch.zeros(100, 1)
            >>> _, view = attention(words, words, words, look=Look())
            >>> view.pool(range(40, 60), slice(None), (2, 4)).mean.shape
            torch.Size([2, 4])
        """
        plan, at_queries, at_keys = self._at("pool", queries, keys)
        check_size("size", size, len(at_queries), len(at_keys))
        assert self._backend is not None
        with torch.no_grad():
            mean, largest = pool(self._backend.tile, plan, at_queries, at_keys, size, self._lse)
        return Pooled(self._shape(mean), self._shape(largest))

    def _at(self, what: str, queries: Indices, keys: Indices) -> tuple[Plan, Tensor, Tensor]:
        """The plan, and the indices of queries and keys. Raises ValueError: this view has no inputs."""
        if self._plan is None:
            raise ValueError(f"{what}: this view has no queries and keys; with looking(…, inputs=True) it keeps them")
        device = self._plan.query.device
        kinds.check(query=self._plan.query, queries=queries, keys=keys)
        at_queries = indices("queries", queries, self._plan.query.shape[2], device)
        return self._plan, at_queries, indices("keys", keys, self._plan.key.shape[2], device)

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


def check_size(name: str, size: tuple[int, int], queries: int, keys: int) -> None:
    """Check the size of a pooled map.

    Raises:
        TypeError: it is not two whole numbers.
        ValueError: it is out of range.
    """
    if not (isinstance(size, tuple) and len(size) == 2 and all(type(n) is int for n in size)):
        raise TypeError(f"{name} must be (rows, columns), two whole numbers, got {size!r}")
    if not (1 <= size[0] <= queries and 1 <= size[1] <= keys):
        raise ValueError(f"{name} must be from (1, 1) to ({queries}, {keys}), got {size}")
