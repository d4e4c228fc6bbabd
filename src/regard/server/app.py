"""The application: the JSON API of runs, their pages, the state and the figures of the server."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from regard import __version__
from regard.errors import require
from regard.server.batching import Batches
from regard.server.endpoints import FAILED, add_run, error
from regard.server.files import FILES, PAGES, content_of
from regard.server.guard import Guard
from regard.server.limits import Limits
from regard.server.metrics import Metrics
from regard.server.schemas import described
from regard.server.served import FORMS, ServedRun, compute
from regard.server.views import ServedView, add_view

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

_DESCRIPTION = "Results of trained models, and what they attended to. Errors are JSON with the reason in `error`."


def make_app(
    runs: Sequence[ServedRun],
    limits: Limits | None = None,
    *,
    views: Sequence[ServedView] = (),
    names: Sequence[str] = (),
    token: str | None = None,
) -> Guard:
    """The application for some runs and views.

    Args:
        runs: with different names.
        limits: of requests.
        views: likewise.
        names: names of the server, besides its addresses and localhost.
        token: which requests need; None: they need none.

    Returns:
        An ASGI application.

    Raises:
        UserError: a package is not installed.
    """
    fastapi: Any = require("fastapi", "serve", "a server")
    limits = limits or Limits()
    batches = Batches(compute, limits, lambda size: metrics.batch(size))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(batches.run())
        yield
        batches.close()
        await running

    app: FastAPI = fastapi.FastAPI(
        title="regard", version=__version__, description=_DESCRIPTION, docs_url=None, redoc_url=None,
        lifespan=lifespan, redirect_slashes=False,
    )  # fmt: skip
    _add_errors(app)
    for run in runs:
        add_run(app, run, batches)
    for view in views:
        add_view(app, view, batches)
    paths = {getattr(route, "path", "") for route in app.routes} | {"/healthz", "/metrics", "/api/runs", "/api/views"}
    metrics = Metrics(paths, lambda: batches.waiting)
    guard = Guard(app, names, token, limits, metrics)
    _add_state(app, guard, metrics)
    _add_lists(app, runs, views)
    _add_pages(app, runs, views)
    return guard


def _add_errors(app: FastAPI) -> None:
    """Every error is JSON with a reason."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, problem: RequestValidationError) -> Response:
        first = problem.errors()[0]
        if first["type"] == "json_invalid":
            return error(422, f"body: not JSON ({first['ctx']['error']}, at character {first['loc'][-1]})")
        names = [str(part) for part in first["loc"] if part not in ("body", "query")]
        hint = ""
        if not names and request.headers.get("content-type", "").partition(";")[0] != "application/json":
            hint = "; send JSON with Content-Type: application/json"
        return error(422, f"{'.'.join(names) or 'body'}: {first['msg']}{hint}")

    @app.exception_handler(HTTPException)
    async def refused(request: Request, problem: HTTPException) -> Response:
        reason = str(problem.detail)
        if problem.status_code == 404:
            reason = f"{request.url.path}: there is nothing at this address; /api/runs lists the runs"
        if problem.status_code == 405:
            reason = f"{request.method}: is not possible for {request.url.path}"
        return error(problem.status_code, reason, problem.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, problem: Exception) -> Response:
        return error(500, FAILED)


def _add_state(app: FastAPI, guard: Guard, metrics: Metrics) -> None:
    from fastapi.responses import JSONResponse
    from fastapi.responses import Response as Plain

    async def health():  # type: ignore[no-untyped-def]  # FastAPI would look for the type at run time
        return error(503, "the server ends") if guard.closing else JSONResponse({"status": "ok"})

    async def figures():  # type: ignore[no-untyped-def]
        return Plain(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    ended: dict[int | str, dict[str, Any]] = {
        503: {"description": "The server ends.", "content": {"application/json": {}}}
    }
    text: dict[int | str, dict[str, Any]] = {
        200: {"description": "Figures.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    }
    app.add_api_route(
        "/healthz", health, response_model=None, summary="Whether the server takes requests", responses=ended,
        operation_id="health",
    )  # fmt: skip
    app.add_api_route(
        "/metrics", figures, response_model=None, response_class=Plain, summary="Figures for Prometheus",
        responses=text, operation_id="metrics",
    )  # fmt: skip


def _add_lists(app: FastAPI, runs: Sequence[ServedRun], views: Sequence[ServedView]) -> None:
    listed = [_description(run) for run in runs]

    app.add_api_route(
        "/api/runs", _constant({"runs": listed}), response_model=None,
        summary="The runs, and what can be requested of each",
        operation_id="runs",
    )  # fmt: skip
    app.add_api_route(
        "/api/views", _constant({"views": [{"name": view.name, **_summary(view)} for view in views]}),
        response_model=None, summary="The saved views", operation_id="views",
    )  # fmt: skip
    for one in listed:
        app.add_api_route(
            f"/api/runs/{one['name']}", _constant(one), response_model=None, summary=f"What {one['name']} is",
            operation_id=f"run-{one['name']}",
        )  # fmt: skip


def _summary(view: ServedView) -> dict[str, Any]:
    """What the list of views says about one."""
    meta = view.answers.meta
    heads = sum(layer["shape"][0] for layer in meta["layers"])
    return {"title": meta["title"], "layers": len(meta["layers"]), "heads": heads}


def _constant(content: dict[str, Any]) -> Any:
    from fastapi.responses import JSONResponse

    async def endpoint() -> JSONResponse:
        return JSONResponse(content)

    endpoint.__signature__ = inspect.Signature()  # type: ignore[attr-defined]  # without types that FastAPI looks for
    return endpoint


def _description(run: ServedRun) -> dict[str, Any]:
    """What a page needs to know about a run."""
    return {
        "name": run.name,
        "task": run.spec.name,
        "summary": run.spec.verb.summary,
        "unit": run.spec.verb.unit,
        "forms": list(FORMS),
        "operations": [
            {
                "command": one.command, "path": f"/api/runs/{run.name}/{one.path}", "file": one.file,
                "media": one.media, "asked": [described(value) for value in one.asked],
            }
            for one in run.operations
        ],
    }  # fmt: skip


def _add_pages(app: FastAPI, runs: Sequence[ServedRun], views: Sequence[ServedView]) -> None:
    """Pages and their files, which are the same for everybody."""
    from starlette.exceptions import HTTPException
    from starlette.responses import Response as Plain

    def page(name: str) -> Any:
        async def endpoint(request: Request) -> Response:
            return Plain(content_of(PAGES[name]), media_type="text/html; charset=utf-8")

        return endpoint

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            raise HTTPException(404)
        content, media = FILES[name]
        return Plain(content_of(content), media_type=media)

    app.add_route("/", page("index"), include_in_schema=False)
    for run in runs:
        app.add_route(f"/runs/{run.name}", page("run"), include_in_schema=False)
    for view in views:
        app.add_route(f"/views/{view.name}", page("view"), include_in_schema=False)
    app.add_route("/static/{name}", file, include_in_schema=False)
