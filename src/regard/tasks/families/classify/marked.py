"""The classes of a text, with its words marked by their attention."""

from __future__ import annotations

from dataclasses import dataclass

from regard.explain.marked import MarkedText
from regard.tasks.families.classify.attended import Attended


@dataclass(frozen=True)
class ClassifiedText(Attended[MarkedText]):
    """The classes of a text, and the weight of each word: see `Attended`."""

    unit = "text"
    parts = key = "words"

    def names(self, first: MarkedText) -> list[str]:
        """The words."""
        return [first.text[start:end] for start, end in first.spans]
