"""Settings and options of models that copy words of their source; imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from regard.tasks.families.seq2seq.settings import (
    DecodingOptions,
    EvaluationOptions,
    LookOptions,
    ModelConfig,
    SplitConfig,
)
from regard.training.ranges import at_most, not_negative

Length = Literal["short", "medium", "long"]

LENGTH_PENALTY = 1.5
"""Short texts are usually better if they are a little longer than with the 1.0 of translation."""


_MOST_SAMPLES = 1000


@dataclass(frozen=True)
class WordsConfig(SplitConfig):
    """How text is split into words."""

    size: int | None = None
    """Number of words in the vocabulary, that is, of those that the model can write; it can copy any. By default those
    of at least two training pairs, at most 10,000."""

    def problem(self) -> str | None:
        """See `SplitConfig`."""
        if self.size is not None and self.size < 100:
            return f"tokenizer.size: must be at least 100, got {self.size}"
        return at_most("tokenizer", self, 1_000_000, "size")


@dataclass(frozen=True)
class CopyModelConfig(ModelConfig):
    """The model: a recurrent encoder and decoder (GRU) with attention, or a Transformer, which copies words."""

    copy: bool = True
    """Whether the model can copy words of its source (See et al. 2017)."""
    coverage: float = 0.0
    """Weight of the coverage loss, which penalizes attention to places that were attended to before (See et al. 2017);
    with gru, the weights so far are then an input of the attention, too. 1 is the paper's; it helps where summaries
    have several sentences. 0: no coverage."""
    similar: int = 0
    """Number of training texts, those most similar to a text, whose short texts the model reads before the text itself,
    in training and in use (Cao et al. 2018). It helps where texts recur in parts, as reports and e-mails do. They are
    kept in the run. 0: none."""

    def problem(self) -> str | None:
        """See `ModelConfig`."""
        if self.copy and self.kind == "gru" and self.attention == "none":
            return "model.attention: none has no attention to copy with; set --model.no-copy too"
        if self.coverage and not self.copy:
            return "model.coverage: only for a model that copies, got --model.no-copy"
        return (
            not_negative("model", self, "coverage", "similar")
            or at_most("model", self, 100, "similar")
            or super().problem()
        )


@dataclass(frozen=True)
class CopySearchOptions(DecodingOptions):
    """Options of decoding for a model that copies."""

    length: Length | None = None
    """Wanted length, as that of a third of the training targets; by default, the model chooses it."""
    length_penalty: float = LENGTH_PENALTY
    """Exponent of the length by which the beam search divides scores (Wu et al. 2016): larger values favour longer
    outputs; 0: the scores are compared as they are."""
    no_repeat: bool = True
    """Write no three words in a row twice."""
    samples: int = 0
    """Number of samples of the model with which candidates are compared. The output is the candidate that has most in
    common with them on average, not the most probable one (minimum Bayes risk, Eikema and Aziz 2020): usually better,
    but slower; 16 is a good number. 0: no samples, the most probable output."""
    lead_below: float = 0.0
    """With samples: where the best candidate has less than this in common with them, from 0 to 1, the first sentence of
    the text is the output, since the model is not sure."""

    def problem(self) -> str | None:
        """See `DecodingOptions`."""
        if not 0 <= self.length_penalty < math.inf:
            return f"length_penalty: must be at least 0 and finite, got {self.length_penalty}"
        if not 0 <= self.samples <= _MOST_SAMPLES:
            return f"samples: must be from 0 to {_MOST_SAMPLES:,}, got {self.samples}"
        if not 0 <= self.lead_below <= 1:
            return f"lead_below: must be from 0 to 1, got {self.lead_below}"
        if self.lead_below and not self.samples:
            return "lead_below: only with --samples, such as 16"
        return super().problem()


@dataclass(frozen=True)
class CopyEvaluationOptions(CopySearchOptions, EvaluationOptions):
    """Options of ``regard eval`` for a model that copies."""


@dataclass(frozen=True)
class CopyLookOptions(CopySearchOptions, LookOptions):
    """Options of ``regard look`` for a model that copies."""
