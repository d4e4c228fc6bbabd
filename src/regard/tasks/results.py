"""What predictors return: results, failures, scores, and what can be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console

if TYPE_CHECKING:
    from regard.viewer.document import Document


class Result(Protocol):
    """The prediction for one input."""

    def line(self) -> str:
        """The result as one line of text, without the attention."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON can represent it."""
        ...


class Shown(Protocol):
    """The attention for one input."""

    def show(self, console: Console) -> None:
        """Print it."""
        ...

    def save(self, path: str | Path) -> None:
        """Draw it: as an image (``.png``, ``.svg``), or as an interactive page (``.html``).

        Raises:
            UserError: the model has no attention that can be drawn, or the file cannot be written.
        """
        ...

    def document(self) -> Document:
        """What the viewer shows of it. Raises UserError: the model has no attention."""
        ...

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """The result as JSON can represent it, with the weights if ``attention``."""
        ...


@dataclass(frozen=True)
class Failure:
    """The result for an input that cannot be used: the others are predicted all the same.

    >>> Failure("a.png", "a.png: no such file").to_dict()
    {'input': 'a.png', 'error': 'a.png: no such file'}
    """

    input: str
    error: str

    def line(self) -> str:
        """An empty line, so that there are as many lines as inputs."""
        return ""

    def to_dict(self) -> dict[str, Any]:
        """The input and the error."""
        return {"input": self.input, "error": self.error}


@dataclass(frozen=True)
class Score:
    """A score: its value, how it was computed, and the number of decimal places to print."""

    value: float
    how: str
    digits: int = 2

    def to_dict(self) -> dict[str, Any]:
        """The score and how it was computed."""
        return {"score": self.value, "how": self.how}


def attention_on(place: str, shares: Sequence[tuple[float, float]]) -> Score:
    """The mean attention on a known place, beside what it would be with equal weights.

    Args:
        place: its name, such as ``"moment that decides the class"``.
        shares: both of each example, from 0 to 1.

    >>> attention_on("word that decides", [(0.5, 0.1), (0.7, 0.2)]).how
    'per cent of the attention is on the word that decides; by chance 15.0'
    """
    share, chance = (100 * sum(values) / len(shares) for values in zip(*shares, strict=True))
    return Score(share, f"per cent of the attention is on the {place}; by chance {chance:.1f}")


Scores = dict[str, Score]
"""Name → score."""


def show_scores(scores: Scores, console: Console) -> None:
    """Print scores, one per line."""
    width = max(len(name) for name in scores) + 1
    for name, score in scores.items():
        how = score.how.replace("[", r"\[")  # rich would take it for markup
        value = f"{score.value:.{score.digits}f}"
        console.print(f"  {name:{width}}{value:>9}  [dim]{how}[/dim]", highlight=False, soft_wrap=True)
