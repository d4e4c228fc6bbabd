"""Several processes, started by ``torchrun``: who we are, sums over all, and the wrapped model."""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from regard.errors import UserError


@dataclass(frozen=True)
class World:
    """This process among all: ``rank`` of ``size``, computing on ``device``."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def sum(self, *numbers: float) -> list[float]:
        """Each number summed over all processes."""
        if self.size == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return [float(number) for number in total.tolist()]

    def gather(self, thing: object) -> list[object]:
        """Each process's ``thing``, by rank."""
        things: list[object] = [None] * self.size
        if self.size == 1:
            return [thing]
        distributed.all_gather_object(things, thing)
        return things

    def first_does(self, act: Callable[[], None]) -> None:
        """The first process acts, the others wait for it. Raises UserError: in all, what it raised in the first."""
        problem = ""
        if self.first:
            try:
                act()
            except UserError as error:
                problem = str(error)
        problem = str(self.gather(problem)[0])
        if problem:
            raise UserError(problem)

    def wrap(self, model: nn.Module, shard: bool) -> nn.Module:
        """The model to train: itself, a `DistributedDataParallel` copy of it, or itself sharded in place."""
        if self.size == 1:
            return model
        if shard:
            fully_shard(model)
            return model
        # Said of 1 × 1 convolutions with channels last, whose two ways to count strides are the same memory.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        return DistributedDataParallel(model)


@contextmanager
def whole(model: nn.Module) -> Iterator[None]:
    """Inside, every process has all the weights of a sharded model, for calls other than ``forward``."""
    if not isinstance(model, FSDPModule):
        yield
        return
    model.unshard()
    try:
        yield
    finally:
        model.reshard()


@contextmanager
def world() -> Iterator[World]:
    """Join the processes that ``torchrun`` started, one GPU each where there are any; leave them at the end."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if size == 1:
        yield World(0, 1, device)
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if device.type == "cpu":
        # Whoever lets go of gloo's group last waits for its threads and keeps the interpreter's lock meanwhile, which
        # they may need to let go of a tensor (PyTorch 2.13): now and then a process never ended. So nobody does.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(distributed.group.WORLD))
    try:
        yield World(distributed.get_rank(), size, device)
    finally:
        distributed.destroy_process_group()
