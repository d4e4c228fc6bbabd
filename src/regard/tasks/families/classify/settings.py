"""Settings and options of classification; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regard.tasks.spec import Verb
from regard.training.config import TrainConfig
from regard.training.ranges import at_least


@dataclass(frozen=True)
class ClassifyTrainConfig(TrainConfig):
    """Settings of training."""

    batch_measure = "batch"
    label_smoothing: float = 0.1
    """Label smoothing: the share of the target's probability that is spread over all classes, or, if an example can
    have several labels, over having and not having each label."""
    metric: Literal["loss", "accuracy", "micro_f1", "macro_f1"] = "accuracy"
    """Validation metric that selects the best checkpoint and decides when to stop early. With several labels, accuracy
    is the share of the true or predicted labels of an example that are both; micro_f1 and macro_f1 are for them
    only."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: the loss of an example is weighted by the inverse of the number of examples of its class, for data with
    rare classes; with several labels, that of each label by the inverse of the numbers of examples with and without
    it."""
    batch: int | None = None
    """Size of a batch in examples, summed over all processes; by default 8 to 128, depending on their number."""


@dataclass(frozen=True)
class ClassifyOptions:
    """Options of ``regard classify``."""

    top: int | None = None
    """Number of most probable classes to print for each input; by default all. If an input can have several labels,
    those that apply are always printed, and these classes only with --json."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return at_least("top", self.top, 1)


def classify_verb(
    unit: str, described: str, *, many: bool = True, options: type[ClassifyOptions] = ClassifyOptions
) -> Verb:
    """The command ``regard classify`` for one kind of input.

    Args:
        unit: one input in a word, such as ``"image"``.
        described: what an input is, for the help.
        many: whether several inputs may be given as arguments.
        options: its options.
    """
    summary = f"Print the most probable classes of each {unit}, with their probabilities"
    return Verb("classify", summary, described, unit, options, many=many, draws=True)
