"""Gradients of the kernels' gradients: from the reference, by torch.func, so that transforms nest."""

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
    """The gradients that pass through the backward of a call.

    Args:
        plan: the call.
        grad: the output's gradient.
        grad_extra: the extra's; None: none.
        wanted: whose gradients the backward gave, fields of ``plan``.
        given: the gradient of each of these gradients.
        inputs: to which of the plan's fields the result goes.

    Returns:
        Those of ``inputs`` by name, that of ``grad`` and that of ``grad_extra``.
    """
    ups = (grad,) if grad_extra is None else (grad, grad_extra)

    def backward(tensors: dict[str, Any], *ups: Tensor) -> dict[str, Tensor]:
        varied = replace(plan, **tensors)

        def forward(some: dict[str, Any]) -> tuple[Tensor, ...]:
            output, _, extra = reference.run(replace(varied, **some), False, grad_extra is not None)
            return (output,) if grad_extra is None else (output, extra)

        pull = torch.func.vjp(forward, {name: getattr(varied, name) for name in wanted})[1]
        (found,) = pull(ups)
        return dict(found)

    pull = torch.func.vjp(backward, {name: getattr(plan, name) for name in inputs}, *ups)[1]
    found, *of_ups = pull(given)
    return found, of_ups[0], of_ups[1] if grad_extra is not None else None
