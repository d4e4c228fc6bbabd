"""The interface that a task implements: training, scores, and the predictor of a trained model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from rich.console import Console

from regard.attribution.compared import Explainable
from regard.errors import UserError
from regard.tasks import exporting
from regard.tasks.exporting import Exportable, Format
from regard.tasks.results import Failure, Result, Scores, Shown
from regard.training.fingerprint import Fingerprint
from regard.training.masked import MaskedTexts
from regard.training.trainable import BatchTrainable, Trainable

Notify = Callable[[str], None]
"""Prints a message for the user."""

Config = TypeVar("Config")
Data = TypeVar("Data")


def own_data(train: str | None, valid: str | None, builtin: str, validation: str, notify: Notify) -> str | None:
    """The training data that the user names; None: the built-in ones are used, of which ``notify`` gets a message.

    Args:
        train: the setting ``data.train``.
        valid: the setting ``data.valid``.
        builtin: what the built-in data are.
        validation: says that they have validation data, such as ``"the built-in corpus has a validation set"``.
        notify: gets the message.

    Raises:
        UserError: only validation data are named.
    """
    if train is None:
        if valid is not None:
            raise UserError(f"data.valid: needs --data.train, since {validation} already")
        notify(f"no --data.train: training on {builtin}")
    return train


def check_fitting(needed: Mapping[Path, Mapping[str, object]]) -> None:
    """Check that runs can be used together.

    Args:
        needed: what all runs must have the same of, by a name for the message, by the folder of each run.

    Raises:
        UserError: a run has something else.
    """
    (folder, first), *others = needed.items()
    for other_folder, other in others:
        different = [name for name, value in first.items() if other[name] != value]
        if different:
            raise UserError(
                f"{other_folder}: has other {different[0]} than {folder}, and runs that are used together need the "
                "same ones; move it to another folder"
            )


class Predictor(ABC):
    """A trained model with all that it needs to get from an input to a result."""

    @abstractmethod
    def predict(self, inputs: Iterable[str], *args: Any, **options: Any) -> Iterator[Result | Failure]:
        """The result of each input, in order, as soon as it is known; ``inputs`` may be endless.

        An input that cannot be used gives a `Failure`, and the others are predicted.
        """

    @abstractmethod
    def look(self, item: str, *args: Any, **options: Any) -> Shown:
        """The attention for one input. Raises UserError: there is none, or the input cannot be used."""

    @abstractmethod
    def exportable(self) -> Exportable:
        """The model for `export`. Raises UserError: it cannot be exported."""

    def export(self, path: str | Path, form: Format = "onnx") -> tuple[float, int]:
        """Write the model to one file that runs without regard, and check the file.

        Args:
            path: ends in ``.onnx`` or ``.pt2``.
            form: ``"onnx"`` or ``"torch-export"``.

        Returns:
            The largest difference of its logits from the model's, and its size in bytes.

        Raises:
            UserError: the model cannot be exported, or the file cannot be written.
        """
        return exporting.export(self.exportable(), Path(path), form)


Predicts = TypeVar("Predicts", bound=Predictor)


class Described(Protocol):
    """What describes its data."""

    @property
    def described(self) -> str:
        """The size of the training data, such as ``"1,000 pairs"``."""
        ...


class TaskTrainable(Described, Trainable, Protocol):
    """What the training loop trains; it also describes its data."""


class BatchTaskTrainable(Described, BatchTrainable, Protocol):
    """The same, for a loss that depends on all examples of a batch together."""


class Task(ABC, Generic[Config, Data, Predicts]):
    """The code of a task. Its settings and options are in its `regard.tasks.spec.TaskSpec`."""

    unit: str
    """What the loss is a mean over, such as ``"tokens"``."""

    @abstractmethod
    def read(self, config: Config, notify: Notify) -> Data:
        """Read the data for training and validation. Raises UserError: they cannot be used."""

    @abstractmethod
    def fingerprint(self, data: Data) -> Fingerprint:
        """Identifies the data that `read` returned."""

    @abstractmethod
    def defaults(self, config: Config, data: Data) -> Mapping[str, object]:
        """Values by the size of the data, such as ``{"train.epochs": 20}``, for settings that are None."""

    @abstractmethod
    def prepare(self, config: Config, data: Data, folder: Path, notify: Notify) -> None:
        """Write the files that the model needs beside its weights, such as tokenizers, into a new run's folder."""

    @abstractmethod
    def trainable(self, config: Config, run: Path, data: Data, notify: Notify) -> TaskTrainable | BatchTaskTrainable:
        """The model and the data for the training loop."""

    def pretraining(self, config: Config, run: Path, data: Data, notify: Notify) -> MaskedTexts:
        """The texts and the part of a new model that are pretrained, for a task with a section ``pretrain``.

        Its weights have the names of those of the model of `trainable`, into which they are copied.

        Raises:
            UserError: there are too few texts, or a file of texts cannot be used.
        """
        raise NotImplementedError

    def finish(self, config: Config, run: Path, data: Data, notify: Notify) -> None:
        """Write what can only be computed when training has ended into the run's folder; by default, nothing."""

    @abstractmethod
    def predictor(self, config: Config, run: Path, checkpoint: str) -> Predicts:
        """The trained model. Raises UserError: the checkpoint or a file is missing or damaged."""

    def joined(self, predictors: Mapping[Path, Predicts]) -> Predicts:
        """Several trained models as one, by the folders of their runs.

        Raises:
            UserError: the results of this task cannot be joined, or the models do not fit each other.
        """
        raise UserError(
            f"{next(iter(predictors)).parent}: has {len(predictors)} runs, and only those of classification, of "
            "answers and of recommendation can be used together; name one of them"
        )

    @abstractmethod
    def evaluate(
        self,
        predictor: Predicts,
        config: Config,
        run: Path,
        path: str | None,
        notify: Notify,
        *args: Any,
        **options: Any,
    ) -> Scores:
        """Scores on the data at ``path``; None: on held-out data of the run. Raises UserError: they cannot be used."""

    def explainable(
        self, predictor: Predicts, config: Config, run: Path, path: str | None, notify: Notify, limit: int
    ) -> Explainable:
        """The first results on the data at ``path``, for `regard.attribution.compared.compare`.

        Args:
            predictor: the trained model.
            config: the settings of the run.
            run: its folder.
            path: data in any format that training reads; None: held-out data of the run, as in `evaluate`.
            notify: gets messages.
            limit: the largest number of results.

        Raises:
            UserError: the data cannot be used, or the task's results cannot be explained.
        """
        raise UserError(
            f"{run}: attributions are for runs of classify-text and translate; `regard look` shows the attention of "
            "others"
        )

    @abstractmethod
    def samples(self, predictor: Predicts, config: Config, data: Data) -> Sequence[str]:
        """Lines of Markdown with sample output, for the report."""

    @abstractmethod
    def example(self, config: Config) -> str:
        """What follows the run's folder in a command that uses the trained model, such as ``'"your text"'``."""

    @abstractmethod
    def inputs(self, config: Config, folder: Path) -> list[str]:
        """Example inputs for a model that was trained on the built-in data; files are written to ``folder``."""

    @abstractmethod
    def finish_demo(self, predictor: Predicts, config: Config, run: Path, console: Console) -> str:
        """Show what the demo's model does and draw its attention; returns the line that names the drawings."""
