"""A server in a thread, whose predictor does what a test wants, and requests that are not as they should be."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from regard.server.app import make_app
from regard.server.limits import Limits
from regard.server.running import server_of
from regard.server.served import ServedRun
from regard.tasks.results import Failure
from toy import TOY, Model, Parity, ParityPredictor


class Gated(ParityPredictor):
    """Computes when its gate is open, and keeps what it computed."""

    def __init__(self) -> None:
        super().__init__(Model())
        self.gate, self.begun = threading.Event(), threading.Event()
        self.batches: list[list[str]] = []

    def predict(self, inputs: Iterable[str]) -> Iterator[Parity | Failure]:
        items = list(inputs)
        self.begun.set()
        assert self.gate.wait(30)
        self.batches.append(items)
        if "666" in items:
            raise ValueError("a mistake in the program")
        return super().predict(items)

    @property
    def items(self) -> list[str]:
        """All inputs that were computed."""
        return [item for batch in self.batches for item in batch]


def running(predictor: Any, limits: Limits, spec: Any = TOY) -> AbstractContextManager[tuple[str, int]]:
    """The host and the port of a server of a run that is called ``run``."""
    return serving([ServedRun("run", spec, predictor)], limits)


@contextmanager
def serving(runs: Sequence[ServedRun], limits: Limits, **options: Any) -> Iterator[tuple[str, int]]:
    """The host and the port of a server of some runs; options as of `make_app`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = server_of(make_app(runs, limits, **options), limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[:2]
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@contextmanager
def command(paths: Iterable[Path], *options: str) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    """The process of ``regard serve``, with its host and port."""
    call = [sys.executable, "-m", "regard", "serve", *map(str, paths), "--port", "0", *options]
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if line.startswith("serving at "))
            yield process, ("127.0.0.1", int(line.rstrip().rpartition(":")[2]))
        finally:
            process.terminate()
            process.stderr.read()  # so that it can write all that it has to say


def head_of(address: tuple[str, int], length: int) -> bytes:
    """The head of a request whose body has so many bytes."""
    lines = (
        "POST /api/runs/run/predict HTTP/1.1", f"host: {address[0]}", "content-type: application/json",
        f"content-length: {length}", "", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode()


def sent(address: tuple[str, int], item: str) -> socket.socket:
    """A connection on which a request for an item was sent."""
    connection = socket.create_connection(address, timeout=30)
    body = json.dumps({"input": item}).encode()
    connection.sendall(head_of(address, len(body)) + body)
    return connection


def received(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """The status, the head and the content of a response."""
    with connection, connection.makefile("rb") as file:
        status = int(file.readline().split()[1])
        head = dict(line.decode().strip().lower().split(": ", 1) for line in iter(file.readline, b"\r\n"))
        return status, head, json.loads(file.read(int(head["content-length"])))
