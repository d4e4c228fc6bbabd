"""What all tasks do in the same way: train, resume, load, evaluate, and the demo.

Each function takes the run's folder, from which the task and its settings are known.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from regard.attribution.compared import Explainable
from regard.errors import UserError
from regard.files import write_text
from regard.kernels.packed import Kind
from regard.settings import from_dict, read, to_yaml
from regard.tasks.packing import packed
from regard.tasks.results import Scores, show_scores
from regard.tasks.spec import TaskSpec
from regard.tasks.table import spec_of
from regard.tasks.task import Notify, Predictor, Task
from regard.training import checkpoint as checkpoints
from regard.training import defaults, fingerprint, pretraining, report
from regard.training import run as runs
from regard.training.distributed import World, world
from regard.training.initial import check_initial
from regard.training.interrupt import Interrupted, exit_on_sigterm
from regard.training.log import Log
from regard.training.loop import fit
from regard.training.memory import enough_memory
from regard.training.progress import Progress
from regard.training.resume import changed


def train(task: str, config: Any, run: str | Path) -> Progress:
    """Train a model in a new folder, as ``regard train`` does.

    Args:
        task: name of the task, such as ``"translate"``.
        config: its settings: a dictionary of sections as in a file for ``--config``, or the task's dataclass.
        run: the folder, new or empty.

    Returns:
        The progress at the end of training.

    Raises:
        UserError: a setting is out of range, the folder is not empty, or the data cannot be used.
        regard.training.interrupt.Interrupted: Ctrl-C or SIGTERM; the state is saved, for `resume`.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp()) / "run"
        >>> tiny = {"model": {"dim": 8}, "data": {"builtin_pairs": 50}, "train": {"steps": 2}}
        >>> train("translate", tiny, run).step
        2
    """
    spec, run = spec_of(task), Path(run)
    if isinstance(config, Mapping):
        config = from_dict(spec.settings, config, "settings")
    problem = config.problem()
    if problem is not None:
        raise UserError(problem)
    code = spec.load()
    with exit_on_sigterm(), world() as process:
        process.first_does(lambda: runs.check_free(run))
        process.first_does(lambda: check_initial(config.train.init))
        notify = _notifier(process)
        data = code.read(config, notify)
        filled, chosen = defaults.fill(config, code.defaults(config, data))
        if chosen:
            notify(defaults.describe(chosen))

        def write(folder: Path) -> None:
            code.prepare(filled, data, folder, notify)
            fingerprint.save(folder, code.fingerprint(data))
            (folder / "config.yaml").write_text(to_yaml(filled), encoding="utf-8")

        process.first_does(lambda: runs.create(run, task, write))
        try:
            return _fit(spec, code, filled, run, data, process, resume=False)
        except BaseException:  # KeyboardInterrupt and SystemExit too
            # Without a checkpoint, the folder cannot be resumed, and it would block the corrected command.
            if process.first and not (checkpoints.exists(run) or pretraining.begun(run)):
                shutil.rmtree(run, ignore_errors=True)
            raise


def resume(run: str | Path, wanted: Any = None, task: str | None = None) -> Progress:
    """Resume a run from its last checkpoint.

    Args:
        run: the run's folder.
        wanted: settings; where they differ from the defaults, they replace the run's.
        task: the task that the run must have, if given.

    Raises:
        UserError: the folder is not a run of this task, its data have changed, or a setting may not change.
    """
    run = Path(run)
    runs.check(run, task)
    spec = spec_of(runs.kind(run))
    saved: Any = read(run / "config.yaml", spec.settings)
    settings = saved if wanted is None else changed(saved, wanted, spec.settings())
    if settings != saved and os.environ.get("RANK", "0") == "0":
        write_text(run / "config.yaml", to_yaml(settings))
    config = _located(settings, run)
    code = spec.load()
    with exit_on_sigterm(), world() as process:
        notify = _notifier(process)
        data = code.read(config, notify)
        process.first_does(lambda: fingerprint.check_resume(run, code.fingerprint(data), notify))
        return _fit(spec, code, config, run, data, process, resume=True)


def load(run: str | Path, checkpoint: str = "best", task: str | None = None, weights: Kind | None = None) -> Predictor:
    """The model of a trained run, or of several runs together, where the task permits it.

    Args:
        run: the run's folder; or a folder of runs, whose probabilities are averaged.
        checkpoint: ``"best"``, the one with the best validation metric, or ``"last"``.
        task: the task that the run must have, if given.
        weights: how the weights are stored, for inference only: see `regard.nn.packed_linears`; None: they are those
            of the model.

    Returns:
        A `Predictor`, with ``predict(inputs)``, ``look(input)`` and ``export(path)``.

    Raises:
        UserError: the folder is not a run of this task, a file is missing or damaged, or weights cannot be stored so.

    Example:
        >>> load("elsewhere/mine")
        Traceback (most recent call last):
        regard.errors.UserError: elsewhere/mine: there is no such run
    """
    folders = runs.together(Path(run), task)
    code, predictors = spec_of(runs.kind(folders[0])).load(), dict[Path, Predictor]()
    for folder in folders:
        predictor: Predictor = code.predictor(settings_of(folder), folder, checkpoint)
        predictors[folder] = predictor if weights is None else packed(predictor, weights)
    return predictors[folders[0]] if len(folders) == 1 else code.joined(predictors)


def evaluate(
    run: str | Path, data: str | None = None, *, checkpoint: str = "best", weights: Kind | None = None, **options: Any
) -> Scores:
    """Scores of a trained run, or of several together.

    Args:
        run: as in `load`.
        data: data in any format that training reads; None: held-out data of the run, if it has any.
        checkpoint: ``"best"`` or ``"last"``.
        weights: as in `load`.
        options: those of ``regard eval`` for this task, such as ``beam=1``.

    Returns:
        Score by name, each with how it was computed.

    Raises:
        UserError: the run or the data cannot be used.
    """
    folders = runs.together(Path(run))
    code, settings = spec_of(runs.kind(folders[0])).load(), [settings_of(folder) for folder in folders]
    own = {getattr(one.data, "valid", None) for one in settings}
    several = data is None and len(folders) > 1
    if several and (len(own) > 1 or None in own) and not fingerprint.same_data(folders):
        raise UserError(f"{run}: name data with --data, because what a run of it held out is what others learned")
    return code.evaluate(load(run, checkpoint, weights=weights), settings[0], folders[0], data, say, **options)


def explainable(run: str | Path, data: str | None = None, *, checkpoint: str = "best", limit: int = 20) -> Explainable:
    """Results of a trained run, for `regard.attribution.compared.compare`.

    Args:
        run: the run's folder.
        data: data in any format that training reads; None: held-out data of the run, if it has any.
        checkpoint: ``"best"`` or ``"last"``.
        limit: the largest number of results.

    Raises:
        UserError: the run or the data cannot be used, or the task's results cannot be explained.
    """
    run = Path(run)
    runs.check(run)
    code, config = spec_of(runs.kind(run)).load(), settings_of(run)
    return code.explainable(code.predictor(config, run, checkpoint), config, run, data, say, limit)


def demo(spec: TaskSpec, run: Path) -> str:
    """Train on built-in data, score and use the model, and draw its attention; returns the line that names drawings."""
    config, console = spec.demo.settings(), Console()
    train(spec.name, config, run)
    code = spec.load()
    filled = settings_of(run)
    predictor = code.predictor(filled, run, "best")
    console.print(f"\nOn {spec.demo.scored}", highlight=False)
    show_scores(code.evaluate(predictor, filled, run, None, say, **spec.demo.options), console)
    console.print()
    return code.finish_demo(predictor, filled, run, console)


def settings_of(run: Path) -> Any:
    """The settings of a run, with the paths of its data as they are now. Raises UserError: they cannot be read."""
    return _located(read(run / "config.yaml", spec_of(runs.kind(run)).settings), run)


def say(line: str) -> None:
    """Print a message that is not a result, on standard error."""
    print(line, file=sys.stderr)


def _fit(
    spec: TaskSpec, code: Task[Any, Any, Any], config: Any, run: Path, data: Any, process: World, *, resume: bool
) -> Progress:
    """Train and write the run's report, also if training is interrupted."""
    notify, name, unit = _notifier(process), spec.name, code.unit
    with enough_memory(config.train.batch_measure):
        trained = code.trainable(config, run, data, notify)
        size = sum(parameter.numel() for parameter in trained.model.parameters())
        batches = len(trained.batches(0))
        per_epoch = f"{batches:,} batch{'' if batches == 1 else 'es'} per epoch"
        notify(f"{trained.described} · {per_epoch} · {size:,} parameters · {run}")
        write_report = partial(
            report.write, run, name, parameters=size, unit=unit, metrics=trained.metrics, best_by=config.train.metric
        )
        log = Log(run, unit=unit, shown=process.first, tensorboard=config.train.tensorboard, metrics=trained.metrics)
        with runs.alone(run) if process.first else nullcontext():
            try:
                if not (resume and checkpoints.exists(run)):
                    _pretrain(code, config, run, data, trained.model, process, resume=resume)
                progress = fit(trained, config.train, run, process, log=log, resume=resume)
            except Interrupted:
                if process.first and checkpoints.exists(run):
                    reached = Progress(**checkpoints.load_state(run, "last")["progress"])
                    write_report(reached, samples=None)
                raise
            if process.first:
                code.finish(config, run, data, notify)
                samples = code.samples(code.predictor(config, run, "best"), config, data)
                write_report(progress, samples=samples)
        return progress


def _pretrain(
    code: Task[Any, Any, Any], config: Any, run: Path, data: Any, model: nn.Module, process: World, *, resume: bool
) -> None:
    """Pretrain, if the settings say so, and copy the weights into ``model``."""
    if hasattr(config, "pretrain") and config.pretrain.wanted:
        notify = _notifier(process)
        torch.manual_seed(config.train.seed)
        masked = code.pretraining(config, run, data, notify)
        pretraining.pretrain(masked, config.train, run, process, notify, resume=resume)
        pretraining.load_pretrained(model, run, notify)


def _located(config: Any, run: Path) -> Any:
    """The settings of a run with the paths of its data as they are now."""
    paths = [name for name in ("train", "valid", "titles", "images") if hasattr(config.data, name)]
    data = {name: runs.locate(run, getattr(config.data, name)) for name in paths}
    located = {"data": replace(config.data, **data)}
    if hasattr(config, "pretrain"):
        located["pretrain"] = replace(config.pretrain, data=runs.locate(run, config.pretrain.data))
    return replace(config, **located)


def _notifier(process: World) -> Notify:
    return say if process.first else lambda line: None
