"""The viewer as one HTML file that needs no network: its modules as one script, and the document in base64."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import re
from functools import cache
from importlib import resources
from pathlib import Path

from regard.files import write_text
from regard.viewer.document import Document

_IMPORT = re.compile(r'^import\s*\{[^}]*\}\s*from\s*"\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)(?:\{\};\n)?", re.MULTILINE)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main id="viewer"></main>
<script type="application/octet-stream+base64" id="document">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def page(document: Document) -> str:
    """The text of an HTML file that shows a document.

    It holds all that it needs, and its content-security policy forbids every request.

    Example:
        >>> import torch
        >>> from regard.viewer.document import Axis, Layer
        >>> axes = [Axis(["a", "house"]), Axis(["ein", "Haus"])]
        >>> weights = torch.tensor([[[0.9, 0.1], [0.2, 0.8]]])
        >>> text = page(Document("<alignment>", axes, [Layer("cross", (1, 2, 2), 0, 1, {"rows": weights})]))
        >>> "<title>&lt;alignment&gt;</title>" in text
        True
    """
    # In braces, so that none of its names becomes a property of the page; strict, as modules are.
    script, style = f'"use strict";\n{{\n{bundled("embedded.js")}}}', stylesheet()
    policy = "; ".join(
        [
            "default-src 'none'", f"script-src {_hash(script)}", f"style-src {_hash(style)}", "img-src data: blob:",
            "worker-src blob:", "base-uri 'none'", "form-action 'none'",
        ]
    )  # fmt: skip
    data = base64.b64encode(gzip.compress(document.to_bytes(), 6, mtime=0)).decode("ascii")
    return _PAGE.format(policy=policy, title=html.escape(document.title), style=style, data=data, script=script)


def write_page(document: Document, path: Path) -> None:
    """Write the file of `page`. Raises UserError: it cannot be written."""
    write_text(path, page(document))


@cache
def bundled(entry: str) -> str:
    """A module of ``static/`` and all that it imports, in one text without imports and exports but a default one.

    The modules come in the order of their imports. Their names at the top level are all different, which a test checks.
    """
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        if name in texts:
            return
        text = static(name)
        texts[name] = ""  # before its imports, which could form a circle
        for imported in _IMPORT.findall(text):
            add(imported)
        del texts[name]
        texts[name] = _EXPORT.sub("", _IMPORT.sub("", text))

    add(entry)
    return "\n".join(texts.values())


def stylesheet() -> str:
    """The styles of the viewer."""
    return static("viewer.css")


def static(name: str) -> str:
    """The text of a file of the viewer."""
    return resources.files("regard.viewer").joinpath("static", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
