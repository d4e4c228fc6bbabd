"""The gradient of one step: of several batches in turn, and over all processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from regard.nn.batch_norm import uncounted
from regard.training.distributed import World, without_reduction
from regard.training.trainable import BatchTrainable, Trainable

LossFunction = Callable[[nn.Module, list[int], World], tuple[Tensor, int]]
"""A process's share of the loss of a batch, and of its number of tokens: the shares of all processes add up to both."""


def share_of_loss(task: Trainable | BatchTrainable) -> LossFunction:
    """The function that computes the loss of ``task``."""
    return partial(_share_of_batch, task) if isinstance(task, BatchTrainable) else partial(_share_of_sum, task)


def add_gradients(
    loss: LossFunction, model: nn.Module, batches: Sequence[list[int]], world: World, *, bfloat16: bool
) -> tuple[float, float]:
    """Add the gradient of the loss of ``batches``, summed over all tokens and averaged over the processes.

    Gradients are reduced over the processes once, in the backward pass of the last batch.

    Args:
        loss: see `share_of_loss`.
        model: the wrapped model.
        batches: batches of indices of training examples.
        world: this process and their number.
        bfloat16: whether to compute the loss with autocast.

    Returns:
        The summed loss and the number of tokens, of all processes.
    """
    total, tokens = torch.zeros((), dtype=torch.float64, device=world.device), 0
    for number, rows in enumerate(batches, 1):
        with without_reduction(model, number < len(batches)):
            with torch.autocast(world.device.type, torch.bfloat16, enabled=bfloat16):
                batch_loss, count = loss(model, rows, world)
            batch_loss.backward()  # type: ignore[no-untyped-call]
        total, tokens = total + batch_loss.detach(), tokens + count
    loss_sum, token_sum = world.sum(total.item(), tokens)
    return loss_sum, token_sum


def scale_gradients(parameters: Sequence[nn.Parameter], factor: float, most: float, *, foreach: bool | None) -> float:
    """Multiply the gradients by ``factor``, and by a smaller one if their norm would exceed ``most``.

    Args:
        parameters: those without a gradient are left out.
        factor: positive.
        most: maximum norm of all gradients together.
        foreach: see `torch.nn.utils.get_total_norm`.

    Returns:
        The norm after the multiplication by ``factor``.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm: Any = nn.utils.get_total_norm(gradients, foreach=foreach)
    total = factor * float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)  # FSDP2: a sharded tensor
    # Not min(1, …), which is 1 for NaN.
    scale = most / (total + 1e-6)
    torch._foreach_mul_(gradients, factor if scale > 1 else factor * scale)
    return total


def _share_of_sum(task: Trainable, model: nn.Module, rows: list[int], world: World) -> tuple[Tensor, int]:
    """The loss of this process's share of ``rows``."""
    share = rows[world.rank :: world.size]
    if share:
        return task.loss(model, share)
    # A process without a row of its own takes another's with weight zero: backward needs all processes.
    with uncounted():
        return task.loss(model, rows[:1])[0] * 0.0, 0


def _share_of_batch(task: BatchTrainable, model: nn.Module, rows: list[int], world: World) -> tuple[Tensor, int]:
    """The loss of all ``rows`` divided by the number of processes, which all compute it."""
    share = rows[world.rank :: world.size]
    with nullcontext() if share else uncounted():
        features = task.features(model, share or rows[:1])[: len(share)]
    gathered = world.gather_with_gradient(features)
    starts = [sum(len(rows[rank :: world.size]) for rank in range(before)) for before in range(world.size)]
    order = [starts[place % world.size] + place // world.size for place in range(len(rows))]
    loss, count = task.batch_loss(gathered if world.size == 1 else gathered[order], rows)
    return loss / world.size, count if world.first else 0
