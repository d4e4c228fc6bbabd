"""Gradients of the kernels' gradients, from the reference with torch.func, so that transforms can be nested."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from regard.kernels import reference
from regard.kernels.plan import Plan


def gradients_of_gradients(
    plan: Plan,
    grad: Tensor,
    grad_extra: Tensor | None,
    wanted: list[str],
    given: dict[str, Tensor],
    inputs: list[str],
) -> tuple[dict[str, Tensor], Tensor, Tensor | None]:
    """The backward pass of a call's backward pass.

    Args:
        plan: the call.
        grad: the gradient of the output.
        grad_extra: the gradient of the extra; None: none.
        wanted: the fields of ``plan`` whose gradients the backward pass computed.
        given: the gradient of each of these gradients.
        inputs: the fields of ``plan`` whose gradients to compute.

    Returns:
        The gradients of ``inputs`` by name, that of ``grad`` and that of ``grad_extra``.
    """
    output_grads = (grad,) if grad_extra is None else (grad, grad_extra)

    def backward(tensors: dict[str, Any], *output_grads: Tensor) -> dict[str, Tensor]:
        varied = replace(plan, **tensors)

        def forward(leaves: dict[str, Any]) -> tuple[Tensor, ...]:
            output, _, extra = reference.run(replace(varied, **leaves), False, grad_extra is not None)
            return (output,) if grad_extra is None else (output, extra)

        pull = torch.func.vjp(forward, {name: getattr(varied, name) for name in wanted})[1]
        (grads,) = pull(output_grads)
        return dict(grads)

    pull = torch.func.vjp(backward, {name: getattr(plan, name) for name in inputs}, *output_grads)[1]
    grads, *of_grads = pull(given)
    return grads, of_grads[0], of_grads[1] if grad_extra is not None else None
