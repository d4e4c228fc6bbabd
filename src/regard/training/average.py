"""Averages of weights: an exponential moving average during training, and the mean of several checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from regard.training import checkpoint
from regard.training.shards import local_rows


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


@contextmanager
def used(average: MovingAverage | None) -> Iterator[None]:
    """`MovingAverage.used`; without an average, the model keeps its weights."""
    with nullcontext() if average is None else average.used():
        yield


@contextmanager
def mean_used(model: nn.Module, run: Path, names: Sequence[str]) -> Iterator[None]:
    """A context in which the model has the mean of the weights of several checkpoints.

    Each process of a sharded model reads its own rows only. Integers, such as counts, are taken from the last
    checkpoint.

    Args:
        model: the model, sharded or not.
        run: the run's folder.
        names: the names of the checkpoints.

    Raises:
        UserError: a checkpoint cannot be read.
    """
    from torch.distributed.checkpoint.state_dict import get_model_state_dict  # half a second

    weights: Any = get_model_state_dict(model)  # the parameters themselves, not copies of them
    local = {name: local_rows(tensor)[0].detach() for name, tensor in weights.items()}
    before = {name: rows.clone() for name, rows in local.items()}
    try:
        with ExitStack() as stack:
            checkpoints = [stack.enter_context(checkpoint.opened(run, name, "model")) for name in names]
            for name, tensor in weights.items():
                parts = []
                for weights_read in checkpoints:
                    weights_read.fill(name, tensor)
                    parts.append(local[name].double())
                if tensor.is_floating_point():
                    local[name].copy_(torch.stack(parts).mean(0))
        yield
    finally:
        for name, rows in local.items():
            rows.copy_(before[name])
