"""A small training job for tests of the training loop; `main` runs it in a process of its own."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regard.data.batching import batches
from regard.data.padding import pad
from regard.models.rnn import RNNTranslator
from regard.models.transformer import TransformerTranslator
from regard.training import checkpoint
from regard.training.config import TrainConfig
from regard.training.distributed import world
from regard.training.log import Log
from regard.training.loop import fit
from regard.training.metric import Metric
from regard.training.progress import Progress
from regard.training.validation import Part

VOCABULARY = 23


class Reverse:
    """The task of reversing a sequence of tokens; token 1 is BOS, token 2 is EOS."""

    metrics = (Metric("loss"),)

    def __init__(self, *, dropout: float = 0.1, rows: int = 67, kind: str = "gru"):
        random = torch.Generator().manual_seed(5)
        lengths = torch.randint(1, 8, (rows,), generator=random).tolist()
        self.rows = [torch.randint(3, VOCABULARY, (n,), generator=random).tolist() for n in lengths]
        torch.manual_seed(0)
        self.model: Any = RNNTranslator(VOCABULARY, VOCABULARY, embedding=11, dim=14, dropout=dropout)
        if kind == "transformer":
            self.model = TransformerTranslator(VOCABULARY, VOCABULARY, dim=32, heads=2, hidden=64, dropout=dropout)
        if kind == "small":
            self.model = TransformerTranslator(
                VOCABULARY, VOCABULARY, dim=8, heads=2, encoder_layers=1, decoder_layers=1, hidden=16, dropout=dropout
            )  # fmt: skip

    def batches(self, epoch: int) -> Sequence[list[int]]:
        return batches([(len(row), len(row) + 1) for row in self.rows], tokens=64, seed=3, epoch=epoch)

    def loss(self, model: nn.Module, rows: list[int]) -> tuple[Tensor, int]:
        source, lengths = pad([self.rows[i] for i in rows], 0)
        target, target_lengths = pad([[1, *self.rows[i][::-1], 2] for i in rows], 0)
        return model(source, lengths, target, target_lengths), sum(len(self.rows[i]) + 1 for i in rows)

    @property
    def validation_count(self) -> int:
        return len(self.rows)

    def evaluate(self, part: Part) -> dict[str, float]:
        loss, count = 0.0, 0
        for rows in part.batches(5):
            _pause("validation")
            batch_loss, batch_count = self.loss(self.model, list(rows))
            loss, count = loss + float(batch_loss), count + batch_count
        total, tokens = part.sum(loss, count)
        return {"loss": total / tokens}


def run(
    folder: Path, *, resume: bool = False, dropout: float = 0.1, kind: str = "gru", **settings: Any
) -> tuple[Progress, Reverse]:
    """Train in ``folder``; ``settings`` are those of `TrainConfig`. Returns the progress and the task."""
    config = TrainConfig(**{"epochs": 3, "warmup": 5, "save_every": 3, **settings})  # type: ignore[arg-type]
    task = Reverse(dropout=dropout, kind=kind)
    with world() as processes:
        log = Log(folder, shown=processes.first)
        return fit(task, config, folder, processes, log=log, resume=resume), task


def _pause(phase: str) -> None:
    """Sleep if ``REGARD_TEST_PAUSE`` has this phase, as in ``validation:3:1.5``: from its third call on, 1.5 s each."""
    name, call, seconds = (os.environ.get("REGARD_TEST_PAUSE") or "::").split(":")
    if phase != name:
        return
    _CALLS.append(phase)
    if len(_CALLS) >= int(call):
        (Path(sys.argv[1]) / "pausing").touch()
        end = time.monotonic() + float(seconds)
        while (left := end - time.monotonic()) > 0:
            time.sleep(left)  # a signal ends a sleep


_CALLS: list[str] = []


def _slow_saving() -> None:
    """Make writing a file of a checkpoint pause."""
    module: Any = checkpoint
    save_file = module.save_file

    def slow(tensors: dict[str, Tensor], path: Path) -> None:
        save_file(tensors, path)
        _pause("saving")

    module.save_file = slow


def main() -> None:
    """``python job.py FOLDER '{"epochs": 2}'``: train with these settings, or resume if the folder has a checkpoint."""
    folder = Path(sys.argv[1])
    settings = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if settings.get("compile"):  # to graphs of PyTorch's operations, which takes a tenth of the time
        torch.compile = partial(torch.compile, backend="aot_eager")  # type: ignore[assignment]
    torch.set_num_threads(1)
    _slow_saving()
    run(folder, resume=(folder / "last.json").exists(), **settings)


if __name__ == "__main__":
    main()
