"""The viewer in a notebook: messages with binary answers, by anywidget."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from regard.errors import UserError, require
from regard.viewer.answers import Answers
from regard.viewer.page import bundled, stylesheet


def widget(answers: Answers) -> Any:
    """A widget that shows what ``answers`` has; it computes each part when it is looked at.

    Raises:
        UserError: the extra ``notebook`` is not installed.
    """
    shown = _kind()(meta=json.dumps(answers.meta, ensure_ascii=False))
    shown.on_msg(lambda sender, content, buffers: shown.send(*reply(answers, content)))
    return shown


def reply(answers: Answers, content: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """The answer to a message of ``static/notebook.js``, as a message and its buffers."""
    number = content.get("number")
    try:
        how, rows, columns, values = answers.answer(str(content.get("what")), dict(content.get("parameters", {})))
    except UserError as error:
        return {"number": number, "error": str(error)}, []
    return {"number": number, "how": how, "rows": rows, "columns": columns}, [values]


@cache
def _kind() -> Any:
    anywidget = require("anywidget", "notebook", "the viewer in a notebook")
    traitlets = require("traitlets", "notebook", "the viewer in a notebook")
    meta = traitlets.Unicode().tag(sync=True)
    return type("Viewer", (anywidget.AnyWidget,), {
        "__doc__": "The viewer.", "_esm": bundled("notebook.js"), "_css": stylesheet(), "meta": meta,
    })  # fmt: skip
