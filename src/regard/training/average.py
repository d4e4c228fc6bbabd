"""Averages of weights: an exponential moving average during training, and the mean of several checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """``a ← d a + (1 − d) w`` after each step (Polyak and Juditsky 1992), of all parameters of ``model``.

    At the start d is smaller, (1 + n) / (10 + n) after n steps, so that the initial weights have little influence.

    Args:
        model: the model, sharded or not; buffers are not averaged.
        decay: d.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model, self.decay = model, decay
        self.weights = [parameter.detach().clone() for parameter in model.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average after step number ``step``, counted from 1."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        for mean, parameter in zip(self.weights, self.model.parameters(), strict=True):
            mean.lerp_(parameter, weight)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights of the model with the averages."""
        for mean, parameter in zip(self.weights, self.model.parameters(), strict=True):
            now = parameter.detach().clone()
            parameter.copy_(mean)
            mean.copy_(now)

    @contextmanager
    def used(self) -> Iterator[None]:
        """A context in which the model has the averaged weights."""
        self.swap()
        try:
            yield
        finally:
            self.swap()


def mean_of(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the weights of several checkpoints by name; integers, such as counts, are taken from the last one."""
    last = states[-1]
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in last.items()
    }
