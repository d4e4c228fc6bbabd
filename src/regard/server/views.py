"""Saved views of whole models on a server: the viewer asks for tiles, rows and statistics, which are computed here."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from regard.errors import require
from regard.server.batching import Batches
from regard.server.endpoints import REASONS, Responses, answered
from regard.server.served import Answer, names_of
from regard.viewer.answers import Answers
from regard.views import load
from regard.views.document import document_of

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

_SIDE, _POSITION = (1, 4096), (0, 2**31 - 1)
_POOLING = Literal["mean", "max"]
_PARAMETERS: dict[str, dict[str, Any]] = {
    "tile": {
        "q0": _POSITION, "q1": _POSITION, "k0": _POSITION, "k1": _POSITION, "rows": _SIDE, "columns": _SIDE,
        "pooling": _POOLING,
    },
    "row": {"query": _POSITION},
    "column": {"key": _POSITION},
    "statistic": {"name": Literal["entropy", "received", "sinks"]},
    "thumbnail": {"size": _SIDE, "pooling": _POOLING},
}  # fmt: skip
"""What the viewer asks for besides layer and head: the range of whole numbers, or names."""


@dataclass(frozen=True, eq=False)
class ServedView:
    """A saved view.

    Attributes:
        name: in addresses.
        answers: to what the viewer asks.
    """

    name: str
    answers: Answers


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of a view, as a job has it."""

    view: ServedView
    what: str
    parameters: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.view.name}/{self.what}"

    def answers(self, wanted: Sequence[Any]) -> list[Any]:
        """The numbers, as little-endian float32, with their size and how exact they are in the head."""
        how, rows, columns, values = self.view.answers.answer(self.what, self.parameters)
        head = {"X-Regard-How": how, "X-Regard-Size": f"{rows},{columns}"}
        return [Answer(values, "application/octet-stream", head)]


def open_views(files: Sequence[Path]) -> Iterator[ServedView]:
    """Load files of `regard.views.ModelView.save`. Raises UserError: one is none of these."""
    for path, name in zip(files, names_of(files), strict=True):
        view = load(path)
        document = document_of(view, title=path.name, limit=0)
        yield ServedView(name, Answers(document, [layer.view for layer in view.layers]))


def add_view(app: FastAPI, view: ServedView, batches: Batches) -> None:
    """Add the endpoints of a view, which ``viewer/static/remote.js`` asks."""
    from starlette.responses import Response

    content = json.dumps(view.answers.meta, ensure_ascii=False).encode("utf-8", "replace")

    async def meta():  # type: ignore[no-untyped-def]  # FastAPI would look for the type at run time
        return Response(content, media_type="application/json")

    app.add_api_route(
        f"/api/views/{view.name}/meta", meta, response_model=None, tags=[view.name], summary="Axes and layers",
        operation_id=f"{view.name}-meta",
    )  # fmt: skip
    for what in _PARAMETERS:
        _add_part(app, view, what, batches)


def _add_part(app: FastAPI, view: ServedView, what: str, batches: Batches) -> None:
    from fastapi import Query
    from starlette.requests import Request

    model = _model_of(view, what)

    async def endpoint(request: Request, asked: Any) -> Response:
        return await answered(request, _Part(view, what, asked.model_dump()), batches)

    kind = inspect.Parameter.KEYWORD_ONLY
    endpoint.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
        inspect.Parameter("request", kind, annotation=Request),
        inspect.Parameter("asked", kind, annotation=Annotated[model, Query()]),
    ])  # fmt: skip
    numbers = {"description": "Float32, little-endian, row by row.", "content": {"application/octet-stream": {}}}
    responses: Responses = {200: numbers, **REASONS}
    app.add_api_route(
        f"/api/views/{view.name}/{what}", endpoint, response_model=None, tags=[view.name], responses=responses,
        summary=f"A {what} of a head; head −1 is the mean of all", operation_id=f"{view.name}-{what}",
    )  # fmt: skip


def _model_of(view: ServedView, what: str) -> type:
    """The parameters of a part, with their ranges."""
    pydantic: Any = require("pydantic", "serve", "a server")
    layers = view.answers.meta["layers"]
    ranges = {"layer": (0, len(layers) - 1), "head": (-1, max(one["shape"][0] for one in layers) - 1)}
    fields = {
        name: (int, pydantic.Field(ge=kind[0], le=kind[1])) if isinstance(kind, tuple) else (kind, ...)
        for name, kind in {**ranges, **_PARAMETERS[what]}.items()
    }
    model: type = pydantic.create_model(f"{view.name} {what}", __config__={"extra": "forbid"}, **fields)
    return model
