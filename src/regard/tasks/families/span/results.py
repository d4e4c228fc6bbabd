"""The answer to a question: its span, what is as probable, and where the question attended to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from regard.data.lines import one_line
from regard.data.questions import Span
from regard.errors import UserError
from regard.explain import terminal
from regard.explain.alignment import WORD, Alignment
from regard.explain.draw import save_picture
from regard.explain.save import save
from regard.viewer.document import Document

NO_ATTENTION = "look: this run has no attention to look at (it was trained with --model.attention none)"

_AROUND = 24
"""The number of tokens on each side of the answer that an image and the terminal show; a page shows the window."""

_PASSAGE = 400
"""The number of characters on each side of the answer that the terminal shows."""


@dataclass(frozen=True)
class Candidate:
    """A span of the context, with its probability."""

    text: str
    start: int
    end: int
    probability: float


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    Attributes:
        question: the question.
        context: the text that it is about.
        spans: the most probable spans, which do not overlap, the first one first.
        given: whether the first is the answer; otherwise the answer is that there is none.
        absent: the probability that there is none.
        alignment: the attention of the question's tokens over those of the window that has the first span; None: it is
            not known, or the model has no attention.
        inside: which tokens of the window are in the first span.
    """

    question: str
    context: str
    spans: tuple[Candidate, ...]
    given: bool
    absent: float
    alignment: Alignment | None = None
    inside: np.ndarray | None = None

    @property
    def text(self) -> str:
        """The answer; empty: there is none."""
        return self.spans[0].text if self.given else ""

    @property
    def span(self) -> Span | None:
        """Where the answer is in the context, in characters; None: there is none."""
        return (self.spans[0].start, self.spans[0].end) if self.given else None

    def line(self) -> str:
        """Each answer with its probability and start, separated by tabs; the probability of no answer after a tab."""
        if not self.given:
            return f"\t{self.absent:.4f}"
        return "\t".join(f"{one_line(one.text)}\t{one.probability:.4f}\t{one.start}" for one in self.spans)

    def show(self, console: Console) -> None:
        """Print the question, the passage with the answer marked, and the attention by words around it."""
        console.print(terminal.isolated(self.question), style="bold", highlight=False, markup=False)
        first = self.spans[0]
        start, end = max(0, first.start - _PASSAGE), first.end + _PASSAGE
        passage = Text(self.context[start:end])
        if self.given:
            passage.stylize("bold reverse", first.start - start, first.end - start)
        console.print(passage)
        kind = f"answer     {first.text!r}, {first.probability:.1%}, characters {first.start} to {first.end}"
        none = f"no answer  (its probability is {self.absent:.1%}, that of the best span {first.probability:.1%})"
        console.print(kind if self.given else none, highlight=False, markup=False)
        if self.alignment is not None:
            console.print(terminal.render(self._near().words(), console.width))

    def save(self, path: str | Path) -> None:
        """Draw the attention: a page for the window if the path ends in .html, otherwise an image around the answer."""
        save(path, self.document, lambda image: save_picture(self._near().words(), image))

    def document(self) -> Document:
        """What the viewer shows: the question and the window, with the answer in brackets.

        Raises:
            UserError: the model has no attention.
        """
        return self._marked().document(self._title)

    @property
    def _title(self) -> str:
        return f"{self.question} → {self.text or 'no answer'}"

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """The question and the answer with its place, None if there is none; with ``attention``, also the weights."""
        first = self.spans[0]
        result: dict[str, Any] = {
            "question": self.question,
            "answer": first.text if self.given else None,
            "probability": first.probability if self.given else self.absent,
            "start": first.start if self.given else None,
            "end": first.end if self.given else None,
            "no_answer": self.absent,
            "answers": [vars(one) for one in self.spans],
        }
        if attention and self.alignment is not None:
            one = self.alignment.characters()
            pieces = {"source": list(one.source), "target": list(one.target), "weights": one.weights.tolist()}
            result["alignment"] = pieces
        return result

    def _marked(self) -> Alignment:
        """The alignment with brackets around the answer's tokens. Raises UserError: there is none."""
        alignment = self.alignment
        if alignment is None:
            raise UserError(NO_ATTENTION)
        if not self.given or self.inside is None or not self.inside.any():
            return alignment
        places = np.flatnonzero(self.inside)
        pieces = list(alignment.source)
        first = pieces[places[0]]
        pieces[places[0]] = f"{WORD}[{first.removeprefix(WORD)}" if first.startswith(WORD) else f"[{first}"
        pieces[places[-1]] += "]"
        return replace(alignment, source=tuple(pieces))

    def _near(self) -> Alignment:
        """The marked alignment of the tokens around the first span."""
        assert self.inside is not None
        marked, places = self._marked(), np.flatnonzero(self.inside)
        start, end = max(0, int(places.min()) - _AROUND), int(places.max()) + 1 + _AROUND
        pieces = marked.source
        while start > 0 and not pieces[start].startswith(WORD) and places.min() - start < 2 * _AROUND:
            start -= 1
        return Alignment(pieces[start:end], marked.target, marked.weights[:, start:end])
