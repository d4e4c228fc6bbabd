"""An alignment as text: a grid of shades if it fits, and for each target word the source words with most weight."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from regard.explain.alignment import Alignment, is_right_to_left

_SHADES = " ░▒▓█"
_NAMED = 2
"""The number of source words that are named after each row."""


def render(alignment: Alignment, width: int) -> Text:
    """Draw ``alignment``, readable without colour, no wider than ``width``.

    A row is a target word, a column a source word, with its number in the first line; the shade is the weight, full at
    1. After each row, the source words with the largest weights are named. If the grid is too wide, only these are
    shown. The columns of Hebrew, Arabic and other source text that is read from the right begin at the right. Words of
    such scripts are put in Unicode's isolates: a terminal that supports right-to-left text writes each of them from the
    right, and does not reorder the rest of the line.
    """
    columns = range(len(alignment.source))
    if is_right_to_left(alignment.source):
        columns = columns[::-1]
    # A target word takes at most half of the line, so that a long one leaves room for the rest.
    names = min(max([cell_len(word) for word in alignment.target], default=0), width // 2)
    words = [_strongest(alignment, row, width - names - 2) for row in range(len(alignment.target))]
    longest = max([cell_len(text) for text in words], default=0)
    fits = names + 2 + 3 * len(alignment.source) + 2 + longest <= width
    text = Text(no_wrap=True)
    if fits:
        text.append(" " * (names + 2) + "".join(f"{at + 1:<3}" for at in columns) + "\n", "dim")
    for row, word in enumerate(alignment.target):
        name = _cut(word, names)
        line = " " * (names - cell_len(name)) + isolated(name) + "  "
        if fits:
            line += "".join(_SHADES[_level(alignment.weights[row, at])] * 2 + " " for at in columns) + "  "
        text.append(_cut(line + words[row], width) + "\n")
    if fits:
        text.append("\n".join(_legend(alignment.source, width)), "dim")
    return text


def isolated(text: str) -> str:
    """``text``, in U+2067 … U+2069 if it is read from the right, so that a terminal does not reorder the rest."""
    return f"\u2067{text}\u2069" if is_right_to_left([text]) else text


def _legend(words: tuple[str, ...], width: int) -> list[str]:
    """The words with the numbers of their columns, in as many lines as needed; at the right if read from the right."""
    lines: list[list[str]] = [[]]
    for at, word in enumerate(words):
        entry = _cut(f"{at + 1} {word}", width)
        if lines[-1] and sum(cell_len(other) + 2 for other in lines[-1]) + cell_len(entry) > width:
            lines.append([])
        lines[-1].append(entry.removesuffix(word) + isolated(word) if entry.endswith(word) else entry)
    if not is_right_to_left(words):
        return ["  ".join(line) for line in lines]
    joined = ["  ".join(reversed(line)) for line in lines]
    longest = max(map(cell_len, joined))
    return [" " * (longest - cell_len(line)) + line for line in joined]


def _strongest(alignment: Alignment, row: int, width: int) -> str:
    """The source word with the largest weight, cut to fit with its percentage, and others if they fit uncut."""
    text = "← "
    for place, at in enumerate(alignment.weights[row].argsort(stable=True)[::-1][:_NAMED]):
        word, weight = alignment.source[at], float(alignment.weights[row, at])
        share = f" {weight:.0%}"
        if place == 0:
            text += isolated(_cut(word, width - len(text) - len(share))) + share
        elif weight >= 0.05 and cell_len(more := f", {isolated(word)}{share}") <= width - cell_len(text):
            text += more
    return text


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + "…"


def _level(weight: float) -> int:
    return min(len(_SHADES) - 1, int(weight * (len(_SHADES) - 1) + 0.5))
