"""Writes what a look shows to a file: as a page of the viewer or as an image, by the ending of its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from regard.explain.draw import check_image_name
from regard.files import is_page
from regard.viewer.document import Document
from regard.viewer.page import write_page


def save(path: str | Path, document: Callable[[], Document], draw: Callable[[Path], object]) -> None:
    """Write a page if the path ends in .html, otherwise an image.

    Args:
        path: a ``.html``, ``.png`` or ``.svg`` file.
        document: makes what a page shows.
        draw: writes an image.

    Raises:
        UserError: the file name has another ending, or the file cannot be written.
    """
    path = Path(path)
    if is_page(path):
        write_page(document(), path)
    else:
        check_image_name(path, page=True)
        draw(path)
