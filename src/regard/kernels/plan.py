"""The flat description of one attention call: all that a kernel needs to know, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from torch import Tensor


class ScoreKind(StrEnum):
    """The scores that a kernel tells apart; cosine and bilinear are dot products of prepared inputs."""

    DOT = "dot"
    ADDITIVE = "additive"


class NormalizerKind(StrEnum):
    """How a row of scores becomes a row of weights."""

    SOFTMAX = "softmax"


@dataclass(frozen=True, eq=False)
class Plan:
    """One attention call, lowered to tensors, numbers and enums.

    Attributes:
        query: ``(B, H, Lq, E)``.
        key: ``(B, Hk, Lk, E)``, H a multiple of Hk.
        value: ``(B, Hk, Lk, Ev)``.
        score: which score is computed.
        scale: factor on the score (``DOT``).
        vector: ``(H, E)``, the vector of the additive score, else None.
        normalizer: which normalizer runs along the keys.
        start: int64, broadcastable to ``(B, H, Lq)``: the first key that a query sees; None: 0.
        end: int64, likewise: one past the last key that it sees; None: Lk.
        visible: boolean, broadcastable to ``(B, H, Lq, Lk)``: what no interval can say; None: all.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    score: ScoreKind = ScoreKind.DOT
    scale: float = 1.0
    vector: Tensor | None = None
    normalizer: NormalizerKind = NormalizerKind.SOFTMAX
    start: Tensor | None = None
    end: Tensor | None = None
    visible: Tensor | None = None

    @property
    def masked(self) -> bool:
        """Whether any query may be kept from any key."""
        return self.start is not None or self.end is not None or self.visible is not None

    def at_queries(self, rows: Tensor) -> Plan:
        """The same call for the queries ``rows`` (int64, one dimension) alone."""

        def pick(tensor: Tensor | None, dim: int) -> Tensor | None:
            return tensor if tensor is None or tensor.shape[dim] == 1 else tensor.index_select(dim, rows)

        return replace(
            self,
            query=self.query.index_select(2, rows),
            start=pick(self.start, 2),
            end=pick(self.end, 2),
            visible=pick(self.visible, 2),
        )
