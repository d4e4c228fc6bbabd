"""A run on a server: how its requests are computed."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from regard.errors import UserError
from regard.server.batching import Job
from regard.server.operations import INPUT, Operation, operations
from regard.tasks.groups import Together
from regard.tasks.results import Failure, Shown
from regard.tasks.running import load
from regard.tasks.spec import TaskSpec
from regard.tasks.table import spec_of
from regard.tasks.task import Predictor
from regard.training import run as runs

logger = logging.getLogger("regard.server")

DRAWN = {"png": "image/png", "svg": "image/svg+xml", "html": "text/html; charset=utf-8"}
"""The forms of a drawing, with their types."""

DOCUMENT = "document"
"""The form that the viewer of a page reads: see `regard.viewer.document.Document`."""

FORMS = ("json", DOCUMENT, *DRAWN)
"""The forms in which the attention is returned."""


@dataclass(frozen=True)
class Answer:
    """The content of a response."""

    content: bytes
    media: str = "application/json"
    head: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Wanted:
    """A request as a job has it.

    Attributes:
        run: whose it is.
        operation: what is done.
        item: the input.
        options: of the command.
        form: of the result, one of `FORMS`.
        named: names of files of the request, and what the result calls them.
    """

    run: ServedRun
    operation: Operation
    item: str
    options: dict[str, Any]
    form: str = "json"
    named: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[object, ...] | None:
        """What is equal for requests that can be computed together."""
        if not self.operation.together:
            return None
        return id(self.run), self.operation.path, json.dumps(self.options, sort_keys=True)

    @property
    def name(self) -> str:
        """What is computed, for the log."""
        return f"{self.run.name}/{self.operation.path}"

    def answers(self, wanted: Sequence[Wanted]) -> list[Any]:
        """The answers, or exceptions, for requests with the same key, of which this is the first."""
        return [self.run.look(self)] if self.operation.command == "look" else self.run.predict(wanted)


@dataclass(frozen=True, eq=False)
class ServedRun:
    """A trained run.

    Attributes:
        name: in addresses.
        spec: the record of its task.
        predictor: its model.
    """

    name: str
    spec: TaskSpec
    predictor: Predictor

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What can be requested."""
        return operations(self.spec)

    def predict(self, wanted: Sequence[Wanted]) -> list[Any]:
        """The answer, or an exception, for each request; they have the same operation and options."""
        first = wanted[0]
        if first.operation.file in ("", INPUT):
            inputs = Together(one.item for one in wanted)
            results = list(self.predictor.predict(inputs, **first.options))
        else:
            results = list(self.predictor.predict((), **first.options))
        return [
            UserError(result.error)
            if isinstance(result, Failure)
            else Answer(encoded(renamed(result, one.named).to_dict()))
            for result, one in zip(results, wanted, strict=True)
        ]

    def look(self, wanted: Wanted) -> Answer:
        """The attention for a request. Raises UserError: there is none, or the input cannot be used."""
        shown: Shown = renamed(self.predictor.look(wanted.item, **wanted.options), wanted.named)
        if wanted.form == "json":
            return Answer(encoded(shown.to_dict(attention=True)))
        if wanted.form == DOCUMENT:
            return Answer(shown.document().to_bytes(), "application/octet-stream")
        with TemporaryDirectory(prefix="regard-") as folder:
            path = Path(folder) / f"look.{wanted.form}"
            shown.save(path)
            return Answer(path.read_bytes(), DRAWN[wanted.form])


class Content(Protocol):
    """What a job computes."""

    @property
    def name(self) -> str:
        """What it is, for the log."""
        ...

    def answers(self, wanted: Sequence[Any]) -> list[Any]:
        """The answers, or exceptions, for contents with the same key, of which this is the first."""
        ...


def compute(jobs: Sequence[Job]) -> list[Any]:
    """The answers of a batch of jobs, or exceptions; see `regard.server.batching.Batches`."""
    first: Content = jobs[0].content
    try:
        return first.answers([job.content for job in jobs])
    except UserError as error:
        return [error for _ in jobs]
    except Exception as error:
        if len(jobs) > 1:  # one of the inputs may be the cause, and the others have none of it
            return [result for job in jobs for result in compute([job])]
        logger.exception("%s", first.name)
        return [error]


def renamed(result: Any, named: Mapping[str, str]) -> Any:
    """A result, which calls files of the server what the request does."""
    if not dataclasses.is_dataclass(result) or isinstance(result, type):
        return result
    values = {one.name: getattr(result, one.name) for one in dataclasses.fields(result) if one.init}
    new = {name: named[value] for name, value in values.items() if isinstance(value, str) and value in named}
    return dataclasses.replace(result, **new) if new else result


def encoded(value: Any) -> bytes:
    """A result as JSON, in which numbers that are not finite are null."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if not isinstance(value, float) or math.isfinite(value) else None


def open_runs(folders: Sequence[Path], checkpoint: str) -> Iterator[ServedRun]:
    """Load runs.

    Raises:
        UserError: a folder is no run, or a file of it is missing or damaged.
    """
    for folder, name in zip(folders, names_of(folders), strict=True):
        yield ServedRun(name, spec_of(runs.kind(folder)), load(folder, checkpoint))


def names_of(paths: Sequence[Path]) -> list[str]:
    """Names for addresses, from those of files or folders; one that is taken already gets a number.

    >>> names_of([Path("a/my run"), Path("b/my run"), Path("view.safetensors")])
    ['my-run', 'my-run-2', 'view']
    """
    names = list[str]()
    for path in paths:
        place = path.resolve()
        stem = place.stem if place.suffix == ".safetensors" else place.name
        name = stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "run"
        number = 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names
