"""Writes an alignment to a file: as an interactive page or as an image, by the ending of its name."""

from __future__ import annotations

from pathlib import Path

from regard.explain.alignment import Alignment
from regard.explain.draw import save_picture
from regard.explain.page import save_page


def save_alignment(alignment: Alignment, path: Path, *, title: str, by_words: bool) -> None:
    """Write ``alignment`` to a page if the path ends in .html, otherwise to an image.

    Args:
        alignment: by pieces.
        path: a ``.html``, ``.png`` or ``.svg`` file.
        title: of the page; an image has none.
        by_words: whether the image is by words. A page shows both.

    Raises:
        UserError: the file name has another ending, or the file cannot be written.
    """
    if path.suffix.lower() in (".html", ".htm"):
        save_page([alignment], path, title=title)
    else:
        save_picture(alignment.words() if by_words else alignment, path)
