"""Alignments as one self-contained interactive page, without a server or network."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from regard.explain.alignment import Alignment, is_right_to_left
from regard.files import write_text


def save_page(alignments: Sequence[Alignment], path: Path, *, title: str) -> None:
    """Write a page that shows each alignment by words and by pieces, in which the parts of a character are joined.

    A word can be selected by the address: ``#2t3`` is the third target word of the second sentence, ``#s4`` the fourth
    source word of the first.

    Raises:
        UserError: the file cannot be written.
    """
    data = [{"pieces": _rounded(one.characters()), "words": _rounded(one.words())} for one in alignments]
    # No "<" in the texts may begin a tag within the page's data.
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    write_text(path, filled("page.html", TITLE=html.escape(title), DATA=text))


def filled(template: str, **parts: str) -> str:
    """A file of this folder in which each ``@NAME@`` is replaced by the part of this name."""
    text = resources.files("regard.explain").joinpath(template).read_text(encoding="utf-8")
    # In one pass, so that a part that looks like a placeholder is not replaced.
    return re.sub("|".join(f"@{name}@" for name in parts), lambda place: parts[place[0].strip("@")], text)


def _rounded(alignment: Alignment) -> dict[str, Any]:
    weights = alignment.weights.astype(np.float64).round(4).tolist()
    directions = ["rtl" if is_right_to_left(side) else "ltr" for side in (alignment.source, alignment.target)]
    return {"source": alignment.source, "target": alignment.target, "weights": weights, "directions": directions}
