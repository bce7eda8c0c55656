"""A small HTTP/1.1 server on asyncio and httptools, for the local model server and for measuring clients.

Costs about a tenth of a millisecond per request, so that what a benchmark measures is the client.
Covers: keep-alive, TLS, plain and chunked request bodies, several requests on one connection one after the other.
Does not cover: pipelining, uploads that don't fit into memory, the open internet.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import httptools

REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}

MAX_BODY_BYTES = 256 * 1024 * 1024


class Incoming(NamedTuple):
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Outgoing(NamedTuple):
    """What is sent back. `cut` breaks the line after so many bytes of the body (0: before any answer); None sends it whole."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    cut: int | None = None


Handler = Callable[[Incoming], Awaitable[Outgoing]]


class HttpServer:
    """Serves a handler on a loopback port."""

    def __init__(self, handler: Handler, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._tls = tls
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._lines: set[_Line] = set()

    async def start(self) -> str:
        """Listen; returns the base URL, `http://HOST:PORT`, with TLS `https://HOST:PORT`.

        Raises:
            OSError: the port is taken.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Line(self._handler, self._lines), self._host, self._port, backlog=2048, ssl=self._tls
        )
        port = self._server.sockets[0].getsockname()[1]
        return f"http{'s' if self._tls else ''}://{self._host}:{port}"

    async def stop(self) -> None:
        """Stop listening and drop all connections."""
        if self._server is not None:
            self._server.close()
            for line in list(self._lines):
                line.drop()
            await asyncio.sleep(0)


class _Line(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, handler: Handler, lines: set[_Line]) -> None:
        self._handler = handler
        self._lines = lines
        self._out: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._reset()

    def _reset(self) -> None:
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0

    def drop(self) -> None:
        """Break the connection."""
        if self._out is not None:
            self._out.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        assert isinstance(transport, asyncio.Transport)
        self._out = transport
        self._lines.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone: what it asked for is not worked on any more."""
        self._lines.discard(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.drop()

    def on_url(self, url: bytes) -> None:
        """The request's target (may come in pieces)."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._size += len(body)
        if self._size > MAX_BODY_BYTES:
            self.drop()
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        """A whole request."""
        method = self._parser.get_method().decode("latin-1")
        request = Incoming(method, self._url.decode("latin-1"), self._headers, b"".join(self._body))
        keep = self._parser.should_keep_alive()
        self._reset()
        self._task = asyncio.get_running_loop().create_task(self._answer(request, keep))

    async def _answer(self, request: Incoming, keep: bool) -> None:
        try:
            answer = await self._handler(request)
        except asyncio.CancelledError:
            return
        if self._out is None or self._out.is_closing():
            return
        if answer.cut == 0:
            self.drop()
            return
        head = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Status')}\r\ncontent-type: {answer.content_type}\r\n"]
        head.append(f"content-length: {len(answer.body)}\r\n")
        head += [f"{name}: {value}\r\n" for name, value in answer.headers]
        if not keep:
            head.append("connection: close\r\n")
        head.append("\r\n")
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        self._out.write("".join(head).encode("latin-1") + body)
        if answer.cut is not None or not keep:
            self._out.close()
