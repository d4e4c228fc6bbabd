"""The output text for a source text, with the attention of its tokens over those of the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any, ClassVar

from rich.console import Console

from regard.data.lines import one_line
from regard.errors import UserError
from regard.explain import terminal
from regard.explain.alignment import Alignment
from regard.explain.documents import joined
from regard.explain.draw import save_picture
from regard.explain.save import save
from regard.viewer.document import Document
from regard.viewer.page import write_page

_TITLE = 40
"""Letters of a text that name its alignment on a page of several."""

NO_ATTENTION = "look: this run has no attention to look at (it was trained with --model.attention none)"


@dataclass(frozen=True)
class TextOutput:
    """The output for a text.

    Attributes:
        source: the input.
        text: the output.
        score: its log-probability, EOS included.
        alignment: the attention of each output token over the source tokens; None for a model without attention.
        name: the word for an output, such as ``"translation"``; its key in JSON and its column in tables.
    """

    source: str
    text: str
    score: float
    alignment: Alignment | None
    name: ClassVar[str] = "output"

    def line(self) -> str:
        """The output; line breaks within it become spaces."""
        return one_line(self.text)

    def show(self, console: Console) -> None:
        """Print the input, the output, and the alignment by words."""
        for text in (self.source, self.text):
            console.print(terminal.isolated(text), style="bold", highlight=False, markup=False)
        if self.alignment is not None:
            console.print(terminal.render(self.alignment.words(), console.width))

    def save(self, path: str | Path) -> None:
        """Draw the alignment: a page if the path ends in .html, otherwise an image by words."""
        save(path, self.document, lambda image: save_picture(self.aligned.words(), image))

    def document(self) -> Document:
        """What the viewer shows: the alignment. Raises UserError: there is none."""
        return self.aligned.document(self.source)

    @property
    def aligned(self) -> Alignment:
        """The alignment. Raises UserError: there is none."""
        if self.alignment is None:
            raise UserError(NO_ATTENTION)
        return self.alignment

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """Source, output and its log-probability; with ``attention``, also their pieces and the weights."""
        result = {"source": self.source, self.name: self.text, "score": self.score}
        if attention and self.alignment is not None:
            one = self.alignment.characters()
            pieces = {"source": list(one.source), "target": list(one.target), "weights": one.weights.tolist()}
            return {**result, "alignment": pieces}
        return result


def save_alignments(outputs: Sequence[TextOutput], folder: Path) -> str:
    """Draw the alignment in which most words cross as an image, and all on a page; returns a line that names the files.

    Raises:
        UserError: the outputs have no alignments.
    """
    image, page = folder / "alignment.png", folder / "alignment.html"
    max(outputs, key=_crossings).save(image)
    documents = [output.document() for output in outputs if output.alignment is not None]
    names = (f"{at}. {shorten(one.title, _TITLE, placeholder='…')}" for at, one in enumerate(documents, 1))
    write_page(joined("regard", dict(zip(names, documents, strict=True))), page)
    return f"alignment  {image}   (interactive page: {page})"


def _crossings(output: TextOutput) -> int:
    return output.alignment.words().crossings() if output.alignment is not None else -1
