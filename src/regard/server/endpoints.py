"""The endpoints of a run: a request is checked, waits in the queue, and gets its answer or the reason why not."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Hashable, Mapping
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from regard.errors import UserError
from regard.server.batching import Batches, Full
from regard.server.operations import Operation
from regard.server.schemas import model_of
from regard.server.served import DRAWN, FORMS, Answer, Content, ServedRun, Wanted

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

FAILED = "error of the server; its log says more"
"""Why there is no result, if the server has an error."""

_NOT_READ = ("multipart/form-data", "application/x-www-form-urlencoded")

Responses = dict[int | str, dict[str, Any]]
"""Responses of an operation in the OpenAPI document, by status."""

ERROR: dict[str, Any] = {
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
        }
    }
}
"""The content of a response that says why there is no result."""

_REASONS = {
    400: "The body is not readable.", 401: "The token is missing or wrong.", 403: "Another site asks.",
    408: "The body is too slow.", 413: "The body is too large.", 415: "The body is a form.",
    422: "A value or the input cannot be used.", 500: "An error of the server.", 503: "Too many requests wait.",
    504: "The result takes too long.",
}  # fmt: skip


REASONS: Responses = {status: {"description": text, **ERROR} for status, text in _REASONS.items()}
"""Responses that say why there is no result."""


def error(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    """A response that says why there is no result."""
    from starlette.responses import JSONResponse

    return JSONResponse({"error": reason.encode("utf-8", "replace").decode()}, status, dict(headers or {}))


def add_run(app: FastAPI, run: ServedRun, batches: Batches) -> None:
    """Add the endpoints of a run."""
    for operation in run.operations:
        _add_operation(app, run, operation, batches)


def _add_operation(app: FastAPI, run: ServedRun, operation: Operation, batches: Batches) -> None:
    from fastapi import Body, Query
    from starlette.requests import Request

    words = re.sub(r"\W+", " ", f"{run.name} {operation.path}").title().replace(" ", "")
    model = model_of(words, operation, FORMS, batches.limits)

    async def endpoint(request: Request, asked: Any) -> Response:
        return await _respond(request, run, operation, asked.model_dump(), batches)

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("request", kind, annotation=Request),
        inspect.Parameter("asked", kind, annotation=Annotated[model, Query() if operation.file else Body()]),
    ]
    endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    file = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    does = run.spec.verb.summary if operation.command == "predict" else "Show what the model attends to"
    app.add_api_route(
        f"/api/runs/{run.name}/{operation.path}", endpoint, methods=["POST"], response_model=None, tags=[run.name],
        summary=does, operation_id=words, responses=_responses(operation),
        openapi_extra={"requestBody": {"required": True, **file}} if operation.file else None,
    )  # fmt: skip


def _responses(operation: Operation) -> Responses:
    """The responses in the OpenAPI document."""
    contents: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if operation.command == "look":
        drawn = [media.partition(";")[0] for media in DRAWN.values()]
        contents |= {media: {} for media in ("application/octet-stream", *drawn)}
    return {200: {"description": "The result.", "content": contents}, **REASONS}


async def _respond(
    request: Request, run: ServedRun, operation: Operation, values: dict[str, Any], batches: Batches
) -> Response:
    """The response to a request whose values have the right types."""
    form, name = values.pop("as", "json"), values.pop("name", "")
    size = sum(len(value) for value in values.values() if isinstance(value, str))
    needed = operation.file or operation.texts
    with TemporaryDirectory(prefix="regard-") if needed else nullcontext("") as folder:
        path = Path(folder) / "upload"
        named = {str(path): name} if operation.file else {}
        if operation.file:
            kind = request.headers.get("content-type", "").partition(";")[0]
            if kind in _NOT_READ:
                return error(415, f"body: {kind} is not read; send the file itself as the body")
            size = await _write(request, path)
            values[operation.file] = str(path)
        try:
            item, options = operation.call(values, Path(folder))
        except UserError as problem:
            return error(422, _reason(str(problem), named))
        wanted = Wanted(run, operation, item, options, form, named)
        return await answered(request, wanted, batches, key=wanted.key, size=size, named=named)


async def answered(
    request: Request, content: Content, batches: Batches, *, key: Hashable = None, size: int = 0,
    named: Mapping[str, str] | None = None,
) -> Response:  # fmt: skip
    """The response to a request that waits in the queue, or why there is none; arguments as of `Wanted` and `Job`."""
    limits = batches.limits
    try:
        return await _answer(request, content, key, size, batches)
    except Full as full:
        wait = {"Retry-After": str(full.seconds)}
        return error(503, f"queue: {limits.waiting} requests wait, the limit (--waiting); try again later", wait)
    except TimeoutError:
        return error(504, f"result: not ready after {limits.seconds:g} seconds, the limit (--seconds)")
    except UserError as problem:
        return error(422, _reason(str(problem), named or {}))
    except Exception:  # it is in the log, see `regard.server.served.compute`
        return error(500, FAILED)


async def _write(request: Request, path: Path) -> int:
    """Write the body to a file, and return its size."""
    size = 0
    with path.open("wb") as file:
        async for part in request.stream():
            size += file.write(part)
    return size


async def _answer(request: Request, content: Content, key: Hashable, size: int, batches: Batches) -> Response:
    """Wait for the answer; a request whose client is gone leaves the queue. Raises what `Batches.result` does."""
    from starlette.responses import Response

    result = asyncio.create_task(batches.result(key, size, content))
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({result, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            return error(499, "the client is gone")
        answer: Answer = result.result()
        return Response(answer.content, media_type=answer.media, headers=answer.head)
    finally:
        result.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    """Returns when the connection is closed."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _reason(text: str, named: Mapping[str, str]) -> str:
    """The text of an error without names of files of the server, and without dashes of options."""
    for path, name in named.items():
        text = text.replace(path, name)
    return re.sub(r"^--(?=[a-z])", "", text)
