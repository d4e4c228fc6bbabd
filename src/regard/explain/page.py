"""Alignments as one self-contained page to point at: no server, no network, nothing to install."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from regard.explain.alignment import Alignment
from regard.explain.files import write_whole


def save_page(alignments: Sequence[Alignment], path: Path, *, title: str) -> None:
    """Write a page that shows each alignment by words and by pieces.

    A word can be chosen by the address: ``#2t3`` is the third target word of the second sentence.

    Raises:
        UserError: the file cannot be written.
    """
    data = [{"pieces": one.to_json(), "words": one.words().to_json()} for one in alignments]
    # "<" may begin no tag within the page's data, whatever the texts hold.
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    template = resources.files("regard.explain").joinpath("page.html").read_text(encoding="utf-8")
    page = template.replace("@TITLE@", html.escape(title)).replace("@DATA@", text)
    write_whole(path, lambda fresh: fresh.write_text(page, encoding="utf-8"))
