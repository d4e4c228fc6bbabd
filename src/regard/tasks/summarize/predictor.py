"""The summarizer of a run."""

from __future__ import annotations

from dataclasses import dataclass

from regard.tasks.families.seq2seq.copied_output import CopiedOutput
from regard.tasks.families.seq2seq.copying import CopyPredictor


@dataclass(frozen=True)
class Summary(CopiedOutput):
    """A summary: see `CopiedOutput`."""

    name = "summary"


@dataclass(frozen=True)
class Summarizer(CopyPredictor[Summary]):
    """A trained model with its vocabulary, which summarizes texts."""

    task = "summarize"
    output_type = Summary
