"""The training loop, the same for every task and for one process or many.

The position of training is (epoch, index of the batch in the epoch). The order of the data and the learning rate are
pure functions of it and of the seed, and the random states are saved, so a run that is killed and resumed takes exactly
the steps of an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from regard.errors import UserError
from regard.training import checkpoint
from regard.training import run as runs
from regard.training.average import MovingAverage, mean_used, used
from regard.training.compiling import compile_model
from regard.training.config import TrainConfig
from regard.training.defaults import known
from regard.training.distributed import World, unsharded
from regard.training.gradient import add_gradients, scale_gradients, share_of_loss
from regard.training.initial import load_initial
from regard.training.interrupt import Interrupt
from regard.training.log import Log
from regard.training.memory import keep_freed_memory
from regard.training.metric import metric_named
from regard.training.optimizer import optimizers
from regard.training.progress import Progress
from regard.training.saving import Saver
from regard.training.schedule import schedule_factor, warmup_factor
from regard.training.state import random_states, restore_random_states
from regard.training.trainable import BatchTrainable, Trainable
from regard.training.validation import Part, Stopped, examples


def fit(
    task: Trainable | BatchTrainable,
    config: TrainConfig,
    run: Path,
    world: World,
    *,
    log: Log,
    resume: bool = False,
) -> Progress:
    """Train, validate and save until the last epoch, step or minute, or until early stopping.

    Args:
        task: model, data and loss.
        config: how to train.
        run: the folder of checkpoints.
        world: this process and their number.
        log: shows progress and keeps the metrics.
        resume: continue from the last checkpoint.

    Returns:
        The progress at the end.

    Raises:
        UserError: ``config.metric`` is not a metric of the task, no weight of ``config.init`` fits, a checkpoint
            cannot be read or written, or the loss is no longer finite.
        regard.training.interrupt.Interrupted: Ctrl-C or SIGTERM; the state is saved.
    """
    if config.init is not None and not (resume and checkpoint.exists(run)):
        source = runs.locate(run, config.init) if resume else config.init
        load_initial(task.model, Path(str(source)), run, log.message)
    return TrainingRun(task, config, run, world, log).go(resume)


class TrainingRun:
    """The state of one training run; arguments as of `fit`."""

    def __init__(self, task: Trainable | BatchTrainable, config: TrainConfig, run: Path, world: World, log: Log):
        keep_freed_memory()
        self.metric = metric_named(config.metric, task.metrics)
        self.task, self.config, self.run, self.world, self.log = task, config, run, world, log
        task.model.to(world.device)
        self.model = world.wrap(task.model, config.fsdp)
        self.parameters = list(self.model.parameters())  # a traversal of all modules takes as long as a small layer
        sharded = config.fsdp and world.size > 1
        self.optimizers = optimizers(self.model, config, fused=not sharded)
        self.average = MovingAverage(self.model, config.ema) if config.ema else None
        self.saver = Saver(run, self.model, self.optimizers, self.average, world, sharded, config.seed, log)
        self.at = Progress()
        self.epochs = known(config.epochs)
        self.interrupt = Interrupt()
        self.valid_rows = examples(task.validation_count, config.validate_on, config.seed)
        torch.manual_seed(config.seed + 1 + world.rank)

    def go(self, resume: bool) -> Progress:
        """Train to the end, from the last checkpoint if ``resume`` and there is one."""
        if resume and checkpoint.exists(self.run):
            self._restore()
        if resume:
            self.log.resumed(self.at.step)
        if self.config.compile:
            self.compile()
        if len(self.valid_rows) < self.task.validation_count:
            count, total = len(self.valid_rows), self.task.validation_count
            self.log.message(f"validation: on a fixed random sample of {count:,} of {total:,} examples")
        with self.interrupt, self.log:
            try:
                self._train()
                if self.config.average > 1 and len(self.at.recent) > 1:
                    self._try_mean()
            except Stopped:
                raise self.interrupt.interrupted(self.at.step) from None
        return self.at

    def compile(self) -> None:
        """Compile the model for training steps. Raises UserError: it cannot be compiled."""
        if not len(self.task.batches(0)):
            return
        self.log.message("compiling the model for training steps (--train.compile) …")
        loss, bfloat16 = share_of_loss(self.task), self.config.precision == "bfloat16"
        seconds = compile_model(self.task.model, self.model, loss, self.task.batches, self.world, bfloat16=bfloat16)
        seconds = float(self.world.sum(seconds if self.world.first else 0.0)[0])
        self.at.compiling, self.at.spent = self.at.compiling + seconds, self.at.spent + seconds
        self.log.message(f"compiled in {seconds:.0f} seconds, which are part of the time of training")

    def _train(self) -> None:
        """Train to the end. Raises `Stopped`: a signal came; the state is saved."""
        while self.at.epoch < self.epochs and not self.at.finished:
            batches = self.task.batches(self.at.epoch)
            while self.at.validation_due or (self.at.index < len(batches) and not self.at.finished):
                if not self.at.validation_due:
                    self.train_step(batches)
                due = self.at.validation_due or self._evaluation_due(len(batches))
                save = self.at.step % self.config.save_every == 0
                if due:
                    self._evaluate()
                elif save:
                    self.saver.save(self.at, ["last"])
                if self._stopping():
                    if not (due or save):
                        self.saver.save(self.at, ["last"])
                    raise Stopped
            if not self.at.finished:
                self.at.epoch, self.at.index = self.at.epoch + 1, 0

    def _stopping(self) -> bool:
        """Whether any process got a signal."""
        return bool(self.world.sum(float(self.interrupt.signal_number))[0])

    def _progress(self, batches: int) -> float:
        """The fraction of the training that is done, by epochs, steps or minutes, whichever is largest."""
        return max(self._budget(), (self.at.epoch + self.at.index / batches) / self.epochs)

    def _budget(self) -> float:
        """The fraction of ``train.steps`` or ``train.minutes`` that is used; 0 if neither is set."""
        steps, minutes = self.config.steps, self.config.minutes
        return max(self.at.step / steps if steps else 0.0, self.at.spent / (60 * minutes) if minutes else 0.0)

    def train_step(self, batches: Sequence[list[int]]) -> None:
        """One step with the next of ``batches``, those of the present epoch, and its log."""
        began, config, world = time.perf_counter(), self.config, self.world
        accumulated = batches[self.at.index : self.at.index + config.accumulate]
        progress = self._progress(len(batches))
        self.at.warm = max(self.at.warm, warmup_factor(self.at.step, progress, config.warmup))
        learning_rate = config.learning_rate * self.at.warm
        learning_rate *= schedule_factor(self.at.step, progress, config.warmup, config.schedule)
        if not self.model.training:
            self.model.train()
        total, tokens = add_gradients(
            share_of_loss(self.task), self.model, accumulated, world, bfloat16=config.precision == "bfloat16"
        )
        self._check_finite("loss", total)
        # None: PyTorch's choice, which on a CPU is one call per tensor.
        foreach = None if config.fsdp and world.size > 1 else True
        # DDP and FSDP2 average gradients over the processes; the loss is a mean over all tokens.
        norm = scale_gradients(self.parameters, world.size / tokens, config.clip, foreach=foreach)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None
        self.at.index += len(accumulated)
        self.at.step += 1
        if self.average is not None:
            self.average.update(self.at.step)
        self.at.tokens += int(tokens)
        seconds = time.perf_counter() - began
        self.at.seconds += seconds
        # All processes use the clock of the first, so that they stop at the same step.
        self.at.spent += float(world.sum(seconds if world.first else 0.0)[0]) if config.minutes else seconds
        self.log.step(
            self.at.step, self.at.epoch, progress, loss=total / tokens, tokens=int(tokens),
            samples=sum(len(rows) for rows in accumulated), seconds=seconds, rate=learning_rate, norm=norm,
        )  # fmt: skip

    def _evaluation_due(self, batches: int) -> bool:
        every = self.config.evaluate_every
        due = self.at.index >= batches if every is None else self.at.step % every == 0
        return due or self._progress(batches) >= 1

    def _evaluate(self) -> None:
        began, random = time.perf_counter(), random_states()
        try:
            with used(self.average):
                figures, better = self._validated()
        except Stopped:
            self.at.validation_due = True
            restore_random_states(random)
            self.saver.save(self.at, ["last"])
            raise
        self.at.validation_due = False
        self.at.spent += float(self.world.sum(time.perf_counter() - began if self.world.first else 0.0)[0])
        self.at.waited = 0 if better else self.at.waited + 1
        waited = self.config.patience is not None and self.at.waited >= self.config.patience
        self.at.finished = waited or self._budget() >= 1
        self.at.figures = figures
        self.log.evaluation(self.at.step, self.at.epoch, figures, better=better, stopped=waited)
        if self.config.average > 1:
            self.at.recent = [*self.at.recent, checkpoint.name_of(self.at.step)][-self.config.average :]
        self.saver.save(self.at, ["last", "best"] if better else ["last"])

    def _validated(self) -> tuple[dict[str, float], bool]:
        """The metrics of the current weights, and whether they are the best so far."""
        self.model.eval()
        with torch.no_grad(), unsharded(self.model), self.log.validation() as show:
            part = Part(self.valid_rows, self.world, stopping=self._signalled, show=show)
            figures = part.finish(self.task.evaluate(part))
        loss, value = figures["loss"], figures[self.metric.name]
        self._check_finite("validation loss", loss)
        rank = self.metric.rank
        better = self.at.best is None or rank(value, loss) > rank(self.at.best, self.at.best_loss)
        if better:
            self.at.best, self.at.best_loss = value, loss
        return figures, better

    def _signalled(self) -> bool:
        return bool(self.interrupt.signal_number)

    def _check_finite(self, name: str, loss: float) -> None:
        """Raises UserError: the loss is infinite or NaN."""
        if not math.isfinite(loss):
            kept = "; the last checkpoint is kept" if checkpoint.exists(self.run) else ""
            raise UserError(
                f"training: the {name} is {loss} at step {self.at.step}{kept}; try a smaller --train.learning-rate"
            )

    def _try_mean(self) -> None:
        """Validate the mean of the last validated weights, and save it as the best checkpoint if it is better."""
        with mean_used(self.model, self.run, self.at.recent):
            figures, better = self._validated()
            weights = f"mean of {len(self.at.recent)}"
            self.log.evaluation(self.at.step, self.at.epoch, figures, better=better, weights=weights)
            if better:
                self.at.figures = figures
                self.saver.save_mean(self.at)

    def _restore(self) -> None:
        self.at = self.saver.restore()
        waited = self.config.patience is not None and self.at.waited >= self.config.patience
        # The run may have been lengthened.
        self.at.finished = not self.at.validation_due and (waited or self._budget() >= 1)
