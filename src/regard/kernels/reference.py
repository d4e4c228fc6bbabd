"""Attention in plain PyTorch: the definition, which every other backend is tested against.

Shape suffixes: B batch, H query heads, G key heads, Q queries, K keys, E key width, V value width.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from regard.kernels.plan import Plan, ScoreKind

_TILE_ELEMENTS = 1 << 22
"""Weights held at once while looking: 16 MiB in float32, whatever the length."""


def refuse(plan: Plan) -> str | None:
    """The reference computes every plan."""
    return None


def run(plan: Plan, lse: bool) -> tuple[Tensor, Tensor]:
    """The output ``(B, H, Lq, Ev)`` and, if asked for, the log-sum-exp ``(B, H, Lq)`` (else an empty tensor)."""
    dtype = plan.query.dtype
    with _exact(plan):
        scores_BHQK, value_BHKV, seen_BHQ = _scores(plan)
        weights_BHQK = torch.softmax(scores_BHQK, -1)
        output_BHQV = weights_BHQK @ value_BHKV
        if seen_BHQ is not None:
            output_BHQV = output_BHQV.masked_fill(~seen_BHQ[..., None], 0.0)
        return output_BHQV.to(dtype), _lse(scores_BHQK, seen_BHQ) if lse else scores_BHQK.new_empty(0)


def weights(plan: Plan) -> tuple[Tensor, Tensor, Tensor | None]:
    """The weights ``(B, H, Lq, Lk)``, their log-sum-exp ``(B, H, Lq)``, and what is visible (None: all)."""
    with _exact(plan):
        scores_BHQK, _, seen_BHQ = _scores(plan)
        weights_BHQK = torch.softmax(scores_BHQK, -1)
        if seen_BHQ is not None:
            weights_BHQK = weights_BHQK.masked_fill(~seen_BHQ[..., None], 0.0)
        return weights_BHQK, _lse(scores_BHQK, seen_BHQ), visibility(plan)


def visibility(plan: Plan) -> Tensor | None:
    """Boolean, broadcastable to ``(B, H, Lq, Lk)``: True where the query may attend to the key; None: everywhere."""
    visible = plan.visible
    position_K = torch.arange(plan.key.shape[2], device=plan.key.device)
    for bound, compare in ((plan.start, torch.ge), (plan.end, torch.lt)):
        if bound is not None:
            inside = compare(position_K, bound[..., None])
            visible = inside if visible is None else visible & inside
    return visible


def statistics(plan: Plan, *, top: int, rows: Tensor | None) -> dict[str, Tensor]:
    """What a `Look` can ask, streamed over tiles of queries, so that memory stays linear in the lengths.

    Returns:
        ``lse``, ``entropy`` ``(B, H, Lq)``; ``received`` ``(B, H, Lk)``; if ``top`` > 0, ``top_weights`` and
        ``top_keys`` ``(B, H, Lq, top)``; if ``rows`` are given, ``rows`` ``(B, H, len(rows), Lk)``.
    """
    batch, heads, queries, _ = plan.query.shape
    keys, device = plan.key.shape[2], plan.query.device
    step = max(
        1, _TILE_ELEMENTS // max(1, batch * heads * keys * (plan.key.shape[3] if plan.vector is not None else 1))
    )
    tiles = [_tile(plan.at_queries(part), top) for part in torch.arange(queries, device=device).split(step)]
    found = {name: torch.cat([tile[name] for tile in tiles], 2) for name in tiles[0] if name != "received"}
    found["received"] = torch.stack([tile["received"] for tile in tiles]).sum(0)
    if rows is not None:
        parts = [weights(plan.at_queries(part))[0] for part in rows.split(step)]
        found["rows"] = torch.cat(parts, 2)
    return found


def _tile(plan: Plan, top: int) -> dict[str, Tensor]:
    weights_BHQK, lse_BHQ, visible = weights(plan)
    found = {
        "lse": lse_BHQ,
        "entropy": torch.special.entr(weights_BHQK).sum(-1),
        "received": weights_BHQK.sum(2),
    }
    if top:
        # A masked key must lose to a visible one whose weight underflowed to zero.
        ranked = weights_BHQK if visible is None else torch.where(visible, weights_BHQK, -1.0)
        found["top_weights"], found["top_keys"] = ranked.topk(top, -1)
        hidden = found["top_weights"] < 0
        found["top_weights"] = found["top_weights"].masked_fill(hidden, 0.0)
        found["top_keys"] = found["top_keys"].masked_fill(hidden, -1)
    return found


def _scores(plan: Plan) -> tuple[Tensor, Tensor, Tensor | None]:
    """Scores ready for the softmax, the values by query head, and which queries see any key (None: all)."""
    precise = torch.promote_types(plan.query.dtype, torch.float32)
    query, key, value = (t.to(precise) for t in (plan.query, plan.key, plan.value))
    groups = query.shape[1] // max(1, key.shape[1])
    if groups > 1:
        key, value = (t.repeat_interleave(groups, 1) for t in (key, value))
    visible = visibility(plan)
    if visible is None:
        return _products(plan, query, key), value, None
    # What is masked must not leak, and 0 · NaN is NaN, forward and backward. So keys and values that are not finite are
    # taken out of the products, and marked by a NaN on the scores of their column, which the mask then hides from all
    # queries but those that do see them.
    poison_BHK = _nonfinite(key) + _nonfinite(value)
    finite_BHK = torch.isfinite(poison_BHK)
    if not _all_true(finite_BHK):
        key, value = (torch.where(finite_BHK[..., None], t, 0.0) for t in (key, value))
    seen_BHQ = visible.any(-1)
    scores_BHQK = _products(plan, query.masked_fill(~seen_BHQ[..., None], 0.0), key) + poison_BHK[..., None, :]
    # A row that sees no key is filled with zeros, not −∞, so that its softmax is finite; its output is zeroed later.
    fill_BHQ = torch.where(seen_BHQ, -torch.inf, 0.0).to(precise)
    return torch.where(visible, scores_BHQK, fill_BHQ[..., None]), value, seen_BHQ


def _nonfinite(tensor: Tensor) -> Tensor:
    """0 for each vector along the last dimension, NaN where an entry is NaN or infinite."""
    width = tensor.shape[-1]
    # A mean, as a matrix product: it cannot overflow, and reads the tensor once.
    return tensor.detach() @ tensor.new_full((width,), 0.5 / max(1, width)) * 0


def _all_true(tensor: Tensor) -> bool:
    """Whether all is known to be true; False where looking costs a wait (a GPU) or cannot be done (a graph)."""
    plain = type(tensor) is Tensor and tensor.device.type == "cpu" and not torch.compiler.is_compiling()
    return plain and bool(tensor.all())


def _products(plan: Plan, query_BHQE: Tensor, key_BHKE: Tensor) -> Tensor:
    if plan.score is ScoreKind.DOT:
        return (query_BHQE * plan.scale) @ key_BHKE.transpose(-2, -1)
    assert plan.vector is not None
    hidden_BHQKE = torch.tanh(query_BHQE[..., :, None, :] + key_BHKE[..., None, :, :])
    return torch.einsum("bhqke,he->bhqk", hidden_BHQKE, plan.vector.to(query_BHQE.dtype))


def _exact(plan: Plan) -> AbstractContextManager[None]:
    """Without autocast, where the device has it: the dtypes of the plan are meant."""
    device = plan.query.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def _lse(scores: Tensor, seen: Tensor | None) -> Tensor:
    lse = torch.logsumexp(scores, -1)
    return lse if seen is None else lse.masked_fill(~seen, -torch.inf)
