"""The backward pass of the C++ kernels: allocates the gradients, and sums those of broadcast tensors."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from regard.kernels.cpu.call import FULL, OWN, PER_KEY, PER_QUERY, SHARED, Call, computed_in
from regard.kernels.plan import Plan

_BLOCK = 64
"""About the number of queries in a block of the kernels."""


class Saved(NamedTuple):
    """The tensors that the forward pass saves for the backward pass; ``bad``: the non-finite keys, see `cleaned`."""

    plan: Plan
    output: Tensor
    stats: Tensor
    bad: Tensor | None


def gradients(saved: Saved, grad: Tensor, grad_extra: Tensor | None, wanted: frozenset[str]) -> dict[str, Tensor]:
    """The gradients of the tensors in ``wanted``, and always those of query, key and value.

    Args:
        saved: the tensors that the forward pass saved.
        grad: the gradient of the output.
        grad_extra: ``(B, H, Lq)``, the gradient of the extra; None: none.
        wanted: names of fields of the plan.
    """
    plan, output, stats, bad = saved
    batch, heads, queries, width = plan.query.shape
    requested, wanted = wanted, wanted if grad_extra is not None else wanted - {"prior_mean"}
    precise, splits = computed_in(plan.query.dtype), parts_of_queries(plan.query.shape, plan.key.shape)
    if grad_extra is not None:
        grad_extra = grad_extra.to(precise).contiguous()

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=precise, device="cpu")

    grads = {
        "query": torch.empty(plan.query.shape, dtype=plan.query.dtype, device="cpu"),
        "key": torch.empty(plan.key.shape, dtype=plan.key.dtype, device="cpu"),
        "value": torch.empty(plan.value.shape, dtype=plan.value.dtype, device="cpu"),
    }
    extent = {"vector": (width,), "relative": () if plan.relative is None else plan.relative.shape[1:]}
    parts = {n: zeros(batch, heads, splits, *extent[n]) if n in wanted else None for n in extent}
    parts["numbers"] = zeros(batch, heads, queries) if "numbers" in wanted else None
    kinds = {}
    for name in ("bias", "prior_mean"):
        tensor = getattr(plan, name) if name in wanted else None
        kinds[name], parts[name] = (0, None) if tensor is None else _dense(tensor, plan, splits, precise)
    Call(plan, output, stats, None, bad).backward(
        output=grad, extra=grad_extra, splits=splits, **grads,
        vector=parts["vector"], relative=parts["relative"], numbers=parts["numbers"],
        bias=parts["bias"], prior_mean=parts["prior_mean"], bias_kind=kinds["bias"], prior_kind=kinds["prior_mean"],
    )  # fmt: skip
    for name, part in parts.items():
        if part is not None:
            like = getattr(plan, name)
            grads[name] = _gathered(name, part, like, kinds.get(name, 0)).to(like.dtype)
    if requested != wanted:  # only the divergence depends on the prior
        assert plan.prior_mean is not None
        grads["prior_mean"] = torch.zeros_like(plan.prior_mean)
    if "sink" in wanted:
        grads["sink"] = _of_sink(plan, output, stats, grad)
    return grads


def parts_of_queries(query: torch.Size, key: torch.Size) -> int:
    """The number of parts into which the queries of a key head are split, so that every thread has work."""
    tasks, threads = key[:-2].numel(), torch.get_num_threads()
    if tasks % threads == 0 or tasks >= 4 * threads:
        return 1
    blocks = query[:-2].numel() // tasks * math.ceil(query[-2] / _BLOCK)
    return max(1, min(threads, blocks))


def _dense(tensor: Tensor, plan: Plan, splits: int, precise: torch.dtype) -> tuple[int, Tensor]:
    """How the library returns the gradient of a tensor that broadcasts to the scores, and the memory for it."""
    batch, heads, queries, _ = plan.query.shape
    keys = plan.key.shape[2]
    if tensor.shape[3] == 1:
        return PER_QUERY, torch.zeros((batch, heads, queries, 1), dtype=precise, device="cpu")
    if tensor.shape[2] == 1:
        return PER_KEY, torch.zeros((batch, heads, splits, keys), dtype=precise, device="cpu")
    if tensor.shape[:2] == (batch, heads):
        # Hidden tiles are not written.
        return FULL, (torch.zeros if plan.masked else torch.empty)(tensor.shape, dtype=tensor.dtype, device="cpu")
    return SHARED, torch.zeros(tensor.shape, dtype=precise, device="cpu")


def _gathered(name: str, part: Tensor, like: Tensor, kind: int) -> Tensor:
    """The sum of the parts of a gradient, in the shape of its tensor."""
    if name in ("vector", "relative"):
        return part.sum((0, 2)).sum_to_size(like.shape)
    if name == "numbers":
        return part.sum((0, 2)).sum_to_size(like.shape)
    if kind == PER_KEY:
        return part.sum(2, keepdim=True).sum_to_size(like.shape)
    return part.sum_to_size(like.shape)


def _of_sink(plan: Plan, output: Tensor, stats: Tensor, grad: Tensor) -> Tensor:
    """``−Σ w_sink · (grad · output)``: the value of the sink is 0."""
    assert plan.sink is not None
    weight = stats[:, :, OWN]
    inner = (grad.to(weight.dtype) * output.to(weight.dtype)).sum(-1)
    return -(weight * inner).sum((0, 2)).to(plan.sink.dtype)
