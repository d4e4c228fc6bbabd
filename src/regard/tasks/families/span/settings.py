"""Settings that tasks with spans share; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regard.training.config import TrainConfig
from regard.training.ranges import at_most, positive


@dataclass(frozen=True)
class SpanDataConfig:
    """Which questions to train on, and how long texts are divided."""

    train: str | None = None
    """Questions to train on."""
    valid: str | None = None
    """Questions to validate on, in the same formats; by default, those about a tenth of the contexts are set aside."""
    on_bad_line: Literal["error", "skip"] = "error"
    """What to do with questions that cannot be used, such as those whose answer is not in the context. error: name them
    and stop; skip: name them and leave them out."""
    window: int = 256
    """Length of a window in tokens; the model reads a longer context in windows that overlap."""
    overlap: int = 128
    """Number of tokens that a window shares with the next one, so that an answer at the end of one is in the other."""
    max_question: int = 64
    """Maximum length of a question in tokens; of a longer one, the model reads the beginning."""
    max_answer: int = 30
    """Maximum length of an answer in tokens; the model gives none that is longer, and training questions that have
    only longer ones are left out."""

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        sizes = ("window", "max_question", "max_answer")
        wrong = positive("data", self, *sizes) or at_most("data", self, 100_000, *sizes)
        if wrong is None and not 0 <= self.overlap < self.window:
            return f"data.overlap: must be at least 0 and below data.window, {self.window}, got {self.overlap}"
        return wrong


@dataclass(frozen=True)
class SpanTrainConfig(TrainConfig):
    """Settings of training."""

    batch_measure = "tokens"
    tokens: int | None = None
    """Size of a batch: its context and question tokens, padding included, summed over all processes; by default 1024 to
    8192, depending on the amount of text."""
    label_smoothing: float = 0.0
    """Label smoothing: the share of the target's probability that is spread over all spans."""
    metric: Literal["loss", "f1", "exact", "character_f1"] = "f1"
    """Validation metric that selects the best checkpoint and decides when to stop early. f1: of words, as SQuAD
    computes it; exact: the percentage of answers that equal a correct one; character_f1: F1 of characters, for
    languages without spaces between words."""
