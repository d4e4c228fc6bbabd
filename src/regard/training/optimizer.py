"""Optimizers: AdamW for all weights, or Muon for the matrices of the hidden layers and AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from regard.training.config import TrainConfig

_BETAS = (0.9, 0.98)
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of Jordan's polynomial, which brings singular values between 0.01 and 1 close to 1 in five steps."""


def optimizers(model: nn.Module, config: TrainConfig, *, fused: bool) -> list[torch.optim.Optimizer]:
    """The optimizers of ``model`` for ``config.optimizer``; ``fused``: use the fused AdamW."""

    def adamw(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            parameters, lr=config.learning_rate, betas=_BETAS, weight_decay=config.weight_decay, fused=fused
        )

    if config.optimizer == "adamw":
        return [adamw(model.parameters())]
    hidden = hidden_weights(model)
    chosen: list[torch.optim.Optimizer] = []
    if hidden:
        chosen.append(Muon(hidden, lr=config.learning_rate, weight_decay=config.weight_decay))
    taken = {id(weight) for weight in hidden}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]
    return [*chosen, adamw(rest)] if rest else chosen


def hidden_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights of linear layers and convolutions, except the layer ``model.output``, which computes the logits."""
    last = getattr(getattr(model, "module", model), "output", None)
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = [layer for layer in model.modules() if isinstance(layer, kinds) and layer is not last]
    return [layer.get_parameter("weight") for layer in layers]


class Muon(torch.optim.Optimizer):
    """Muon: the momentum of each matrix, orthogonalized, is its update (Jordan et al. 2024).

    https://kellerjordan.github.io/posts/muon. Updates have a root mean square of 0.2 times the learning rate, as is
    typical of AdamW (Liu et al. 2025, arXiv:2502.16982), so that the same learning rate and weight decay suit both.

    Args:
        params: weights of two or more dimensions; all but the first are flattened, as for a convolution.
        lr: learning rate.
        momentum: decay of the sum of gradients per step (Nesterov).
        weight_decay: decoupled, as in AdamW.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, *, momentum: float = 0.9, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update the weights; ``closure`` is not called."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        total = state["momentum"].mul_(group["momentum"]).add_(weight.grad)
        step = orthogonal((weight.grad + group["momentum"] * total).flatten(1))
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(step.view(weight.shape), alpha=-0.2 * group["lr"] * max(step.shape) ** 0.5)


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """``(m, n)`` with singular values between about 0.7 and 1.2, by ``steps`` of a Newton–Schulz iteration."""
    a, b, c = _COEFFICIENTS
    x: Tensor = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
