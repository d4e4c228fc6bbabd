"""Outputs of a model that writes and copies words, with the origin of each word."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from regard.data.lines import one_line
from regard.data.similar import Neighbour
from regard.decode import Hypothesis
from regard.explain import terminal
from regard.explain.copied import Origin, copied_from, narrowed, origins, render_origins
from regard.explain.draw import save_picture
from regard.explain.save import save
from regard.tasks.families.seq2seq.results import TextOutput
from regard.tasks.results import Score, Scores
from regard.viewer.document import Document

_COLUMNS = 40
"""The largest number of source words of an image."""


@dataclass(frozen=True)
class Copied(Hypothesis):
    """A decoded sequence with the part of each token's probability that is from copying, EOS last."""

    shares: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class CopiedOutput(TextOutput):
    """An output of a model that copies: see `TextOutput`.

    Attributes:
        shares: for each piece of the alignment's target, the part of its probability that is from copying; None for a
            model that cannot copy.
        similar: the training pairs whose targets were read before the source.
    """

    shares: np.ndarray | None = None
    similar: tuple[Neighbour, ...] = ()

    def show(self, console: Console) -> None:
        """Print the input, the output, and the origin of each of its words."""
        if self.alignment is None or self.shares is None:
            return super().show(console)
        for text in (self.source, self.text):
            console.print(terminal.isolated(text), style="bold", highlight=False, markup=False)
        for one in self.similar:
            line = f"similar {one.similarity:.2f}: {one_line(one.target)}"
            console.print(terminal.isolated(line), style="dim", highlight=False, markup=False)
        console.print(render_origins(self.alignment, self.shares, console.width))
        return None

    def save(self, path: str | Path) -> None:
        """Draw the alignment: a page if the path ends in .html, otherwise an image of the source words that matter."""
        save(path, self.document, lambda image: save_picture(narrowed(self.aligned.words(), _COLUMNS), image))

    def document(self) -> Document:
        """As `TextOutput.document`, and the probability that each word was copied from each place of the source."""
        layers = {"attention": self.aligned.weights}
        if self.shares is None:
            return self.aligned.document(self.text, layers)
        note = "copied is the probability that a word was copied from each place; what is missing to 1 was written."
        return self.aligned.document(self.text, {**layers, "copied": copied_from(self.aligned, self.shares)}, [note])

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """As `TextOutput.to_dict`, with each word's origin: the part of its probability from copying, and the number
        of the source word, from 0; and the targets that were read before the source."""
        result = super().to_dict(attention=attention)
        if self.similar:
            result["similar"] = [{"text": one.target, "similarity": round(one.similarity, 4)} for one in self.similar]
        if self.shares is not None:
            result["words"] = [
                {"word": one.word, "copied": round(one.share, 4), "from": one.place} for one in self.origins()
            ]
        return result

    def origins(self) -> list[Origin]:
        """The origin of each word; none for a model that cannot copy."""
        return [] if self.alignment is None or self.shares is None else origins(self.alignment, self.shares)


class CopiedShare:
    """The share of copying in the probability of the words of outputs: the mean of those that are given to `add`."""

    def __init__(self) -> None:
        self._total, self._words = 0.0, 0

    def add(self, output: CopiedOutput) -> None:
        """Count the words of an output."""
        words = output.origins()
        self._total, self._words = self._total + sum(one.share for one in words), self._words + len(words)

    def scores(self) -> Scores:
        """The share as a score; none for a model that cannot copy."""
        if not self._words:
            return {}
        return {"copied": Score(100 * self._total / self._words, "per cent of the words' probability, by copying")}
