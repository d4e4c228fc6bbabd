"""Several processes started by ``torchrun``: this process's rank, sums over all processes, and the wrapped model."""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from regard.errors import UserError

if TYPE_CHECKING:  # importing it takes half a second
    from torch.distributed.fsdp import FSDPModule

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process, number ``rank`` of ``size``, which computes on ``device``."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes files."""
        return self.rank == 0

    def sum(self, *numbers: float) -> list[float]:
        """Each number summed over all processes."""
        if self.size == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return [float(number) for number in total.tolist()]

    def gather(self, value: T) -> list[T]:
        """The ``value`` of every process, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def gather_with_gradient(self, tensor: Tensor) -> Tensor:
        """The rows of ``tensor`` of every process, by rank: ``(n, …)`` → ``(sum of all n, …)``; n may differ.

        In the backward pass, each process gets the gradient of the sum of the losses of all processes.
        """
        if self.size == 1:
            return tensor
        counts = self.gather(len(tensor))
        gathered: Tensor = _Gather.apply(tensor, counts, self.rank)  # type: ignore[no-untyped-call]
        return gathered

    def first_does(self, act: Callable[[], None]) -> None:
        """Call ``act`` in the first process while the others wait. Raises UserError: in every process, if it does."""
        self.all_do(act if self.first else lambda: None)

    def all_do(self, act: Callable[[], None]) -> None:
        """Call ``act``, and wait for all processes to do so. Raises UserError: in every process, if one does."""
        problem = ""
        try:
            act()
        except UserError as error:
            problem = str(error)
        for one in self.gather(problem):
            if one:
                raise UserError(one)

    def wrap(self, model: nn.Module, shard: bool) -> nn.Module:
        """The model to train: the same one, wrapped in `DistributedDataParallel`, or sharded in place."""
        if self.size == 1:
            return model
        if shard:
            from torch.distributed.fsdp import fully_shard

            fully_shard(model)
            return model
        # A warning about 1 × 1 convolutions with channels last, where both strides describe the same memory.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        return DistributedDataParallel(model)


class _Gather(torch.autograd.Function):
    """`World.gather_with_gradient`."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, counts: list[int], rank: int) -> Tensor:  # type: ignore[override]
        ctx.range = sum(counts[:rank]), sum(counts[: rank + 1])
        padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        start, end = ctx.range
        return total[start:end], None, None


def _is_sharded(model: nn.Module) -> TypeGuard[FSDPModule]:
    return hasattr(model, "unshard")


@contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """A context in which every process has all weights of a sharded model, for calls other than ``forward``."""
    if not _is_sharded(model):
        yield
        return
    model.unshard()
    try:
        yield
    finally:
        model.reshard()


@contextmanager
def without_reduction(model: nn.Module, active: bool = True) -> Iterator[None]:
    """A context in which backward passes only add to the gradients of this process, if ``active``.

    The next backward pass outside of it reduces their sum over the processes.
    """
    if active and isinstance(model, DistributedDataParallel):
        with model.no_sync():
            yield
        return
    sharded = model if active and _is_sharded(model) else None
    if sharded is not None:
        sharded.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        if sharded is not None:
            sharded.set_requires_gradient_sync(True)


@contextmanager
def world() -> Iterator[World]:
    """Join the process group that ``torchrun`` started, with one GPU per process if there are GPUs.

    The threads of a gloo group need the interpreter's lock (GIL) to free the tensors that they have summed. If one of
    them still waits for it when the interpreter ends, the process aborts (Python before 3.14). So the threads end here:
    freeing the group joins them, without the lock if the last reference to the group is one of Python's. A wrapped
    model that is still in use refers to it from C++ (as do caches of FSDP) and would free it with the lock, which is a
    deadlock. Such a group is never freed.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if size == 1:
        yield World(0, 1, device)
        return
    # Some of PyTorch's modules have the group as the default of an argument, if they are imported after it is made, and
    # keep it. Without this import, DistributedDataParallel imports them.
    importlib.import_module("torch.distributed.fsdp")
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    group = distributed.group.WORLD
    try:
        yield World(distributed.get_rank(), size, device)
    finally:
        distributed.destroy_process_group()
        gc.collect()  # cycles that refer to the group
        if sys.getrefcount(group) > 2:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(group))
