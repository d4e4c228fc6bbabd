"""What every request passes: whom it is from and to, whether it has the token, how large it is and how slow."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from regard.server.limits import Limits
from regard.server.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content-security policy of all responses: scripts and styles of this server only."""

HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)

PRIVATE = ("/api/", "/metrics", "/openapi.json")
"""The beginnings of addresses that need the token; the others are the same for everybody."""

_DISCARDED = 5.0
"""For how many seconds the rest of a body is read after a refusal, so that the client reads the reason."""


class Refused(Exception):
    """A request is refused: the status of the response and the reason."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """The application behind checks.

    Args:
        app: the application.
        names: names of the server, besides its addresses and localhost.
        token: which requests need; None: they need none.
        limits: of bodies.
        metrics: count the requests.
    """

    def __init__(self, app: App, names: Iterable[str], token: str | None, limits: Limits, metrics: Metrics):
        self._app, self._limits, self._metrics = app, limits, metrics
        self._names = {"localhost", *(name.lower() for name in names)}
        self._token = None if token is None else token.encode()
        self.closing = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._limits, close=lambda: self.closing)
        begun = time.monotonic()
        try:
            self._check(scope)
            await self._app(scope, exchange.receive, exchange.send)
        except Refused as refused:
            await exchange.refuse(refused)
        finally:
            self._metrics.request(scope["path"], exchange.status, time.monotonic() - begun)

    def _check(self, scope: Message) -> None:
        """Raises Refused: by what its head says."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_own(host):
            raise Refused(403, f"host: {host!r} is no name of this server; allow it with --name")
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").partition("://")[2] != host:
            raise Refused(403, f"origin: pages of {origin.decode('latin-1')!r} may not use this server")
        if self._token is not None and scope["path"].startswith(PRIVATE):
            scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._token):
                raise Refused(401, "authorization: expected Bearer and the token of this server")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._limits.bytes:
            raise _too_large(self._limits)

    def _is_own(self, host: str) -> bool:
        """Whether the header names this server. An address is no name that another site can make its own."""
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if name.lower() in self._names:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Message, receive: Receive, send: Send, limits: Limits, close: Callable[[], bool]):
        self._receive, self._send, self._limits, self._close = receive, send, limits, close
        self._deadline = time.monotonic() + limits.seconds
        headers = {name for name, value in scope["headers"] if value != b"0"}
        self._size, self._complete = 0, headers.isdisjoint((b"content-length", b"transfer-encoding"))
        self._refused: Refused | None = None
        self.status = 499
        """Of the response; 499: there was none, because the client was gone."""

    async def receive(self) -> Message:
        """A part of the body, within the limits. Raises Refused: it has too many bytes, or is too slow."""
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            self._refused = Refused(
                408, f"body: not complete after {self._limits.seconds:g} seconds, the limit (--seconds)"
            )
            raise self._refused from None
        self._count(message)
        if self._size > self._limits.bytes:
            self._refused = _too_large(self._limits)
            raise self._refused
        return message

    def _count(self, message: Message) -> None:
        self._size += len(message.get("body", b""))
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)

    async def send(self, message: Message) -> None:
        """A part of the response; that of a request whose body was refused is the reason."""
        if self._refused is not None:
            raise self._refused
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {name.lower() for name, _ in message.get("headers", ())}
            added = [header for header in HEADERS if header[0] not in own]
            if self._close() or not self._complete:
                added.append((b"connection", b"close"))
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        elif not message.get("more_body", False) and not self._complete:
            await self._send({**message, "more_body": True})
            await self._discard()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def refuse(self, refused: Refused) -> None:
        """Send the reason."""
        self._refused = None
        if self.status != 499:  # the response has begun
            return
        content = json.dumps({"error": refused.reason}, ensure_ascii=False).encode("utf-8", "replace")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        if refused.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await self.send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": content, "more_body": False})

    async def _discard(self) -> None:
        """Read what is left of the body for a while, since a client that still sends reads no response."""
        if self.status == 408:
            return
        try:
            async with asyncio.timeout(_DISCARDED):
                while not self._complete:
                    self._count(await self._receive())
        except TimeoutError:
            pass


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"body: larger than {limits.megabytes:g} MB, the limit (--megabytes)")
