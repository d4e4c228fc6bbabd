"""`LayerView`: the attention of one layer to one sequence, by heads, with the tokens of both sides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from regard.attend import View
from regard.attend.view import Indices, indices
from regard.views.tokens import Tokens

_STORED = 1 << 22
"""Weights that are computed at once: 16 MiB in float32."""


class Words(NamedTuple):
    """Weights between words: ``weights`` ``(H, R, W)``; ``queries``, R texts; ``keys``, W texts."""

    weights: Tensor
    queries: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LayerView:
    """The view of one call of attention, for one sequence.

    Attributes:
        module: the name of the module.
        call: the number of its call.
        view: the results, which begin with the heads, ``(H, …)``.
        queries: the tokens that attend, Lq.
        keys: the tokens that are attended to, Lk.
        why: why there are no queries and keys to compute weights from; empty: there are, or they were not kept.
        rounded: whether its queries and keys come from a file in half precision, but were wider in the model.
    """

    module: str
    call: int
    view: View
    queries: Tokens
    keys: Tokens
    why: str = ""
    rounded: bool = False

    @property
    def heads(self) -> int:
        """The number of heads."""
        return self.view.shape[0]

    @property
    def holds(self) -> tuple[str, ...]:
        """What can be had from this view: the names of its results, and ``"inputs"`` if `rows` is exact everywhere."""
        return (*self.view.results, *(("inputs",) if self.view.plan is not None else ()))

    def save(self, path: str | Path, **options: Any) -> None:
        """Write this layer to a file, with the arguments of `ModelView.save`."""
        from regard.views.model_view import ModelView

        ModelView.of([self]).save(path, **options)

    def show(self) -> Any:
        """The viewer of this layer, for a notebook: see `ModelView.show`."""
        from regard.views.model_view import ModelView

        return ModelView.of([self]).show(title=self.module or "Attention")

    def rows(self, queries: Indices) -> Tensor:
        """The weights of some queries for all keys: exact, from what the view holds.

        That is queries and keys, or all rows, or a map that has a cell for each weight.

        Args:
            queries: indices, negative ones count from the end, or a slice.

        Returns:
            ``(H, R, Lk)``.

        Raises:
            ValueError: a query does not exist, or the view holds none of these.
        """
        if self.view.plan is not None:
            return self.view.tile(queries)
        at = indices("queries", queries, len(self.queries), torch.device("cpu"))
        for name in ("rows", "map_mean"):
            result = self.view.results.get(name)
            if result is not None and result.shape == self.view.shape:
                return result[:, at.to(result.device)]
        held = ", ".join(self.holds) or "nothing"
        why = self.why or "collect it with looking(…, inputs=True)"
        raise ValueError(f"rows: the view of {self.module} holds {held}, which is not enough for its weights: {why}")

    def words(self, rows: Indices = slice(None)) -> Words:
        """The weights between words.

        They are summed over the pieces of a word that is attended to, and the mean over those of one that attends.

        Args:
            rows: the words that attend, indices or a slice; the memory is that of their weights.

        Raises:
            ValueError: a word does not exist, or see `LayerView.rows`.
        """
        texts, count = self.queries.word_texts, len(self.queries)
        chosen = indices("rows", rows, len(texts), torch.device("cpu"))
        bounds = torch.searchsorted(torch.tensor(self.queries.words), torch.arange(len(texts) + 1))
        parts = [
            self._means(bounds[some], bounds[some + 1])
            for some in chosen.split(max(1, _STORED // max(1, self.heads * len(self.keys))))
        ]
        weights = torch.cat(parts, 1) if count else torch.zeros(self.heads, 0, len(self.keys.word_texts))
        return Words(weights, tuple(texts[word] for word in chosen), self.keys.word_texts)

    def _means(self, starts: Tensor, ends: Tensor) -> Tensor:
        """The mean over the queries from each start to its end, by words of keys, ``(H, words, W)``."""
        counts = ends - starts
        pieces = torch.cat([torch.arange(start, end) for start, end in zip(starts, ends, strict=True)])
        rows = self.keys.summed(self.rows(pieces))
        owners = torch.arange(len(starts)).repeat_interleave(counts).to(rows.device)
        sums = rows.new_zeros(len(rows), len(starts), rows.shape[2]).index_add(1, owners, rows)
        return sums / counts.to(rows.device)[:, None]
