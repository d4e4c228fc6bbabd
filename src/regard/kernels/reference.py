"""Attention in plain PyTorch: the definition, which every other backend is tested against.

Shape suffixes: B batch, H query heads, Q queries, K keys, E key width, V value width.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from regard.kernels import products, random
from regard.kernels.memory import is_plain
from regard.kernels.normalize import normalize
from regard.kernels.plan import OwnPlan, Plan, ScoreKind
from regard.kernels.visibility import all_true, guarded, visibility


class Weights(NamedTuple):
    """The weights of a call and intermediate results.

    Attributes:
        weights: ``(B, H, Lq, Lk)``, before dropout, 0 where a query sees nothing.
        scores: the scores of the normalizer's log-sum-exp, ``(B, H, Lq, Lk)``.
        extra: ``(B, H, Lq)``, if requested: see `regard.kernels.normalize.Row`; or None.
        value: ``(B, H, Lk, Ev)``; with a mask, non-finite values are replaced by 0.
        visible: broadcastable to ``(B, H, Lq, Lk)``; None: all.
        seen: broadcastable to ``(B, H, Lq)``: which queries have a visible key; None: all.
    """

    weights: Tensor
    scores: Tensor
    extra: Tensor | None
    value: Tensor
    visible: Tensor | None
    seen: Tensor | None


def refuse(plan: Plan) -> str | None:
    """The reference computes every plan."""
    return None


def run(plan: Plan, lse: bool, extra: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The output ``(B, H, Lq, Ev)`` and, if requested, the log-sum-exp and the normalizer's extra, each ``(B, H, Lq)``.

    What is not requested is an empty tensor.
    """
    with exact(plan):
        result, poison = _weights(plan, extra)
        weights_BHQK = result.weights
        if plan.dropout:
            weights_BHQK = torch.where(random.kept(plan), weights_BHQK, 0.0)
        output_BHQV = products.mixed(weights_BHQK, result.value)
        if plan.dropout:
            output_BHQV = output_BHQV / (1 - plan.dropout)
        output_BHQV = _where_seen(result.seen, output_BHQV, poison)
        nothing = output_BHQV.new_empty(0)
        aside = nothing if result.extra is None else _where_seen(result.seen, result.extra, poison)
        return output_BHQV.to(plan.query.dtype), log_sum_exp(result) if lse else nothing, aside


def weights(plan: Plan) -> Weights:
    """The weights of a call, before dropout."""
    with exact(plan):
        result, poison = _weights(plan, False)
        return result._replace(weights=_where_seen(result.seen, result.weights, poison))


def log_sum_exp(result: Weights) -> Tensor:
    """``(B, H, Lq)``, −∞ for queries without a visible key."""
    if not result.scores.shape[-1]:
        return torch.logsumexp(result.scores, -1)
    # Relative to the largest: the gradient is exp(s − lse), and next to a large score the log of the sum is rounded.
    top = result.scores.detach().amax(-1, keepdim=True)
    top = top.masked_fill(top.isinf(), 0.0)
    lse = torch.logsumexp(result.scores - top, -1) + top[..., 0]
    return lse if result.seen is None else lse.masked_fill(~result.seen, -torch.inf)


def exact(plan: Plan) -> AbstractContextManager[None]:
    """A context that disables autocast: the plan already has the dtypes to compute in."""
    device = plan.query.device.type
    on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else nullcontext()


def _where_seen(seen_BHQ: Tensor | None, tensor: Tensor, poison_BHQ: Tensor | None) -> Tensor:
    """``tensor``, zero for queries without a visible key, NaN for queries that see non-finite keys or values."""
    last = (...,) + (None,) * (tensor.dim() - 3)
    if seen_BHQ is not None:
        tensor = tensor.masked_fill(~seen_BHQ[last], 0.0)
    return tensor if poison_BHQ is None else tensor + poison_BHQ[last]


def _weights(plan: Plan, extra: bool) -> tuple[Weights, Tensor | None]:
    """The call without the NaN of queries that see non-finite keys or values, which is returned separately."""
    precise = torch.promote_types(plan.query.dtype, torch.float32)
    query, key, value = (t.to(precise) for t in (plan.query, plan.key, plan.value))
    visible, seen_BHQ, poison_BHQ = visibility(plan), None, None
    if visible is not None:
        key, value, poison_BHQ = guarded(plan, visible, key, value)
        seen_BHQ = _seen(plan, visible)
        if seen_BHQ is not None:
            # A query without a visible key may have any value, NaN included, and gets no gradient.
            query = query.masked_fill(~seen_BHQ[..., None], 0.0)
    groups = query.shape[1] // max(1, key.shape[1])
    if groups > 1:
        key, value = (t.repeat_interleave(groups, 1) for t in (key, value))
    scores_BHQK = _scores(plan, query, key)
    if plan.bias is not None or plan.relative is not None:
        visible, seen_BHQ = _not_hidden_by_bias(scores_BHQK, visible, seen_BHQ)
    if visible is not None:
        # In place, which saves a pass: no gradient needs the scores before masking. But vmap cannot write values that
        # differ between samples into a tensor that does not.
        fill = Tensor.masked_fill_ if is_plain(scores_BHQK, visible) else Tensor.masked_fill
        scores_BHQK = fill(scores_BHQK, ~visible, -torch.inf)
        if seen_BHQ is not None:
            # 0, not −∞, for queries without a visible key, so that the row is finite; the output is set to 0 later.
            scores_BHQK = fill(scores_BHQK, ~seen_BHQ[..., None], 0.0)
    row = normalize(plan, scores_BHQK, visible, extra)
    return Weights(row.weights, row.scores, row.extra, value, visible, seen_BHQ), poison_BHQ


def _seen(plan: Plan, visible: Tensor) -> Tensor | None:
    """Which queries have a visible key; None: all, as far as is known."""
    if plan.visible is None and plan.layout is None:
        keys = plan.key.shape[2]
        start, end = 0 if plan.start is None else plan.start, keys if plan.end is None else plan.end
        seen = torch.as_tensor(end > start, device=plan.query.device)
    else:
        seen = visible.any(-1)
    return None if all_true(seen) else seen


def _not_hidden_by_bias(
    scores_BHQK: Tensor, visible: Tensor | None, seen_BHQ: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """A bias of −∞ hides a key as a mask does; a query may then have no visible key."""
    shown = scores_BHQK.detach() != -torch.inf
    if all_true(shown):
        return visible, seen_BHQ
    visible = shown if visible is None else visible & shown
    return visible, visible.any(-1)


def _scores(plan: Plan, query: Tensor, key: Tensor) -> Tensor:
    scores = _products(plan, query, key)
    if plan.softcap:
        scores = torch.tanh(scores / plan.softcap) * plan.softcap
    if plan.bias is not None:
        scores = scores + plan.bias.to(scores.dtype)
    if plan.relative is not None:
        scores = scores + _relative(plan, plan.relative).to(scores.dtype)
    return scores


def _products(plan: Plan, query_BHQE: Tensor, key_BHKE: Tensor) -> Tensor:
    if isinstance(plan, OwnPlan) and plan.own_score is not None:
        return _own_scores(plan.own_score, query_BHQE, key_BHKE)
    if plan.score is ScoreKind.DOT:
        return products.scores(query_BHQE * plan.scale, key_BHKE)
    if plan.score is ScoreKind.DISTANCE:
        # |q − k|² as |q|² + |k|² − 2q·k, so that no (Lq, Lk, E) tensor is stored.
        norms = [t.square().sum(-1, keepdim=True) * plan.scale for t in (query_BHQE, key_BHKE)]
        return products.scores(query_BHQE * (2 * plan.scale), key_BHKE) - norms[0] - norms[1].mT
    if plan.score is not ScoreKind.ADDITIVE:
        raise NotImplementedError(f"the reference does not have the score {plan.score}")
    assert plan.vector is not None
    hidden_BHQKE = torch.tanh(query_BHQE[..., :, None, :] + key_BHKE[..., None, :, :])
    return products.along(hidden_BHQKE, plan.vector.to(query_BHQE.dtype))


def _own_scores(function: Callable[[Tensor, Tensor], Tensor], query_BHQE: Tensor, key_BHKE: Tensor) -> Tensor:
    scores, wanted = function(query_BHQE, key_BHKE), (*query_BHQE.shape[:3], key_BHKE.shape[2])
    if not isinstance(scores, Tensor) or tuple(scores.shape) != wanted:
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"score: its function scores must return a tensor of shape {wanted}, got {got}")
    return scores.clone()  # the caller masks in place


def _relative(plan: Plan, relative: Tensor) -> Tensor:
    """The entry of each query's distance to each key, ``(H or 1, Lq, Lk)``."""
    queries, keys, reach = plan.query.shape[2], plan.key.shape[2], relative.shape[-1]
    if not queries:
        return relative.new_zeros(1, 0, keys)
    rows = torch.arange(queries, device=relative.device) if plan.rows is None else plan.rows
    if not isinstance(keys, int) or not is_plain(relative):
        # For graphs with dynamic lengths, which the windows below would fix, and for vmap, which has no rule for them.
        at = torch.arange(keys, device=relative.device) - rows[:, None] + (reach - keys)
        return relative[:, at]
    # Window r has the entries r to r + Lk − 1: the last query's row is window 0, the one before it window 1.
    return relative.unfold(-1, keys, 1).index_select(1, reach - keys - rows)
