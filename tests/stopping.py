"""What tests of stopping and going on share: a log that interrupts, and the tensors of a checkpoint."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file

from regard.train.log import Log


def interrupting(at: int, number: int) -> type[Log]:
    """A log that sends this process a signal when step ``at`` is taken."""

    class Impatient(Log):
        def step(self, step: int, *arguments: object, **figures: object) -> None:
            if step == at:
                os.kill(os.getpid(), number)

    return Impatient


def tensors(folder: Path, name: str = "model", which: str = "last") -> dict[str, torch.Tensor]:
    """The tensors of one file of the checkpoint that ``which`` points at."""
    pointed = json.loads((folder / f"{which}.json").read_text())["checkpoint"]
    return load_file(folder / "checkpoints" / pointed / f"{name}.safetensors")


def assert_same(one: Path, other: Path) -> None:
    """Both runs ended with the same weights and optimizer, to the bit."""
    for name in ("model", "optimizer"):
        first, second = tensors(one, name), tensors(other, name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
