"""The candidates that fit an input best, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from regard.data.lines import one_line


@dataclass(frozen=True)
class Candidate:
    """A candidate with its score; ``title`` is empty if it has none other than its name."""

    name: str
    score: float
    title: str = ""

    @property
    def label(self) -> str:
        """The title, or the name."""
        return self.title or self.name

    def to_dict(self) -> dict[str, Any]:
        """The candidate as JSON can represent it."""
        title = {"title": self.title} if self.title else {}
        return {"item": self.name, **title, "score": self.score}


@dataclass(frozen=True)
class Ranked:
    """The best candidates for an input.

    Attributes:
        input: as it was given.
        candidates: the best ones, the first one first.
    """

    input: str
    candidates: tuple[Candidate, ...]

    def line(self) -> str:
        """The names of the candidates with their scores, separated by tabs."""
        return "\t".join(f"{one_line(one.name)} {one.score:.4f}" for one in self.candidates)
