"""Batch normalization in training with several processes: the statistics are those of the whole batch.

PyTorch's `SyncBatchNorm` does the same on GPUs only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


class _OfAllProcesses(_BatchNorm):
    """Batch normalization of any shape; in training with several processes, see `normalized_together`."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, features, …)`` to the same shape."""
        return _not_compiled(normalized_together, self, x) if self.training and _several() else super().forward(x)


class BatchNorm1d(_OfAllProcesses, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` of the examples of all processes."""


class BatchNorm2d(_OfAllProcesses, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` of the examples of all processes."""


@contextmanager
def uncounted() -> Iterator[None]:
    """A context in which this process's examples are normalized, but are not part of the batch.

    A process without an example of its own computes something all the same, because the others wait for it.
    """
    global _counted
    before, _counted = _counted, False
    try:
        yield
    finally:
        _counted = before


_counted = True


def as_long_in_all(x: Tensor) -> Tensor:
    """``x`` ``(B, T, …)``, padded by zeros to the largest T of all processes, as in a batch of all their examples.

    Statistics of a batch include its padding. All processes must call it.
    """
    return _not_compiled(_padded_together, x) if _several() else x


def _not_compiled(function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """The result of a function that `torch.compile` leaves out of the graph.

    `torch.compiler.disable` is no decorator here, since it imports the compiler, which takes half a second.
    """
    result: Tensor = torch.compiler.disable(function)(*arguments)
    return result


def _padded_together(x: Tensor) -> Tensor:
    longest = torch.tensor(x.shape[1] if _counted else 0, device=x.device)
    distributed.all_reduce(longest, distributed.ReduceOp.MAX)
    missing = max(0, int(longest) - x.shape[1])
    return F.pad(x, [0, 0] * (x.dim() - 2) + [0, missing])


def normalized_together(norm: _BatchNorm, x: Tensor) -> Tensor:
    """Batch normalization in training, with the statistics of the examples of all processes, which must all call it.

    In the backward pass, each process gets the gradient of the sum of the losses of all processes. The weights get this
    process's part of theirs.

    Args:
        norm: has the weights, and gets the running statistics.
        x: ``(B, C, …)``; B may differ.
    """
    statistics = _statistics(x.detach())
    count, mean, variance, _ = statistics
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean.to(norm.running_mean), norm.momentum)
        norm.running_var.lerp_((variance * count / (count - 1).clamp(min=1)).to(norm.running_var), norm.momentum)
    y: Tensor = _Normalized.apply(x, norm.weight, norm.bias, statistics, norm.eps)  # type: ignore[no-untyped-call]
    return y


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


class _Statistics(NamedTuple):
    """Of all processes: the number of values of a channel, their mean and variance ``(C,)``.

    The variance is the mean of the squared distances from the mean. ``own``: whether the examples of this process are
    counted.
    """

    number: Tensor
    mean: Tensor
    variance: Tensor
    own: bool


def _statistics(x: Tensor) -> _Statistics:
    """Those of ``x`` in each process, combined (Chan, Golub and LeVeque 1979), since squares of values would cancel."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    dims, channels = [0, *range(2, x.dim())], x.shape[1]
    mean = x.mean(dims, keepdim=True)  # torch.var_mean takes several times as long
    variance = (x - mean).square_().mean(dims)
    count = mean.new_tensor([x.numel() // channels if _counted else 0])
    own = torch.cat([count, mean.flatten(), variance])
    every = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, own)
    counts, means, variances = torch.stack(every).split([1, channels, channels], 1)
    total = counts.sum()
    shares = counts / total
    together = (shares * means).sum(0)
    apart = (means - together).square()
    return _Statistics(total, together, (shares * (variances + apart)).sum(0), _counted)


class _Normalized(torch.autograd.Function):
    """The normalized ``x``; `_Statistics` are functions of the ``x`` of all processes."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, statistics: _Statistics, eps: float
    ) -> Tensor:
        ctx.statistics, ctx.eps = statistics, eps
        ctx.save_for_backward(x, weight)
        return F.batch_norm(x, statistics.mean, statistics.variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        count, mean, variance, own = ctx.statistics
        dims, shape = [0, *range(2, x.dim())], [-1] + [1] * (x.dim() - 2)
        inverse = (variance + ctx.eps).rsqrt()
        normal = (x - mean.view(shape)) * inverse.view(shape)
        of_bias, of_weight = gradient.sum(dims, dtype=normal.dtype), (gradient * normal).sum(dims)
        sums = torch.stack([of_bias, of_weight])
        distributed.all_reduce(sums)
        direct = gradient
        if own:  # through the mean and the variance
            first, second = (sums / count).unbind()
            direct = gradient - first.view(shape) - normal.mul_(second.view(shape))
        scaled = direct * (weight * inverse).view(shape)
        return scaled.to(x.dtype), of_weight.to(weight.dtype), of_bias.to(weight.dtype), None, None
