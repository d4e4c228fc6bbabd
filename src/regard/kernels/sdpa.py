"""PyTorch's kernel, `torch.nn.functional.scaled_dot_product_attention`, for calls that it fuses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.functional import scaled_dot_product_attention

from regard.kernels import reference
from regard.kernels.memory import is_plain
from regard.kernels.plan import NormalizerKind, Plan, ScoreKind, fields_outside, refuse_functions
from regard.kernels.visibility import all_true, guarded, visibility

_FIELDS = frozenset(
    (
        *("query", "key", "value", "score", "scale", "softcap", "bias", "relative"),
        *("start", "end", "visible", "layout", "block", "causal", "rows"),
        *("normalizer", "sink", "dropout", "dropout_seed"),
        # Of other scores and normalizers, which are refused:
        *("vector", "number", "numbers", "count", "prior_mean", "prior_scale", "seed"),
    )
)
"""The fields of a `Plan` that this backend supports or refuses."""

_UNKNOWN = fields_outside(Plan, _FIELDS)


def refuse(plan: Plan) -> str | None:
    """Why PyTorch's kernel cannot run ``plan``, or would not be faster than the reference."""
    if (reason := refuse_functions(plan, "PyTorch's kernel")) is not None:
        return reason
    for name, default in _UNKNOWN if type(plan) is Plan else fields_outside(type(plan), _FIELDS):
        if getattr(plan, name) is not default:
            return f"PyTorch's kernel does not know the plan's field {name}"
    if plan.query.dtype is torch.float64:
        return "PyTorch's kernel has no second derivative, which float64 is for"
    if plan.score is not ScoreKind.DOT:
        return f"PyTorch's kernel has dot products only, not the {plan.score} score"
    if plan.softcap:
        return "PyTorch's kernel has no softcap"
    if plan.relative is not None:
        return "PyTorch's kernel would need the relative bias as a full Lq × Lk tensor"
    if plan.bias is not None and plan.bias.requires_grad:
        return "PyTorch's kernel has no gradient to a bias without falling back to the full Lq × Lk weights"
    if plan.normalizer is not NormalizerKind.SOFTMAX:
        return f"PyTorch's kernel has softmax only, not {plan.normalizer}"
    if plan.sink is not None:
        return "PyTorch's kernel has no sink"
    if plan.dropout:
        return "PyTorch's kernel draws other random bits, which a seed does not reproduce elsewhere"
    if plan.value.shape[-1] != plan.query.shape[-1]:
        return f"PyTorch's kernel needs value as wide as query, {plan.query.shape[-1]}, got {plan.value.shape[-1]}"
    if forward_ad._current_level >= 0:
        return "PyTorch's kernel has no derivative in forward mode"
    if 0 in (*plan.query.shape, *plan.key.shape):
        return "PyTorch's kernel has no defined result for empty inputs"
    return _bias_too_large(plan)


_LARGEST_BIAS = 1e3


def _bias_too_large(plan: Plan) -> str | None:
    """Why the values of a bias are too large for PyTorch's kernel; None: they are not.

    It saves one log-sum-exp per row for its backward pass. If all of a row is as low as −10¹⁰ or ``finfo.min``, which
    are used for masks, the sum is rounded away, and half precision overflows.

    Checked only on a CPU outside of graphs: on a GPU it would synchronize, and a graph has no values.
    """
    if plan.bias is None or not is_plain(plan.bias):
        return None
    bias, visible = plan.bias.detach(), visibility(plan)
    top = (bias if visible is None else bias.masked_fill(~visible, -torch.inf)).amax(-1)
    large = top.abs()[top.isfinite()].max() if bool(top.isfinite().any()) else None
    if large is None or large <= _LARGEST_BIAS:
        return None
    return (
        f"PyTorch's kernel is inexact in a row whose bias is all beyond ±{_LARGEST_BIAS:.0f}, here {float(large):.3g}"
    )


def run(plan: Plan, lse: bool, extra: bool) -> tuple[Tensor, Tensor, Tensor]:
    """As `regard.kernels.reference.run`; a log-sum-exp costs another pass, and softmax has no extra."""
    with reference.exact(plan):
        nothing = plan.query.new_empty(0)
        return _output(plan), _lse(plan) if lse else nothing, nothing


def _output(plan: Plan) -> Tensor:
    query, key, value = plan.query, plan.key, plan.value.to(plan.query.dtype)
    grouped = bool(query.shape[1] != key.shape[1])  # not symbolic, in a graph of any shape
    visible, poison = visibility(plan), None
    if visible is not None:
        key, value, poison = guarded(plan, visible, key, value)
    if visible is not None and plan.bias is None and plan.causal == 0:
        # PyTorch's causal mask is aligned to the first query and key.
        output = scaled_dot_product_attention(query, key, value, is_causal=True, scale=plan.scale, enable_gqa=grouped)
        return output if poison is None else output + poison[..., None]
    if plan.bias is not None:
        shown = plan.bias != -torch.inf  # PyTorch's kernel gives NaN where a bias of −∞ hides all keys
        visible = visible & shown if visible is not None else None if all_true(shown) else shown
    seen = None if visible is None else visible.any(-1)
    if seen is not None and visible is not None:
        # Kernels differ for a query without a visible key, so all keys are made visible and its output is set to 0.
        query, visible = query.masked_fill(~seen[..., None], 0.0), visible | ~seen[..., None]
    mask = visible
    if plan.bias is not None:
        bias = plan.bias.to(query.dtype)
        mask = bias if visible is None else bias.masked_fill(~visible, -torch.inf)
    mask = None if mask is None else _expanded(mask, plan)
    output = scaled_dot_product_attention(query, key, value, mask, scale=plan.scale, enable_gqa=grouped)
    if seen is not None:
        output = output.masked_fill(~seen[..., None], 0.0)
    return output if poison is None else output + poison[..., None]


def _expanded(mask: Tensor, plan: Plan) -> Tensor:
    """The mask with its last two dimensions expanded, as PyTorch's kernels require."""
    return mask.expand(*mask.shape[:2], plan.query.shape[2], plan.key.shape[2])


def _lse(plan: Plan) -> Tensor:
    from regard.kernels.statistics import Request, statistics

    with torch.no_grad():
        return statistics(plan, Request(names=frozenset(["lse"])))["lse"]
