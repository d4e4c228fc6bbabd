"""A linear layer that is used at every step of a sequence, with one product for its weight's gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_Uses = list[tuple[Tensor, Tensor]]
"""The input and the gradient of the output of each use, in the order of the backward pass."""


class StepLinear(nn.Linear):
    """``nn.Linear`` that is applied at every step of a sequence: see `bound`.

    Autograd would compute a gradient as large as the weight at every step and add it up: a thin product and a pass over
    the full weight each time. Here inputs and gradients are kept, and one product over all steps follows at the end.

    Example:
        >>> layer = StepLinear(8, 6)
        >>> through = layer.bound()
        >>> outputs = [through(torch.randn(2, 8)) for _ in range(5)]
        >>> torch.stack(outputs).sum().backward()
        >>> layer.weight.grad.shape
        torch.Size([6, 8])
    """

    def bound(self) -> Callable[[Tensor], Tensor]:
        """The layer for the steps of one sequence, its weight cast to autocast's dtype once. Differentiable once."""
        device = self.weight.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.weight.dtype
        bias = self.weight.new_zeros(self.out_features) if self.bias is None else self.bias
        if not torch.is_grad_enabled():
            cast, shift = self.weight.to(dtype), bias.to(dtype)
            return lambda x: F.linear(x.to(dtype), cast, shift)
        uses: _Uses = []
        weight, bias = _Collect.apply(self.weight, bias, dtype, uses)  # type: ignore[no-untyped-call]
        return lambda x: _Use.apply(x.to(dtype), weight, bias, uses)  # type: ignore[no-any-return,no-untyped-call]


class _Collect(torch.autograd.Function):
    """Weight and bias for all steps; its backward pass runs last, after that of every use."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, dtype: torch.dtype, uses: _Uses) -> tuple[Tensor, Tensor]:
        ctx.uses, ctx.dtype, ctx.shape = uses, weight.dtype, weight.shape
        ctx.set_materialize_grads(False)
        return weight.to(dtype, copy=True), bias.to(dtype, copy=True)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *_: None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if not ctx.uses:
            return None, None, None, None
        inputs, gradients = (torch.cat(parts) for parts in zip(*ctx.uses, strict=True))
        ctx.uses.clear()
        to_bias = gradients.sum(0, dtype=torch.promote_types(gradients.dtype, torch.float32))
        return (gradients.T @ inputs).to(ctx.dtype), to_bias.to(ctx.dtype), None, None


class _Use(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, uses: _Uses) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.uses = uses
        return torch.addmm(bias, x, weight.T)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        ctx.uses.append((x, gradient))
        return gradient @ weight, None, None, None
