"""Helpers of tests that interrupt and resume training: a log that sends a signal, and the tensors of a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from regard.training import checkpoint
from regard.training.log import Log


def interrupting(at: int, number: int) -> type[Log]:
    """A log that sends a signal to this process at step ``at``."""

    class Interrupting(Log):
        def step(self, step: int, *arguments: object, **figures: Any) -> None:
            if step == at:
                os.kill(os.getpid(), number)

    return Interrupting


def tensors(folder: Path, name: str = "model", which: str = "last") -> dict[str, torch.Tensor]:
    """The tensors of one file of the last or the best checkpoint."""
    return checkpoint.load_tensors(folder, which, name)


def assert_same(one: Path, other: Path) -> None:
    """Both runs ended with bitwise equal weights and optimizer states."""
    for name in ("model", "optimizer"):
        first, second = tensors(one, name), tensors(other, name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
