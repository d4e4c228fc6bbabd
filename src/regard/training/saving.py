"""Saves a training run as a checkpoint, and restores it: with FSDP2, each process its own rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regard.training import checkpoint
from regard.training.average import MovingAverage, used
from regard.training.distributed import World
from regard.training.log import Log
from regard.training.progress import Progress
from regard.training.state import (
    fill_moments,
    fill_weights,
    gather_tensors,
    gather_weights,
    random_states,
    restore_moments,
    restore_random_states,
    restore_weights,
    seed_random_states,
)


@dataclass(frozen=True)
class Saver:
    """What is saved of a run besides its progress, and where.

    Attributes:
        run: the run's folder.
        model: the wrapped model.
        optimizers: their states are saved.
        average: the moving average of the weights, if there is one; it is then the checkpoint's ``model``, and the
            weights that are trained are its ``training``.
        world: this process and their number.
        sharded: whether each process saves and reads its own rows.
        seed: of random states for which the checkpoint has none.
        log: prints messages.
    """

    run: Path
    model: nn.Module
    optimizers: list[torch.optim.Optimizer]
    average: MovingAverage | None
    world: World
    sharded: bool
    seed: int
    log: Log

    def save(self, at: Progress, which: list[checkpoint.Which]) -> None:
        """Save the run at ``at`` as the last checkpoint, the best one or both. Raises UserError: it cannot be written.

        All processes call it.
        """
        with used(self.average):
            tensors = gather_tensors(self.model, self.optimizers, sharded=self.sharded)
        if self.average is not None:
            tensors["training"] = gather_weights(self.model, sharded=self.sharded)
        state = {"progress": asdict(at), "random": self.world.gather(random_states())}
        # Under another name than after the validation: an existing checkpoint is not written again.
        name = checkpoint.name_of(at.step) + "-unvalidated" * at.validation_due
        self._write(name, tensors, state, which, at.recent)

    def save_mean(self, at: Progress) -> None:
        """Save the model's weights, which are the mean of several checkpoints, as the best checkpoint; see `save`."""
        tensors = {"model": gather_weights(self.model, sharded=self.sharded)}
        self._write(f"mean-{at.step:07d}", tensors, {"progress": asdict(at)}, ["best"], at.recent)

    def restore(self) -> Progress:
        """Restore the last checkpoint, and return its progress. Raises UserError: it cannot be read."""
        state = checkpoint.load_state(self.run, "last")
        self._restore_weights("model")
        with checkpoint.opened(self.run, "last", "optimizer") as moments:
            if self.sharded:
                fill_moments(self.model, self.optimizers, moments)
            else:
                restore_moments(self.model, self.optimizers, moments.everything())
        if self.average is not None:
            self.average.swap()  # the loaded weights are the average
            self._restore_weights("training")
        at = Progress(**state["progress"])
        self._restore_random(state["random"], at.step)
        return at

    def _write(
        self,
        name: str,
        tensors: dict[str, dict[str, Tensor]],
        state: dict[str, Any],
        which: list[checkpoint.Which],
        kept: list[str],
    ) -> None:
        if self.sharded:
            checkpoint.save_sharded(self.run, name, tensors, state, which, kept, self.world)
        else:
            self.world.first_does(lambda: checkpoint.save(self.run, name, tensors, state, which, kept))

    def _restore_weights(self, name: str) -> None:
        with checkpoint.opened(self.run, "last", name) as weights:
            if self.sharded:
                fill_weights(self.model, weights)
            else:
                restore_weights(self.model, weights.everything())

    def _restore_random(self, states: list[dict[str, Any]], step: int) -> None:
        """Restore this process's random states, one for each process; additional processes draw new ones."""
        if len(states) != self.world.size:
            self.log.message(
                f"resuming with {self.world.size} process{'es' * (self.world.size > 1)}, the checkpoint is of "
                f"{len(states)}: from here on, the run is not bit for bit that of an uninterrupted one"
            )
        if self.world.rank < len(states):
            restore_random_states(states[self.world.rank])
        else:
            seed_random_states(self.seed, step, self.world.rank)
