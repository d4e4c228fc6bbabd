"""Options of the commands of tasks with spans; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regard.training.ranges import at_least


def _wrong_threshold(threshold: float | None) -> str | None:
    """The error message for an option ``threshold`` that is out of range."""
    if threshold is not None and not 0 <= threshold <= 1:
        return f"--threshold: must be from 0 to 1, got {threshold}"
    return None


@dataclass(frozen=True)
class LookOptions:
    """Options of ``regard look``."""

    context: Path | None = None
    """Text file with the context, in UTF-8, plain or .gz/.xz; the input is then the question only."""


@dataclass(frozen=True)
class AnswerOptions(LookOptions):
    """Options of ``regard answer``."""

    context: Path | None = None
    """Text file with the context, in UTF-8, plain or .gz/.xz; each input is then a question only. Without it, each
    input has a context: after the question and a tab, or in JSON as {"question": …, "context": …}."""
    top: int = 1
    """Number of answers to print for each question, the most probable ones that do not overlap."""
    threshold: float | None = None
    """Give an answer if its probability, divided by the sum of it and that of no answer, is at least this; by default
    as chosen on the validation data."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return at_least("top", self.top, 1) or _wrong_threshold(self.threshold)


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of ``regard eval`` for question answering."""

    threshold: float | None = None
    """Give an answer if its probability, divided by the sum of it and that of no answer, is at least this; by default
    as chosen on the validation data."""
    on_bad_line: Literal["error", "skip"] | None = None
    """Stop at questions that cannot be used, or skip them; by default as in training."""
    output: Path | None = None
    """Also write the answers to this file, one per line, empty where the model gives none."""

    def problem(self) -> str | None:
        """The error message for the first option that is out of range; None if there is none."""
        return _wrong_threshold(self.threshold)
