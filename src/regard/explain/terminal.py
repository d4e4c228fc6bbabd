"""An alignment as text: a grid of shades where it fits, and for each target word what it attended to most."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from regard.explain.alignment import Alignment

_SHADES = " ░▒▓█"
_NAMED = 2
"""How many source words are named behind each row."""


def render(alignment: Alignment, width: int) -> Text:
    """Draw ``alignment``, readable without colour, no wider than ``width``.

    A row is a target word, a column a source word, by its number in the line above; the shade is the weight, full at 1.
    Behind each row stand its strongest source words. Where the grid is too wide, only these are shown.
    """
    names = max([cell_len(word) for word in alignment.target], default=0)
    words = [_strongest(alignment, row) for row in range(len(alignment.target))]
    told = max([cell_len(text) for text in words], default=0)
    room = names + 2 + 3 * len(alignment.source) + 2 + told <= width
    text = Text(no_wrap=True)
    if room:
        text.append(" " * (names + 2) + "".join(f"{at + 1:<3}" for at in range(len(alignment.source))) + "\n", "dim")
    for row, word in enumerate(alignment.target):
        line = " " * (names - cell_len(word)) + word + "  "
        if room:
            line += "".join(_SHADES[_level(weight)] * 2 + " " for weight in alignment.weights[row]) + "  "
        text.append(set_cell_size(line + words[row], min(width, cell_len(line + words[row]))) + "\n")
    if room:
        text.append("\n".join(_legend(alignment.source, width)), "dim")
    return text


def _legend(words: tuple[str, ...], width: int) -> list[str]:
    lines = [""]
    for at, word in enumerate(words):
        entry = f"{at + 1} {word}"
        if lines[-1] and cell_len(lines[-1]) + 2 + cell_len(entry) > width:
            lines.append("")
        lines[-1] += ("  " if lines[-1] else "") + entry
    return [set_cell_size(line, min(width, cell_len(line))) for line in lines]


def _strongest(alignment: Alignment, row: int) -> str:
    order = alignment.weights[row].argsort()[::-1][:_NAMED]
    found = [(alignment.source[at], float(alignment.weights[row, at])) for at in order]
    return "← " + ", ".join(f"{word} {weight:.0%}" for word, weight in found if weight >= 0.05)


def _level(weight: float) -> int:
    return min(len(_SHADES) - 1, int(weight * (len(_SHADES) - 1) + 0.5))
