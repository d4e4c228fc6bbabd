"""Which query sees which key, and how masked keys and values are prevented from having an influence."""

from __future__ import annotations

import torch
from torch import Tensor

from regard.kernels.memory import is_plain
from regard.kernels.plan import Plan


def visibility(plan: Plan) -> Tensor | None:
    """Boolean, broadcastable to ``(B, H, Lq, Lk)``: True where the query may attend to the key; None: everywhere."""
    visible = plan.visible
    position = torch.arange(plan.key.shape[2], device=plan.key.device)
    for bound, compare in ((plan.start, torch.ge), (plan.end, torch.lt)):
        if bound is not None:
            inside = compare(position, bound[..., None])
            visible = inside if visible is None else visible & inside
    if plan.layout is not None:
        rows = torch.arange(plan.query.shape[2], device=position.device) if plan.rows is None else plan.rows
        inside = spread(plan.layout, rows // plan.block, position // plan.block)
        visible = inside if visible is None else visible & inside
    return visible


def spread(layout: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The entries of ``layout`` ``(…, R, C)`` at each of ``rows`` and ``columns``."""
    return layout.index_select(-2, rows).index_select(-1, columns)


def guarded(plan: Plan, visible: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys and values with 0 for non-finite ones, and NaN for each query that sees such a key, 0 for the others.

    A masked key must have no influence, but 0 · NaN is NaN, forward and backward. So non-finite keys and values are
    replaced before the products, and the outputs of the queries that see them are set to NaN afterwards.

    Args:
        plan: gives the numbers of query and key heads.
        visible: see `visibility`.
        key: ``(B, Hk, Lk, E)``.
        value: ``(B, Hk, Lk, Ev)``.

    Returns:
        Key, value, and what to add to the outputs, ``(B, H, Lq)``; None if all are known to be finite.
    """
    poison = nonfinite(key) + nonfinite(value)
    finite = torch.isfinite(poison)
    if all_true(finite):
        return key, value, None
    key, value = (torch.where(finite[..., None], tensor, 0.0) for tensor in (key, value))
    bad, shared = ~finite, plan.query.shape[1] // max(1, key.shape[1])
    if shared != 1:  # without this operation, a graph can have a length that was computed from another one
        bad = bad.repeat_interleave(shared, 1)
    sees_bad = (visible & bad[..., None, :]).any(-1)
    return key, value, torch.where(sees_bad, torch.nan, 0.0).to(key.dtype)


def nonfinite(tensor: Tensor) -> Tensor:
    """0 for each vector along the last dimension, NaN where an entry is NaN or infinite."""
    width = tensor.shape[-1]
    # A mean as a matrix product: it cannot overflow and reads the tensor once.
    return tensor.detach() @ tensor.new_full((width,), 0.5 / max(1, width)) * 0


def all_true(tensor: Tensor) -> bool:
    """Whether all are known to be true; False if checking would synchronize (GPU) or is impossible (graph, vmap)."""
    return is_plain(tensor) and bool(tensor.all())
