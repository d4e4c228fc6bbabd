"""The files of the pages. Their names are a fixed list, so that no address names another file."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable

_MEDIA = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


def _static(package: str) -> Traversable:
    return resources.files(package) / "static"


PAGES = {name: _static("regard.server") / f"{name}.html" for name in ("index", "run", "view")}
"""The pages by name."""

FILES = {
    one.name: (one, media)
    for package in ("regard.viewer", "regard.server")
    for one in _static(package).iterdir()
    for ending, media in _MEDIA.items()
    if one.name.endswith(ending)
}
"""Scripts and styles by name, with their types: those that were there when the server began."""


def content_of(file: Traversable) -> bytes:
    """The content of one of these files."""
    return file.read_bytes()
