"""The translator of a run."""

from __future__ import annotations

from dataclasses import dataclass

from regard.tasks.families.seq2seq.results import TextOutput
from regard.tasks.families.seq2seq.text import TextPredictor


@dataclass(frozen=True)
class Translation(TextOutput):
    """A translation: see `TextOutput`."""

    name = "translation"


@dataclass(frozen=True)
class Translator(TextPredictor[Translation]):
    """A trained model with its tokenizers, which translates texts."""

    task = "translate"
    output_type = Translation
