"""A task of classification: reads labelled examples, trains on them, scores and reports."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from rich.console import Console
from torch import Tensor, nn

from regard.data import split
from regard.data.fold import Fold
from regard.data.labelled import Examples, Labelled
from regard.errors import UserError
from regard.tasks.families.classify.held_out import absent, set_aside
from regard.tasks.families.classify.label_trainable import LabelsTrainable
from regard.tasks.families.classify.labeller import Labeller
from regard.tasks.families.classify.settings import ClassifyTrainConfig
from regard.tasks.families.classify.trainable import ClassifyTrainable, Sets
from regard.tasks.fitted.companion import Fitted, save_companion
from regard.tasks.results import Scores
from regard.tasks.task import Notify, Task, check_fitting, own_data
from regard.training import checkpoint as checkpoints
from regard.training.defaults import bounded, epochs
from regard.training.fingerprint import Fingerprint, check_validation

_BATCHES_PER_EPOCH = 16

PartName = Literal["train", "valid"]


class ClassifyDataConfig(Protocol):
    """The settings of data that the family needs: where the examples are."""

    @property
    def train(self) -> str | None:
        """Examples to train on; None: the built-in ones."""

    @property
    def valid(self) -> str | None:
        """Examples to validate on; None: a part of the training data."""

    @property
    def fold(self) -> str | None:
        """The fold of the training data to validate on, such as ``"1/5"``; None: a tenth is set aside."""


class ClassifyConfig(Protocol):
    """The settings that the family needs."""

    @property
    def data(self) -> ClassifyDataConfig:
        """See `ClassifyDataConfig`."""

    @property
    def train(self) -> ClassifyTrainConfig:
        """See `ClassifyTrainConfig`."""


Config = TypeVar("Config", bound=ClassifyConfig)
Labels = TypeVar("Labels", bound=Labeller[Any, Any])


class ClassifyTask(Task[Config, Sets[Examples], Labels], Generic[Config, Examples, Labels]):
    """A `Task` for one kind of input, such as images."""

    built_in: str
    """The built-in examples in a word, such as ``"digits"``."""
    built_in_source: str
    """What they are, such as ``"the handwritten digits of scikit-learn"``."""
    place: str
    """Where the classes are expected in the user's data, for the error that there is only one."""
    drawing: str
    """The name of the file that the demo draws."""

    @abstractmethod
    def examples(
        self, config: Config, path: str | None, *, part: PartName | None = None, names: tuple[str, ...] | None = None
    ) -> Examples:
        """Read examples.

        Args:
            config: how to read them.
            path: where they are; None: the built-in ones.
            part: the part to read of data that are divided into parts.
            names: the known classes, of which each example must have one; None: the classes of the data.

        Raises:
            UserError: they cannot be used.
        """

    @abstractmethod
    def build(self, config: Config, run: Path) -> tuple[nn.Module, Labels]:
        """A new model with random weights, and the labeller that has it as it is used after training.

        Args:
            config: the settings.
            run: the run's folder, with the files of `prepare`.
        """

    def fitted(self, config: Config, parts: Sequence[Examples]) -> Fitted | None:
        """The model beside the network, fitted to these examples: see `Companion`; by default, there is none."""
        return None

    def augment(self, config: Config, inputs: tuple[Tensor, ...], target: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Change the inputs of a training batch and their targets ``(B, classes)`` at random; by default, they stay."""
        return inputs, target

    def read(self, config: Config, notify: Notify) -> Sets[Examples]:
        """See `Task`."""
        data, seed = config.data, config.train.seed
        fold = None if data.fold is None else Fold.parse(data.fold)
        validation = f"the built-in {self.built_in} have a validation set"
        path = own_data(data.train, data.valid, f"the built-in {self.unit}, {self.built_in_source}", validation, notify)
        if path is None:
            return set_aside(self.examples(config, None), seed, notify if fold else lambda line: None, fold)
        train = self._read(config, path, notify, part="train")
        if len(train.names) < 2 and not train.several:
            raise UserError(f"{path}: has one class, {train.names[0]!r}, and needs at least two; {self.place}")
        valid = path if data.valid is None and "valid" in train.parts else data.valid
        if fold and valid is not None:
            raise UserError(
                f"data.fold: {path} has a folder for validation; name the folder to divide with --data.train"
            )
        if valid is None:
            sets = set_aside(train, seed, notify, fold)
        else:
            sets = Sets(train, self._read(config, valid, notify, part="valid", names=train.names))
        if train.several:
            for message in absent(sets):
                notify(message)
        both = split.repeated(sets.train.keys, sets.valid.keys)
        if both:
            notify(split.shared_notice(both, len(sets.valid.keys), self.unit))
        return sets

    def fingerprint(self, sets: Sets[Examples]) -> Fingerprint:
        """See `Task`."""
        return Fingerprint.of(self.unit, _rows(sets.train), _rows(sets.valid), sets.train.names)

    def defaults(self, config: Config, sets: Sets[Examples]) -> Mapping[str, object]:
        """Batch size and epochs by the number of examples.

        The number of steps grows with the square root of the number of examples, from 150 for the smallest data;
        benchmarks/defaults.py measures what comes of it.
        """
        count = len(sets.train.labels)
        batch = config.train.batch or bounded(count / _BATCHES_PER_EPOCH, 8, 128)
        return {"train.batch": batch, "train.epochs": epochs(max(150.0, 12 * math.sqrt(count)), count / batch)}

    def trainable(self, config: Config, run: Path, sets: Sets[Examples], notify: Notify) -> ClassifyTrainable[Examples]:
        """See `Task`."""
        torch.manual_seed(config.train.seed)
        model, labeller = self.build(config, run)
        kind = LabelsTrainable if sets.train.several else ClassifyTrainable
        return kind(config.train, model, labeller, sets, partial(self.augment, config))

    def finish(self, config: Config, run: Path, sets: Sets[Examples], notify: Notify) -> None:
        """See `Task`: fit the model beside the network once more, to the examples that were set aside, too."""
        if sets.aside:
            self.fit_companion(config, (sets.train, sets.valid), run, notify, complete=True)

    def fit_companion(
        self, config: Config, parts: Sequence[Examples], run: Path, notify: Notify, *, complete: bool = False
    ) -> None:
        """Write the model of `fitted`, if there is one; ``complete``: the validation examples are among ``parts``."""
        model = self.fitted(config, parts)
        if model is not None:
            save_companion(model, run, complete=complete)
            notify(model.describe() + (", for new inputs" if complete else ""))

    def predictor(self, config: Config, run: Path, checkpoint: str) -> Labels:
        """See `Task`."""
        model, labeller = self.build(config, run)
        checkpoints.fill(model, run, checkpoint)
        labeller.model.eval()
        return labeller

    def joined(self, predictors: Mapping[Path, Labels]) -> Labels:
        """See `Task`: a labeller with the mean of their probabilities."""
        check_fitting({folder: _fitting(one) for folder, one in predictors.items()})
        first: Any
        first, *others = predictors.values()
        together: Labels = replace(first, others=tuple(others))
        return together

    def score(self, labeller: Labels, config: Config, run: Path, path: str | None, notify: Notify) -> Scores:
        """What `evaluate` returns; ``config`` with the options of the command. Raises UserError: see `evaluated`."""
        labeller, examples = self.evaluated(labeller, config, run, path, notify)
        return labeller.score(examples).scores(self.unit)

    def evaluated(
        self, labeller: Labels, config: Config, run: Path, path: str | None, notify: Notify
    ) -> tuple[Labels, Examples]:
        """The examples at ``path``, and the labeller that may be scored on them; None: the run's validation examples.

        Raises:
            UserError: they cannot be used, or the run's own have changed since training.
        """
        if path is None:
            return labeller.for_held_out, self._own_validation(config, run, labeller.names, notify)
        return labeller, self._read(config, path, notify, names=labeller.names)

    def with_options(self, config: Config, path: str | None, **options: object) -> Config:
        """The settings with options of the command for the data at ``path``; None: as in training."""
        settings: Any = config
        given = {name: value for name, value in options.items() if value is not None and path is not None}
        changed: Config = replace(settings, data=replace(settings.data, **given))
        return changed

    def samples(self, labeller: Labels, config: Config, sets: Sets[Examples]) -> Sequence[str]:
        """The accuracy, the classes with the lowest F1, and what is confused most often; or a table of the labels."""
        return labeller.for_held_out.score(sets.valid).report(self.unit)

    def finish_demo(self, labeller: Labels, config: Config, run: Path, console: Console) -> str:
        """Classify the example inputs, and draw the attention over the first."""
        items = self.inputs(config, run)
        for item in items:
            labeller.look(item).show(console)
        labeller.look(items[0]).save(run / self.drawing)
        return f"{Path(self.drawing).stem:11}{run / self.drawing}"

    def _read(
        self,
        config: Config,
        path: str,
        notify: Notify,
        *,
        part: PartName | None = None,
        names: tuple[str, ...] | None = None,
    ) -> Examples:
        """`examples`; their number per class, and what was left out, go to ``notify``."""
        examples = self.examples(config, path, part=part, names=names)
        for line in (*examples.notes, examples.describe()):
            notify(f"{path}: {line}")
        return examples

    def _own_validation(self, config: Config, run: Path, names: tuple[str, ...], notify: Notify) -> Examples:
        """The validation examples of a run. Raises UserError: they have changed since it began."""
        if config.data.valid is None:
            sets = self.read(config, notify)
            check_validation(run, self.fingerprint(sets))
            return sets.valid
        valid = self._read(config, config.data.valid, notify, part="valid", names=names)
        check_validation(run, Fingerprint.of(self.unit, (), _rows(valid), names))
        return valid


def _fitting(labeller: Labeller[Any, Any]) -> dict[str, Any]:
    """What labellers that are used together need to have the same of, by a name for messages."""
    own = {one.name: getattr(labeller, one.name) for one in fields(labeller) if one.name not in labeller.apart}
    kinds = {"kinds of labels": labeller.thresholds is None, "classes": own.pop("names")}
    return kinds | {f"settings of {name}": value for name, value in own.items()}


def _rows(examples: Labelled) -> Iterator[tuple[str, bytes]]:
    for key, numbers in zip(examples.keys, examples.numbers, strict=True):
        yield "|".join(examples.names[number] for number in numbers), key
