"""A trained classifier with the names of its classes, and what it returns for an input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from regard.data.labelled import Examples
from regard.errors import UserError
from regard.models.modules import evaluating
from regard.tasks.exporting import Exportable, several_models
from regard.tasks.families.classify.label_scores import LabelsOutcome
from regard.tasks.families.classify.mixture import mixture
from regard.tasks.families.classify.scores import Outcome
from regard.tasks.fitted.companion import Companion
from regard.tasks.groups import doubling, groups
from regard.tasks.results import Failure
from regard.tasks.task import Predictor
from regard.training import checkpoint
from regard.training.validation import Part
from regard.viewer.document import Document

_CLASSES = "classes.json"
_PRINTED = 3
_NONE = "(no label)"

Input = TypeVar("Input")


@dataclass(frozen=True)
class Classified(ABC):
    """The classes of one input; a subclass adds what the model attended to.

    Attributes:
        input: as it was given: the name of a file, or a text.
        classes: names and probabilities, the most probable first.
        labels: if an input can have several labels or none, those that apply, with their probabilities; otherwise None.
    """

    unit: ClassVar[str]
    """The key of the input in `to_dict`, such as ``"image"``."""

    input: str
    classes: tuple[tuple[str, float], ...]
    labels: tuple[tuple[str, float], ...] | None = field(default=None, kw_only=True)

    def line(self) -> str:
        """The input and its classes, or the labels that apply, with their probabilities, separated by tabs."""
        named = self.classes if self.labels is None else self.labels
        printed = [f"{name} {probability:.4f}" for name, probability in named]
        return "\t".join([self.input, *(printed or [_NONE])])

    @property
    def printed(self) -> str:
        """The most probable classes, or the labels that apply, with their probabilities."""
        named = self.classes[:_PRINTED] if self.labels is None else self.labels
        return ", ".join(f"{name} {probability:.1%}" for name, probability in named) or _NONE

    def show(self, console: Console) -> None:
        """Print the most probable classes, or the labels that apply."""
        console.print(f"{self.input}: {self.printed}", highlight=False, markup=False, soft_wrap=True)

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Draw the attention. Raises UserError: the model has none, or the file cannot be written."""

    @abstractmethod
    def document(self) -> Document:
        """What the viewer shows. Raises UserError: the model has no attention."""

    def weights(self) -> Mapping[str, Any]:
        """The attention as JSON can represent it, by name; empty: the model has none."""
        return {}

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """The input and its classes with their probabilities; with ``attention``, also the weights."""
        labels = {} if self.labels is None else {"labels": dict(self.labels)}
        weights = self.weights() if attention else {}
        return {self.unit: self.input, **labels, "classes": dict(self.classes), **weights}


@dataclass(frozen=True)
class Labeller(Predictor, Generic[Examples, Input]):
    """A trained classifier with the names of its classes; a subclass knows the inputs.

    Attributes:
        model: takes the tensors of `inputs`, and returns logits ``(B, classes)``.
        names: the names of the classes.
        companion: a model that is fitted at once, and gives a share of the probabilities; None: there is none.
        others: other trained classifiers of the same inputs and classes. Probabilities, thresholds and the attention
            are then means over all of them (Lakshminarayanan et al. 2017, arXiv:1612.01474).
    """

    together: ClassVar[int] = 1
    """The largest number of inputs that `predict` passes to `seen` at a time."""
    apart: ClassVar[frozenset[str]] = frozenset({"model", "companion", "others"})
    """The fields that may be other ones in ``others``."""

    model: nn.Module
    names: tuple[str, ...]
    companion: Companion[Any] | None = field(default=None, kw_only=True)
    others: tuple[Labeller[Examples, Input], ...] = field(default=(), kw_only=True)

    @abstractmethod
    def open(self, item: str) -> Input:
        """What `seen` needs of an input, such as the content of a file. Raises UserError: it cannot be used."""

    @abstractmethod
    def seen(self, inputs: Sequence[Input]) -> Any:
        """What this model alone computes of inputs: a named tuple with ``logits`` ``(B, classes)``, and ``places``.

        The places are the weights of the attention, or None if the model has none.
        """

    @abstractmethod
    def result(self, item: Input, seen: Any, at: int) -> Classified:
        """All classes of an input, from the row ``at`` of what `seen` returned."""

    @abstractmethod
    def own_exportable(self) -> Exportable:
        """See `exportable`; of this model alone."""

    @abstractmethod
    def inputs(self, examples: Examples, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """The tensors that the model takes for these rows of the examples, on the model's device."""

    def logits(self, examples: Examples, rows: Sequence[int]) -> Tensor:
        """Logits ``(len(rows), classes)`` of these rows of the examples; by default, those of the model."""
        logits: Tensor = self.model(*self.inputs(examples, rows)).float()
        return logits

    def mixed(self, logits: Tensor, own: Callable[[Any], Tensor]) -> Tensor:
        """The network's ``logits``, mixed with those that ``own`` returns for the companion, if there is one."""
        if self.companion is None:
            return logits
        both, share = [logits.float(), own(self.companion.model).to(logits.device)], self.companion.share
        return mixture(both, [1 - share, share], several=self.thresholds is not None)

    @property
    def for_held_out(self) -> Self:
        """This classifier for scores on the examples that were set aside, to which no part of it was fitted."""
        companion = None if self.companion is None else self.companion.for_held_out
        return replace(self, companion=companion, others=tuple(one.for_held_out for one in self.others))

    def label(self, inputs: Sequence[Input]) -> Iterator[Any]:
        """All classes of each input, as `result` returns them, in evaluation mode, without gradients."""
        for start in range(0, len(inputs), self.together):
            group = inputs[start : start + self.together]
            seen = self._joined([one.seen(group) for one in self.every])
            for at, item in enumerate(group):
                yield self.result(item, seen, at)

    def exportable(self) -> Exportable:
        """See `regard.tasks.task.Predictor`. Raises UserError: these are several models."""
        if self.others:
            raise several_models()
        return replace(self.own_exportable(), missing="" if self.companion is None else self.companion.described)

    @property
    def every(self) -> tuple[Labeller[Examples, Input], ...]:
        """This classifier alone, and the others."""
        return replace(self, others=()), *self.others

    def lengths(self, examples: Examples) -> np.ndarray | None:
        """The length of each example, ``(n,)``, if batches of similar length save padding; None: they do not."""
        return None

    def batch_size(self, examples: Examples) -> int:
        """The number of examples that `score` passes to the model at a time."""
        return 256

    def predict(self, inputs: Iterable[str], *, top: int | None = None) -> Iterator[Classified | Failure]:
        """The ``top`` most probable classes of each input; None: all. An unusable input gives a `Failure`."""
        for group in groups(inputs, doubling(self.together)):
            opened = [self._opened(item) for item in group]
            results = iter(self._label([one for one in opened if not isinstance(one, Failure)]))
            for one in opened:
                if isinstance(one, Failure):
                    yield one
                else:
                    result = next(results)
                    yield replace(result, classes=result.classes[:top])

    def look(self, item: str) -> Classified:
        """The classes of an input, with the attention. Raises UserError: it cannot be used."""
        (result,) = self._label([self.open(item)])
        return result

    @property
    def thresholds(self) -> Tensor | None:
        """The probability from which each label applies, ``(classes,)``; None: an input has exactly one class."""
        if not self.others:
            return getattr(self.model, "thresholds", None)
        own = [one.thresholds for one in self.every]
        return None if own[0] is None else torch.stack([one for one in own if one is not None]).mean(0)

    def score(self, examples: Examples, part: Part | None = None) -> Outcome | LabelsOutcome:
        """The predictions for examples: those of this process of ``part``, or by default all."""
        part = part or Part.complete(len(examples.labels))
        no_logits = torch.zeros(0, len(self.names))
        outcomes: list[Any] = [self._outcome(examples, [], no_logits)]
        with torch.no_grad():
            for rows in part.batches(self.batch_size(examples)):
                logits = self._mean([one.logits(examples, rows) for one in self.every])
                outcomes.append(self._outcome(examples, rows, logits))
        joined: Outcome | LabelsOutcome = type(outcomes[0]).joined(outcomes)
        return joined

    def _outcome(self, examples: Examples, rows: Sequence[int], logits: Tensor) -> Outcome | LabelsOutcome:
        labels = examples.labels[list(rows)]
        if self.thresholds is None:
            return Outcome.of(examples.names, labels, logits)
        return LabelsOutcome.of(examples.names, labels, logits, self.thresholds.cpu().numpy())

    def ranked(self, logits: Tensor) -> tuple[tuple[str, float], ...]:
        """The names of the classes with their probabilities, the most probable first. ``logits``: ``(classes,)``."""
        probabilities = logits.float().softmax(-1) if self.thresholds is None else logits.float().sigmoid()
        order = probabilities.argsort(descending=True).tolist()
        return tuple((self.names[label], float(probabilities[label])) for label in order)

    def applying(self, ranked: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...] | None:
        """The labels in `ranked` whose probability is not below their threshold; None: an input has one class."""
        if self.thresholds is None:
            return None
        thresholds = dict(zip(self.names, self.thresholds.tolist(), strict=True))
        return tuple((name, probability) for name, probability in ranked if probability >= thresholds[name])

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def _joined(self, seen: Sequence[Any]) -> Any:
        """The mean of what several models computed of inputs; the places are those of the models that have them."""
        if len(seen) == 1:
            return seen[0]
        places = [one.places for one in seen if one.places is not None]
        logits = self._mean([one.logits.float() for one in seen])
        return seen[0]._replace(logits=logits, places=torch.stack(places).mean(0) if places else None)

    def _mean(self, logits: Sequence[Tensor]) -> Tensor:
        """Logits of the mean of the probabilities of several models."""
        if len(logits) == 1:
            return logits[0]
        return mixture(logits, [1 / len(logits)] * len(logits), several=self.thresholds is not None)

    def _opened(self, item: str) -> Input | Failure:
        try:
            return self.open(item)
        except UserError as error:
            return Failure(item, str(error))

    def _label(self, inputs: Sequence[Input]) -> Iterable[Classified]:
        if not inputs:
            return ()
        evaluating(self.model)
        with torch.inference_mode():
            return list(self.label(inputs))


def save_classes(folder: Path, names: Sequence[str], **facts: object) -> None:
    """Write the names of the classes into a new run's folder, with other facts that the model needs."""
    checkpoint.write_json(folder / _CLASSES, {"names": names, **facts})


def load_classes(run: Path, *facts: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of a run's classes, and the other facts, by name, that `save_classes` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    content: dict[str, Any] = checkpoint.read_json(run / _CLASSES)
    try:
        return tuple(content["names"]), {name: content[name] for name in facts}
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{run / _CLASSES}: not a file of classes ({error}); restore it as training wrote it"
        ) from error
