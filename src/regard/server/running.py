"""Runs the server until a signal ends it."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regard.errors import UserError, require
from regard.server.app import make_app
from regard.server.guard import Guard
from regard.server.limits import Limits
from regard.server.served import open_runs
from regard.server.views import open_views

_LATE = 0.25
"""Seconds in which requests that are on their way when a signal comes are still accepted."""

_CONNECTIONS = 1000
"""The largest number of connections."""

_IDLE = 5
"""Seconds after which a connection without a request is closed."""


def check_host(host: str, token: str | None) -> None:
    """Raises UserError: other machines reach the address, and there is no token, or a header cannot have it."""
    if token is not None and not re.fullmatch(r"[!-~]+", token):
        raise UserError("--token: expected ASCII characters without spaces, such as letters and digits")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if token is None and not loopback:
        raise UserError(
            f"--host: other machines reach {host}, so requests need a token; set REGARD_TOKEN or --token, or listen at "
            "127.0.0.1"
        )


def serve(
    paths: Sequence[Path], checkpoint: str, limits: Limits, *, host: str, port: int, names: Sequence[str],
    token: str | None,
) -> None:  # fmt: skip
    """Serve runs and files of views until SIGINT or SIGTERM; what was accepted by then is answered.

    Raises:
        UserError: a run or a file cannot be loaded, or the address is taken.
    """
    require("uvicorn", "serve", "regard serve")
    listening = listen(host, port)
    files = [path for path in paths if path.is_file()]
    runs = list(open_runs([path for path in paths if path not in files], checkpoint))
    views = list(open_views(files))
    app = make_app(runs, limits, views=views, names=(*names, host), token=token)
    for run in runs:
        print(f"{run.name}: {run.spec.name}", file=sys.stderr)
    for view in views:
        print(f"{view.name}: a saved view", file=sys.stderr)
    address, number = listening.getsockname()[:2]
    print(f"serving at http://{f'[{address}]' if ':' in address else address}:{number}", file=sys.stderr, flush=True)
    # uvicorn repeats the signal when it has ended, which would make an end that was asked for look like a failure.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda number, frame: None)
    server_of(app, limits).run(sockets=[listening])
    print("all requests are answered; the server has ended", file=sys.stderr)


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address. Raises UserError: it is taken, or none of this machine."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--host, --port: cannot listen at {host}:{port} ({reason})") from error
    # Connections inherit it. asyncio sets it only where the protocol was named; without it, each response waits 40 ms
    # for the client's acknowledgement of its head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def server_of(app: Guard, limits: Limits) -> Any:
    """A server of uvicorn for an application."""
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Connection(H11Protocol):
        """A connection that is closed when the head of a request does not arrive."""

        late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.expect()

        def handle_events(self) -> None:
            super().handle_events()
            self.expect()

        def expect(self) -> None:
            """Begin or end to wait for a head."""
            waits = self.cycle is None or self.cycle.response_complete
            if self.late is not None and not waits:
                self.late.cancel()
            if self.late is None or not waits:
                self.late = self.loop.call_later(limits.seconds, self.transport.close) if waits else None

        def connection_lost(self, exc: Exception | None) -> None:
            if self.late is not None:
                self.late.cancel()
            super().connection_lost(exc)

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.closing = True
            for server in self.servers:
                server.close()
            await asyncio.sleep(_LATE)
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app, http=Connection, ws="none", lifespan="on", log_level="warning", access_log=False, server_header=False,
        timeout_keep_alive=_IDLE, limit_concurrency=_CONNECTIONS, proxy_headers=False,
        timeout_graceful_shutdown=int(2 * limits.seconds) + 1,
    )  # fmt: skip
    return Server(config)
