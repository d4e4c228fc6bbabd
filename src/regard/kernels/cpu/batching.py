"""`torch.vmap` of the kernels' ops: samples become additional heads or a larger batch of one call."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from regard.kernels.plan import Plan

_FIELDS = tuple(field.name for field in fields(Plan))
_OF_HEADS = ("vector", "relative", "sink", "numbers")
_BROADCAST = ("bias", "start", "end", "visible", "layout", "prior_mean")
"""Fields whose batch and head dimensions may have size 1."""

_CONTIGUOUS = ("stats", "bad")
"""Arguments that must be contiguous."""

_SCALARS = ("seed", "dropout_seed")

Arguments = dict[str, Any]


class _Fold:
    """How samples are folded into a call: as additional heads if a per-head tensor differs, else as a larger batch.

    Query head h reads key head ``h // (H / Hk)``; this still holds with the samples before the heads.
    """

    def __init__(self, samples: int, arguments: Arguments, into_heads: bool):
        self.samples, self.into_heads = samples, into_heads
        self.batch, self.heads = arguments["query"].shape[:2]

    def folded(self, tensor: Tensor, own: int) -> Tensor:
        """``tensor``, ``(S, B or 1, H or 1, …)``, with folded samples; ``own`` is its number of heads, or its batch."""
        if self.into_heads:
            tensor = tensor.movedim(0, 1)
            tensor = tensor.expand(tensor.shape[0], self.samples, own, *tensor.shape[3:])
            return tensor.reshape(tensor.shape[0], self.samples * own, *tensor.shape[3:])
        return tensor.expand(self.samples, own, *tensor.shape[2:]).reshape(self.samples * own, *tensor.shape[2:])

    def apart(self, tensor: Tensor) -> Tensor:
        """A result with the samples as the first dimension again."""
        if self.into_heads:
            return _split(tensor, 1, self.samples).movedim(1, 0)
        return _split(tensor, 0, self.samples)

    def argument(self, name: str, tensor: Tensor, differs: bool) -> Tensor:
        """One argument, ``(S, …)`` if it ``differs``; if it does not and broadcasts, it is not expanded."""
        if name in _OF_HEADS:
            if not self.into_heads:
                return tensor
            if not differs and name in ("relative", "numbers") and tensor.shape[0] == 1:
                return tensor
            tensor = tensor if differs else tensor[None]
            tensor = tensor.expand(self.samples, self.heads, *tensor.shape[2:])
            return tensor.reshape(self.samples * self.heads, *tensor.shape[2:])
        dim = 1 if self.into_heads else 0
        if name in _BROADCAST:
            rank = 3 if name in ("start", "end") else 4
            tensor = tensor[(slice(None),) * differs + (None,) * (rank + differs - tensor.dim())]
            if not differs and tensor.shape[dim] == 1:
                return tensor
            own = self.heads if self.into_heads else self.batch
        else:
            own = tensor.shape[dim + differs]
        folded = self.folded(tensor if differs else tensor[None].expand(self.samples, *tensor.shape), own)
        return folded.contiguous() if name in _CONTIGUOUS else folded


def batched(
    run: Callable[[Arguments], list[Tensor]],
    samples: int,
    arguments: Arguments,
    dims: dict[str, Any],
    wanted: list[str],
) -> list[Tensor]:
    """The results of ``run`` for each of ``samples`` samples, which are the first dimension.

    Args:
        run: an op of the kernels, called with its arguments by name; its results begin with batch and heads, or are the
            gradients of ``wanted``, in this order.
        samples: the number of samples.
        arguments: the arguments of the op.
        dims: the dimension of the samples in each; None: the same value for all samples.
        wanted: the arguments of which the results are gradients; empty: the results are not gradients.
    """
    arguments = {n: t.movedim(d, 0) if isinstance(d := dims.get(n), int) else t for n, t in arguments.items()}
    differ = {name for name, dim in dims.items() if isinstance(dim, int)}
    if any(arguments[name] is not None for name in _SCALARS):
        # Each sample has the random bits of a separate call, which depend on the batch and the head.
        each = [run({n: t[i] if n in differ else t for n, t in arguments.items()}) for i in range(samples)]
        return [torch.stack(parts) for parts in zip(*each, strict=True)]
    # Each sample has its own gradient, so arguments whose gradient is requested are expanded.
    for name in wanted:
        if name not in differ:
            arguments[name] = arguments[name][None].expand(samples, *arguments[name].shape)
    apart = differ | set(wanted)
    fold = _Fold(
        samples,
        {"query": arguments["query"][0] if "query" in apart else arguments["query"]},
        any(name in apart for name in _OF_HEADS),
    )
    folded = {
        name: fold.argument(name, value, name in apart) if isinstance(value, Tensor) else value
        for name, value in arguments.items()
    }
    results = run(folded)
    if not wanted:
        return [fold.apart(result) for result in results]
    return [_summed(fold, name, result, arguments[name]) for name, result in zip(wanted, results, strict=True)]


def _summed(fold: _Fold, name: str, result: Tensor, like: Tensor) -> Tensor:
    """The gradient of ``like``, ``(S, …)``, from the gradient of its folded form."""
    result = _split(result, 0, fold.samples) if name in _OF_HEADS else fold.apart(result)
    return result.sum_to_size(like.shape)


def _split(tensor: Tensor, dim: int, first: int) -> Tensor:
    return tensor.reshape(*tensor.shape[:dim], first, tensor.shape[dim] // first, *tensor.shape[dim + 1 :])


def unbatched(tensor: Tensor) -> tuple[Tensor, int] | None:
    """The tensor wrapped by the older vmap, samples first, and the level of the vmap; None: not wrapped."""
    if "Batched" not in _keys_of(tensor):
        return None
    for level in range(1, _MAX_LEVELS + 1):
        # At another level, PyTorch adds a dimension and the tensor stays wrapped.
        inner = torch._remove_batch_dim(tensor, level, 1, 0)
        if "Batched" not in _keys_of(inner):
            return inner, level
    raise RuntimeError("attention: its backward cannot run under several batches of gradients at once")


_MAX_LEVELS = 8


def _keys_of(tensor: Tensor) -> list[str]:
    """The names of the tensor's dispatch keys; PyTorch has no other way to detect its older vmap."""
    return re.findall(r"\w+", repr(torch._C._dispatch_keys(tensor)))
