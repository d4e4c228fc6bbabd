"""Word and character error rates of output texts, with intervals by the bootstrap."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from regard.tasks.results import Score

Unit = Literal["word", "character"]

_SAMPLES = 2000


@dataclass(frozen=True)
class ErrorRate:
    """An error rate of a corpus.

    Attributes:
        errors: words or characters that are inserted, deleted or replaced.
        total: words or characters of the references.
        interval: 95 % of the bootstrap samples have a rate in it, in per cent.
        texts: the number of texts.
        unit: what is counted.
    """

    errors: int
    total: int
    interval: tuple[float, float]
    texts: int
    unit: Unit

    @property
    def rate(self) -> float:
        """Errors in per cent of the reference's words or characters; above 100 with many insertions."""
        return 100.0 * self.errors / max(1, self.total)

    def score(self) -> Score:
        """The rate, with its interval."""
        low, high = self.interval
        how = (
            f"{self.errors:,} errors in {self.total:,} {self.unit}s of the references; "
            f"95 % interval {low:.1f} to {high:.1f} (bootstrap over {self.texts:,} texts)"
        )
        return Score(self.rate, how)


def error_rate(outputs: Sequence[str], references: Sequence[str], unit: Unit) -> ErrorRate:
    """The error rate of a corpus: the edits of all texts, divided by the length of all references.

    White space separates words and is otherwise ignored; a space between words is a character.

    Args:
        outputs: the texts.
        references: one for each.
        unit: ``"word"`` for the WER, ``"character"`` for the CER.

    Returns:
        The rate, with the percentile interval of Bisani and Ney 2004: texts are drawn with replacement.

    >>> error_rate(["a b", "c"], ["a b c", "c"], "word").rate
    25.0
    """
    pairs = [(_units(one, unit), _units(other, unit)) for one, other in zip(outputs, references, strict=True)]
    errors = np.array([edits(one, other) for one, other in pairs], dtype=np.int64)
    totals = np.array([len(reference) for _, reference in pairs], dtype=np.int64)
    random = np.random.default_rng(0)
    drawn = random.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=_SAMPLES)
    rates = 100.0 * (drawn @ errors) / np.maximum(1, drawn @ totals)
    low, high = np.percentile(rates, (2.5, 97.5)).tolist()
    return ErrorRate(int(errors.sum()), int(totals.sum()), (low, high), len(pairs), unit)


def edits(output: Sequence[Hashable], reference: Sequence[Hashable]) -> int:
    """The smallest number of insertions, deletions and replacements between two sequences (Levenshtein 1966).

    >>> edits("kitten", "sitting"), edits([], ["a", "b"])
    (3, 2)
    """
    numbers: dict[Hashable, int] = {}
    wanted = np.array([numbers.setdefault(one, len(numbers)) for one in reference], dtype=np.int64)
    places = np.arange(len(wanted) + 1)
    row = places
    for one in output:
        # Without insertions, each entry depends on the row before only; then the running minimum adds the insertions.
        best = np.minimum(row[1:] + 1, row[:-1] + (wanted != numbers.get(one, -1)))
        row = np.minimum.accumulate(np.concatenate([row[:1] + 1, best]) - places) + places
    return int(row[-1])


def _units(text: str, unit: Unit) -> Sequence[str]:
    words = text.split()
    return words if unit == "word" else " ".join(words)
