"""The phase of a run before its training: pretrains on masked words, in a folder of the run with its own checkpoints.

It is a training like any other (`regard.training.loop.fit`), so that it is stopped, resumed and spread over processes
in the same way. The training then begins with its best weights, read from its checkpoint.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from regard.errors import UserError
from regard.training import checkpoint
from regard.training.config import TrainConfig
from regard.training.distributed import World
from regard.training.initial import Notify, copy_weights
from regard.training.log import Log
from regard.training.loop import fit
from regard.training.masked import MaskedTexts
from regard.training.progress import Progress

_FOLDER = "pretraining"
_TEXTS = "texts.json"
_EPOCHS = 1_000_000
"""More than any pretraining has; its length is that of pretrain.minutes and pretrain.steps."""
_STEPS = 100
"""The number of steps between validations, if an epoch has fewer."""


def folder_of(run: Path) -> Path:
    """The folder of the pretraining's checkpoints."""
    return run / _FOLDER


def begun(run: Path) -> bool:
    """Whether the pretraining of a run has a checkpoint, from which it can be resumed."""
    return checkpoint.exists(folder_of(run))


def pretrain(task: MaskedTexts, train: TrainConfig, run: Path, world: World, notify: Notify, *, resume: bool) -> None:
    """Pretrain, or continue it, until its last step or minute.

    Args:
        task: the model and its texts.
        train: the settings of the training that follows; precision, seed, checkpoints, compilation and FSDP2 are as
            there.
        run: the run's folder.
        world: this process and their number.
        notify: prints a message for the user.
        resume: whether the run is resumed.

    Raises:
        UserError: see `fit`; or the texts have changed since the run began.
        regard.training.interrupt.Interrupted: Ctrl-C or SIGTERM; the state is saved.
    """
    folder, settings = folder_of(run), task.config
    if resume and begun(run):
        if checkpoint.read_json(folder / _TEXTS).get("digest") != task.digest:
            raise UserError(
                f"{run}: cannot resume, because the texts of its pretraining have changed since it began; restore them "
                "(--pretrain.data), or train a new run in another folder"
            )
        at = Progress(**checkpoint.load_state(folder, "last")["progress"])
        if at.finished:
            return
    else:
        world.first_does(lambda: _create(folder, task))
    config = replace(
        TrainConfig(), epochs=_EPOCHS, steps=settings.steps or None, minutes=settings.minutes or None,
        learning_rate=settings.learning_rate, precision=train.precision, save_every=train.save_every, seed=train.seed,
        fsdp=train.fsdp, compile=train.compile, evaluate_every=max(_STEPS, len(task.batches(0))),
    )  # fmt: skip
    notify(
        f"pretraining: on {len(task.train):,} texts or windows of texts, {task.held_out:,} texts set aside; "
        f"{sum(one.numel() for one in task.model.parameters()):,} parameters"
    )
    log = Log(
        folder, unit=f"masked {task.unit}", shown=world.first, metrics=task.metrics, phase="pretraining"
    )  # fmt: skip
    fit(task, config, folder, world, log=log, resume=resume)
    notify(f"pretraining: {summary(run)}")


def load_pretrained(model: nn.Module, run: Path, notify: Notify) -> None:
    """Copy the best weights of the pretraining into ``model``, and say which weights it did not have."""
    weights = checkpoint.load_tensors(folder_of(run), "best", "model")
    prefix = "encoder."
    encoder = {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
    copy_weights(model, encoder, "the pretraining", notify)


def summary(run: Path) -> str:
    """What the pretraining of a run reached, in a line."""
    folder = folder_of(run)
    texts = checkpoint.read_json(folder / _TEXTS)
    last, best = (Progress(**checkpoint.load_state(folder, which)["progress"]) for which in ("last", "best"))
    figures, unit = best.figures, texts["unit"]
    return (
        f"restores {figures['accuracy']:.1f} % of the masked {unit} of {texts['held_out']:,} texts set aside "
        f"({figures['most_frequent']:.1f} % by always guessing the most frequent one), loss {figures['loss']:.3f}; "
        f"{last.step:,} steps in {last.spent / 60:.1f} minutes"
    )


def _create(folder: Path, task: MaskedTexts) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot create the folder ({error.strerror or error})") from error
    facts = {"digest": task.digest, "unit": task.unit, "held_out": task.held_out}
    checkpoint.write_json(folder / _TEXTS, facts)
