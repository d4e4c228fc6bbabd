"""Which words of an output were copied, and from where: in the terminal, and as an alignment of fewer columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from regard.explain.alignment import WORD, Alignment, is_sign
from regard.explain.terminal import isolated

_UNKNOWN = "<unk>"
"""A word of a given output that the model can neither write nor copy."""

_CONTEXT = 4
"""The number of pieces that are shown before and after the place from which a word was copied."""


@dataclass(frozen=True)
class Origin:
    """Where a word of an output is from.

    Attributes:
        word: of the output.
        share: the part of its probability that is from copying, from 0 to 1.
        place: the number of the source piece from 0: of those of the same word, the one with the largest weight.
        weight: its weight.
    """

    word: str
    share: float
    place: int
    weight: float

    @property
    def copied(self) -> bool:
        """Whether copying has the larger part."""
        return self.share > 0.5


def origins(alignment: Alignment, shares: np.ndarray) -> list[Origin]:
    """The origin of each word of the output, without special tokens.

    Args:
        alignment: by pieces, of which each is a word, or empty.
        shares: ``(len(alignment.target),)``, the part of each piece's probability that is from copying.

    Example:
        >>> one = Alignment(("▁ask", "▁Rex"), ("▁Rex", "<eos>"), np.array([[0.25, 0.75], [0.5, 0.5]]))
        >>> origins(one, np.array([0.5, 0.5]))
        [Origin(word='Rex', share=0.5, place=1, weight=0.75)]
    """
    source = np.array([piece.removeprefix(WORD) for piece in alignment.source])
    result = []
    for piece, weights, share in zip(alignment.target, alignment.weights, shares, strict=True):
        word = piece.removeprefix(WORD)
        if word and (not is_sign(word) or word == _UNKNOWN):
            same = source == word
            place = int(np.where(same, weights, -1.0).argmax() if same.any() else weights.argmax())
            result.append(Origin(word, float(share), place, float(weights[place])))
    return result


def copied_from(alignment: Alignment, shares: np.ndarray) -> np.ndarray:
    """The probability that each piece of an output was copied from each place of the source, ``(target, source)``.

    The sum of a row is its part of copying; the rest was written. Arguments as of `origins`.

    >>> one = Alignment(("▁Rex", "▁and", "▁Rex"), ("▁Rex",), np.array([[0.4, 0.5, 0.1]]))
    >>> copied_from(one, np.array([0.5])).round(3)
    array([[0.4, 0. , 0.1]])
    """
    words = (np.array([piece.removeprefix(WORD) for piece in side]) for side in (alignment.target, alignment.source))
    target, source = words
    same = np.where(target[:, None] == source, alignment.weights, 0.0)
    result: np.ndarray = shares[:, None] * same / np.maximum(same.sum(1, keepdims=True), 1e-12)
    return result


def render_origins(alignment: Alignment, shares: np.ndarray, width: int) -> Text:
    """A line for each word of the output: ``written``, or from where it was copied, within the words around it."""
    words = origins(alignment, shares)
    names = min(max((cell_len(one.word) for one in words), default=0), width // 3)
    text = Text(no_wrap=True, overflow="ellipsis")
    for one in words:
        text.append(" " * max(0, names - cell_len(one.word)) + isolated(one.word), "bold" if one.copied else "")
        if not one.copied:
            text.append(f"  written  {1 - one.share:4.0%}\n", "dim")
            continue
        before, after = (
            "".join(alignment.source[max(0, start) : end]).replace(WORD, " ")
            for start, end in ((one.place - _CONTEXT, one.place), (one.place + 1, one.place + 1 + _CONTEXT))
        )
        mark = " " if alignment.source[one.place].startswith(WORD) else ""
        text.append(f"  copied   {one.share:4.0%}  from piece {one.place + 1}:")
        text.append(before + mark, "dim").append(one.word, "bold").append(f"{after}\n", "dim")
    return text


def narrowed(alignment: Alignment, columns: int) -> Alignment:
    """The alignment with at most ``columns`` source words: those with the largest weights, in their order.

    >>> one = Alignment(("a", "b", "c"), ("x",), np.array([[0.5, 0.1, 0.4]]))
    >>> narrowed(one, 2).source
    ('a', 'c')
    """
    if len(alignment.source) <= columns:
        return alignment
    kept = np.sort(alignment.weights.max(0).argsort(kind="stable")[::-1][:columns])
    return Alignment(tuple(alignment.source[at] for at in kept), alignment.target, alignment.weights[:, kept])
