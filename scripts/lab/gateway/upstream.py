"""HTTP to the applications behind the gateway: keeps connections alive, and never sends a write twice.

The other end may just have closed a kept connection. A request sent on it is then lost, and the sender cannot know
whether it was processed. Therefore a connection is reused only while the other end surely keeps it open, and only if
nothing has arrived on it since. A read that is lost anyway is sent once more on a new connection; a write never is.
"""

from __future__ import annotations

import asyncio
import select
import time
from dataclasses import dataclass, field
from typing import Any

import httptools

REUSE_SECONDS = 1.0
"""For how long an idle connection is reused; uvicorn closes one after 5 s."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Headers that belong to one connection, or that are written again (RFC 9110, 7.6.1).
_OF_ONE_CONNECTION = frozenset(
    {b"connection", b"content-length", b"expect", b"host", b"keep-alive", b"te", b"trailer", b"transfer-encoding"}
    | {b"upgrade"}
)


class NoAnswer(Exception):
    """No answer came: the connection was refused, or ended before the answer did."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """``target`` is the path with the query; header names are in lower case."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(slots=True)
class HttpAnswer:
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


class Upstream:
    """One host and port, with its idle connections, the most recently used last."""

    def __init__(self, authority: str) -> None:
        self._authority = authority
        host, _, port = authority.partition(":")
        self._address = (host, int(port or 80))
        self._idle: list[tuple[float, _UpstreamConnection]] = []

    async def ask(self, request: HttpRequest, seconds: float) -> HttpAnswer:
        """Sends a request. Raises NoAnswer, or TimeoutError after ``seconds``; the connection is then closed."""
        async with asyncio.timeout(seconds):
            connection = self._reusable_connection()
            if connection is not None:
                try:
                    return await self._ask(connection, request)
                except NoAnswer:
                    if request.method not in SAFE_METHODS:
                        raise
            return await self._ask(await self._connect(), request)

    async def _ask(self, connection: _UpstreamConnection, request: HttpRequest) -> HttpAnswer:
        answer = await connection.ask(self._authority, request)
        if connection.keeps:
            self._idle.append((time.monotonic(), connection))
        return answer

    def _reusable_connection(self) -> _UpstreamConnection | None:
        """Returns the most recently used connection that can be reused, else None."""
        oldest = time.monotonic() - REUSE_SECONDS
        while self._idle:
            idle_since, connection = self._idle.pop()
            if idle_since >= oldest and connection.is_reusable():
                return connection
            connection.close()
        return None

    async def _connect(self) -> _UpstreamConnection:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(_UpstreamConnection, *self._address)
        except OSError as error:
            raise NoAnswer("refused") from error
        return connection

    def close(self) -> None:
        for _, connection in self._idle:
            connection.close()
        self._idle.clear()


class _UpstreamConnection(asyncio.Protocol):
    """One request at a time; the parser calls the methods that start with ``on_``."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._parser: Any = None
        self._answered: asyncio.Future[HttpAnswer] | None = None
        self._answer = HttpAnswer()
        self._without_body = False
        self.keeps = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    async def ask(self, authority: str, request: HttpRequest) -> HttpAnswer:
        """Sends the request and waits for the whole answer. Raises NoAnswer if the connection ends first."""
        self._answer, self._without_body, self.keeps = HttpAnswer(), request.method == "HEAD", False
        self._parser = httptools.HttpResponseParser(self)
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(_encoded(authority, request))
        try:
            return await self._answered
        finally:
            self._answered = None
            if not self.keeps:
                self.close()

    def data_received(self, data: bytes) -> None:
        if self._answered is None:
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(NoAnswer("not HTTP"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(NoAnswer("reset"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        if self._without_body:
            self._end(self._answer)

    def on_body(self, body: bytes) -> None:
        self._answer.body += body

    def on_message_complete(self) -> None:
        self.keeps = not self._without_body and self._parser.should_keep_alive()
        self._end(self._answer)

    def _end(self, result: HttpAnswer | NoAnswer) -> None:
        if self._answered is None or self._answered.done():
            return
        if isinstance(result, NoAnswer):
            self._answered.set_exception(result)
        else:
            self._answered.set_result(result)

    def is_reusable(self) -> bool:
        """Returns whether the connection is open and nothing unread has arrived on it."""
        if self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        self._transport.abort()


def _encoded(authority: str, request: HttpRequest) -> bytes:
    lines = [f"{request.method} {request.target} HTTP/1.1\r\nhost: {authority}".encode("latin-1")]
    lines += [name + b": " + value for name, value in end_to_end_headers(request.headers)]
    if request.body or request.method not in SAFE_METHODS:
        lines.append(b"content-length: %d" % len(request.body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + request.body


def end_to_end_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Returns the headers that are forwarded to the other end."""
    return [(name, value) for name, value in headers if name not in _OF_ONE_CONNECTION]
