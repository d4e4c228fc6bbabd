"""`Look` selects what to compute of an attention call's weights; a `View` holds the results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter

import torch
from torch import Tensor

from regard.attend import kinds
from regard.attend.numbers import is_whole
from regard.attend.view import Indices, View, check_size, indices
from regard.kernels.backends import Backend
from regard.kernels.plan import NormalizerKind, OwnPlan, Plan
from regard.kernels.recomputed import with_gradient
from regard.kernels.reference import log_sum_exp
from regard.kernels.statistics import Request


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
        sinks: the weight of each query on the first key, where many language models put what they need nowhere else
            (Xiao et al. 2024, arXiv:2309.17453), and on the sink of `Softmax`.
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
    sinks: bool = False
    log_prob: bool = False
    kl: bool = False


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
        check_size("look: Look.map", look.map, queries, keys)
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


def fitted(look: Look, plan: Plan) -> Look:
    """``look`` with a map and a number of largest weights that are at most those of ``plan``."""
    queries, keys = plan.query.shape[2], plan.key.shape[2]
    size = None if look.map is None else (min(look.map[0], queries), min(look.map[1], keys))
    return replace(look, map=size, top=min(look.top, keys))


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
            names=frozenset(name for name in ("entropy", "received", "reach", "sinks") if getattr(look, name)),
            top=look.top,
            map=look.map,
            rows=None if look.rows is None else indices("look: Look.rows", look.rows, queries, device),
            norms=norms,
        )
        kept = lse.detach() if backend.looks_by_lse else None
        results |= backend.statistics(plan, request, kept)
        if norms is not None:
            results["value_norms"] = norms
        if look.sinks and plan.sink is not None:
            results["sink_logit"] = torch.sigmoid(plan.sink.to(lse.dtype)[:, None] - lse.detach())
        elif look.sinks:
            results["sink_logit"] = torch.zeros_like(results["sinks"])
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
