"""The flat description of one attention call: all that a kernel needs to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from torch import Tensor


class ScoreKind(StrEnum):
    """The scores that kernels implement; cosine and bilinear are dot products of prepared inputs."""

    DOT = "dot"
    ADDITIVE = "additive"
    DISTANCE = "distance"


class NormalizerKind(StrEnum):
    """How scores become weights; sparsemax is entmax with ``number`` 2."""

    SOFTMAX = "softmax"
    ENTMAX = "entmax"
    SIGMOID = "sigmoid"
    TOPK = "topk"
    ARGMAX = "argmax"
    GUMBEL = "gumbel"
    REINFORCE = "reinforce"
    STRAIGHT_THROUGH = "straight-through"
    VARIATIONAL = "variational"

    @property
    def hard(self) -> bool:
        """Whether each row of weights has one key only."""
        return self in (self.ARGMAX, self.GUMBEL, self.REINFORCE, self.STRAIGHT_THROUGH)


DIFFERENTIABLE = ("query", "key", "value", "vector", "bias", "relative", "sink", "numbers", "prior_mean")
"""The tensors of a `Plan` that can have a gradient."""


@dataclass(eq=False, slots=True)
class Plan:
    """One attention call, lowered to tensors, numbers and enums, in the order in which they are applied.

    Treat it as immutable: `dataclasses.replace` makes a changed copy. A frozen class makes small calls 10 % slower.

    Attributes:
        query: ``(B, H, Lq, E)``.
        key: ``(B, Hk, Lk, E)``, H a multiple of Hk.
        value: ``(B, Hk, Lk, Ev)``.
        score: which score is computed.
        scale: factor on the score (``DOT``, ``DISTANCE``).
        vector: ``(H, E)``, the vector of the additive score, else None.
        softcap: c of ``c · tanh(s / c)``; 0: none.
        bias: broadcastable to ``(B, H, Lq, Lk)`` with 4 dimensions, added to the score; None: 0.
        relative: ``(H or 1, D)``: entry ``j − i + D − Lk`` is added to the score of query i and key j, D = Lq + Lk − 1.
        start: int64, broadcastable to ``(B, H, Lq)``: the first key that a query sees; None: 0.
        end: int64, likewise: one past the last key that it sees; None: Lk.
        visible: boolean, broadcastable to ``(B, H, Lq, Lk)``: what intervals cannot express; None: all.
        layout: boolean, ``(B or 1, H or 1, ⌈Lq / block⌉, ⌈Lk / block⌉)``: which blocks of keys a block of queries sees;
            None: all.
        block: the number of queries and keys of a block of ``layout``.
        causal: a hint: the mask is exactly ``j ≤ i + causal``; None: another mask, or unknown.
        normalizer: which normalizer is computed over the keys.
        sink: ``(H,)``: a logit in the sum of ``SOFTMAX`` that has no value.
        number: alpha (``ENTMAX``), temperature (hard normalizers) or standard deviation of the noise (``VARIATIONAL``).
        numbers: ``(H or 1,)``: the same as a tensor, used instead of ``number``.
        count: k (``TOPK``).
        prior_mean: broadcastable to ``(B, H, Lq, Lk)`` (``VARIATIONAL``); None: 0.
        prior_scale: the prior's standard deviation (``VARIATIONAL``).
        seed: int64 scalar, the seed of the normalizer's random bits; None: no random bits.
        dropout: the probability that a weight is dropped.
        dropout_seed: int64 scalar, the seed of dropout's random bits.
        rows: int64 ``(Lq,)``: if the plan is for some queries of a call, their indices in it, which determine positions
            and random bits; None: 0 to Lq − 1.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    score: ScoreKind = ScoreKind.DOT
    scale: float = 1.0
    vector: Tensor | None = None
    softcap: float = 0.0
    bias: Tensor | None = None
    relative: Tensor | None = None
    start: Tensor | None = None
    end: Tensor | None = None
    visible: Tensor | None = None
    layout: Tensor | None = None
    block: int = 1
    causal: int | None = None
    normalizer: NormalizerKind = NormalizerKind.SOFTMAX
    sink: Tensor | None = None
    number: float = 1.0
    numbers: Tensor | None = None
    count: int = 0
    prior_mean: Tensor | None = None
    prior_scale: float = 1.0
    seed: Tensor | None = None
    dropout: float = 0.0
    dropout_seed: Tensor | None = None
    rows: Tensor | None = None

    @property
    def masked(self) -> bool:
        """Whether there is a mask."""
        return not (self.start is self.end is self.visible is self.layout is None)

    def at_queries(self, rows: Tensor) -> Plan:
        """The same call for the queries ``rows`` (int64, one dimension) only."""

        def pick(tensor: Tensor | None, dim: int = 2) -> Tensor | None:
            return tensor if tensor is None or tensor.shape[dim] == 1 else tensor.index_select(dim, rows)

        return replace(
            self,
            query=self.query.index_select(2, rows),
            bias=pick(self.bias),
            start=pick(self.start),
            end=pick(self.end),
            visible=pick(self.visible),
            prior_mean=pick(self.prior_mean),
            rows=rows if self.rows is None else self.rows.index_select(0, rows),
            causal=None,
        )

    def at_example(self, index: int) -> Plan | None:
        """The same call for one sequence of the batch; None: its weights may depend on its place in the batch."""
        if isinstance(self, OwnPlan) or self.seed is not None:
            return None
        names = ("query", "key", "value", "bias", "start", "end", "visible", "layout", "prior_mean")
        parts = {name: getattr(self, name) for name in names}
        chosen: dict[str, Any] = {
            name: part[index : index + 1] for name, part in parts.items() if part is not None and part.shape[0] > 1
        }
        return replace(self, **chosen)

    def at_heads(self, heads: Tensor) -> Plan | None:
        """The same call for the query heads ``heads``, int64; None: its weights may depend on their numbers."""
        if isinstance(self, OwnPlan) or self.seed is not None:
            return None
        groups = heads // (self.query.shape[1] // max(1, self.key.shape[1]))
        chosen: dict[str, Any] = {name: getattr(self, name).index_select(1, groups) for name in ("key", "value")}
        names = {"vector": 0, "bias": 1, "relative": 0, "start": 1, "end": 1, "visible": 1, "layout": 1, "sink": 0,
                 "numbers": 0, "prior_mean": 1}  # fmt: skip
        parts = {name: (getattr(self, name), dim) for name, dim in names.items()}
        chosen |= {
            name: part.index_select(dim, heads)
            for name, (part, dim) in parts.items()
            if part is not None and part.shape[dim] > 1
        }
        return replace(self, query=self.query.index_select(1, heads), **chosen)

    def detached(self) -> Plan:
        """The same call with detached tensors."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {name: t.detach() for name, t in values.items() if isinstance(t, Tensor)}
        return replace(self, **changed)


@dataclass(eq=False, slots=True)
class OwnPlan(Plan):
    """A plan whose score or normalizer is a user's Python function, which only the reference can call.

    It cannot go through the op, whose schema has tensors and numbers only.

    Attributes:
        own_score: ``(B, H, Lq, E)``, ``(B, H, Lk, Ek)`` → ``(B, H, Lq, Lk)``, in place of ``score``.
        own_normalizer: scores ``(B, H, Lq, Lk)``, the dtype's lowest number where hidden → weights of the same shape,
            in place of ``normalizer``.
        names: the names of their classes, for errors.
    """

    own_score: Callable[[Tensor, Tensor], Tensor] | None = None
    own_normalizer: Callable[[Tensor], Tensor] | None = None
    names: tuple[str, ...] = ()

    def detached(self) -> Plan:
        """The same call with detached tensors and functions whose results are detached."""
        plan = Plan.detached(self)
        assert isinstance(plan, OwnPlan)
        return replace(plan, own_score=_detached(self.own_score), own_normalizer=_detached(self.own_normalizer))


def _detached(function: Callable[..., Tensor] | None) -> Any:
    return None if function is None else _Detached(function)


@dataclass(frozen=True)
class _Detached:
    function: Callable[..., Tensor]

    def __call__(self, *tensors: Tensor) -> Tensor:
        return self.function(*tensors).detach()


def refuse_functions(plan: Plan, who: str) -> str | None:
    """Why a backend that cannot call Python functions refuses ``plan``; None: it has none."""
    if not isinstance(plan, OwnPlan):
        return None
    return f"{who} cannot call the Python function of {' and '.join(plan.names)}"


def fields_outside(kind: type[Plan], known: frozenset[str]) -> tuple[tuple[str, object], ...]:
    """Names and defaults of the fields that are not in ``known``: a backend refuses a plan that sets one of them."""
    return tuple((field.name, field.default) for field in fields(kind) if field.name not in known)
