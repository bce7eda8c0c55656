"""HTTP/1.1 on asyncio and httptools, behind httpx's own seam: a transport for bulk calls to `http://` servers.

httpx's default pool goes over every connection on every event, and above some 64 requests in flight it spends its time on nothing
else (httpcore issue 1035). Here an idle connection is the last one put on a stack, and a request costs about a fifth of a
millisecond whatever is in flight.

Covers: keep-alive, chunked and plain bodies, IPv6, connect / write / read timeouts from httpx's extensions, a limit on a reply's
size, pieces of a body sent without joining them, a connection that the server closed while it was idle (one silent reconnect,
only where no byte was answered); every error of the socket and of the parser comes out as an httpx exception.
Does not cover: TLS (`https.py`), proxies, streaming of replies, `Expect: 100-continue`, upgrades. Bound to its event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httptools
import httpx

KEEP_ALIVE_S = 30.0
"""An idle connection older than this is not used again: servers and balancers close theirs after 5 to 60 s."""

STALE_AFTER_S = 1.0
"""A connection that breaks at the first byte after less idle time than this was not closed for being idle: that is an error."""

WRITE_PIECE = 256 * 1024
"""Bytes handed to the socket before waiting for it to drain: a body never sits in memory twice."""


class Pieces(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A request body in pieces that are never joined."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces
        self.size = sum(map(len, pieces))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """For transports that don't know this class."""
        for piece in self.pieces:
            yield piece

    def __iter__(self) -> Iterator[bytes]:
        """As above."""
        return iter(self.pieces)


class BulkTransport(httpx.AsyncBaseTransport):
    """Sends requests over plain TCP with as many connections as there are requests in flight."""

    def __init__(self, *, max_reply_bytes: int = 64 * 1024 * 1024, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        self.max_reply_bytes = max_reply_bytes
        self.keep_alive_s = keep_alive_s
        self._idle: dict[tuple[str, int], list[_Connection]] = {}
        self._busy: set[_Connection] = set()
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`, read the whole answer.

        Raises:
            httpx.TransportError: nobody listens, the line broke, the answer is not HTTP or too large, time is up.
        """
        if request.url.scheme != "http":
            raise httpx.UnsupportedProtocol(f"this transport speaks http:// only, not {request.url.scheme}://", request=request)
        if self._closed:
            raise httpx.ConnectError("the transport is closed", request=request)
        origin = (request.url.host, request.url.port or 80)
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        pieces = await _pieces_of(request)
        message = (request, _head_of(request), pieces, timeouts)
        connection = self._take_idle(origin)
        if connection is not None:
            idle_s = time.monotonic() - connection.idle_since
            try:
                return await self._exchange(origin, connection, *message)
            except _Stale as error:
                if idle_s < STALE_AFTER_S:
                    raise httpx.ReadError(str(error), request=request) from None
        try:
            return await self._exchange(origin, await self._connect(origin, timeouts, request), *message)
        except _Stale as error:
            raise httpx.ReadError(str(error), request=request) from None

    async def _exchange(self, origin: tuple[str, int], connection: _Connection, *message: Any) -> httpx.Response:
        try:
            return await connection.exchange(*message)
        finally:
            self._put_back(origin, connection)

    async def aclose(self) -> None:
        """Close all connections; requests in flight end in `httpx.ReadError`."""
        self._closed = True
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        for connection in list(self._busy):
            connection.abort()
        self._idle.clear()
        await asyncio.sleep(0)

    def _take_idle(self, origin: tuple[str, int]) -> _Connection | None:
        stack = self._idle.get(origin)
        oldest = time.monotonic() - self.keep_alive_s
        while stack:
            connection = stack.pop()
            if connection.usable and connection.idle_since > oldest:
                self._busy.add(connection)
                return connection
            connection.abort()
        return None

    async def _connect(self, origin: tuple[str, int], timeouts: dict[str, float | None], request: httpx.Request) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeouts.get("connect")):
                _, made = await loop.create_connection(lambda: _Connection(self.max_reply_bytes), *origin)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection to {origin[0]}:{origin[1]} in time", request=request) from error
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(f"no connection to {origin[0]}:{origin[1]}: {error}", request=request) from error
        self._busy.add(made)
        return made

    def _put_back(self, origin: tuple[str, int], connection: _Connection) -> None:
        self._busy.discard(connection)
        if connection.usable and not self._closed:
            connection.idle_since = time.monotonic()
            self._idle.setdefault(origin, []).append(connection)
        else:
            connection.abort()


class _Stale(Exception):
    """The connection was gone before a byte of the answer came."""


class _Connection(asyncio.Protocol):
    """One TCP connection: one exchange at a time."""

    def __init__(self, max_reply_bytes: int) -> None:
        self.max_reply_bytes = max_reply_bytes
        self.idle_since = 0.0
        self.usable = False
        self._socket: asyncio.Transport | None = None
        self._request: httpx.Request | None = None
        self._waiter: asyncio.Future[httpx.Response] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._parser: Any = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._answered = False
        self._head_is_here = False
        self._keep = False

    async def exchange(
        self, request: httpx.Request, head: bytes, pieces: Sequence[bytes], timeouts: dict[str, float | None]
    ) -> httpx.Response:
        """Send one request and wait for its whole answer; leaves the connection usable only after a clean exchange."""
        loop = asyncio.get_running_loop()
        assert self._socket is not None
        self._request = request
        self._waiter = waiter = loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._body, self._size = [], [], 0
        self._answered = self._head_is_here = False
        self.usable = False
        read_s = timeouts.get("read")
        timer = loop.call_later(read_s, self._time_is_up) if read_s is not None else None
        try:
            if len(pieces) == 1 and len(pieces[0]) < WRITE_PIECE:
                self._socket.write(head + pieces[0])
            else:
                self._socket.write(head)
                await self._send(pieces, timeouts.get("write"))
            response: httpx.Response = await waiter
        finally:
            if timer is not None:
                timer.cancel()
            self._waiter = None
        self.usable = self._keep and not self._socket.is_closing()
        return response

    async def _send(self, pieces: Sequence[bytes], write_s: float | None) -> None:
        assert self._socket is not None
        assert self._waiter is not None
        for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), WRITE_PIECE):
                self._socket.write(view[start : start + WRITE_PIECE])
                if self._drained is None:
                    continue
                done, _ = await asyncio.wait((self._drained, self._waiter), timeout=write_s, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    raise httpx.WriteTimeout("the server does not take the request's body", request=self._request)
                if self._waiter in done:  # an answer (a refusal) or an error before the whole body was sent
                    self._keep = False
                    return

    def abort(self) -> None:
        """Drop the connection at once."""
        self.usable = False
        if self._socket is not None:
            self._socket.abort()

    def _fail(self, error: Exception) -> None:
        self.usable = False
        self._keep = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.abort()

    def _time_is_up(self) -> None:
        self._fail(httpx.ReadTimeout("no complete answer in time", request=self._request))

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        assert isinstance(transport, asyncio.Transport)
        self._socket = transport
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """Feed the parser; whatever it chokes on is the server's fault."""
        if self._waiter is None or self._waiter.done():  # nobody asked: the line cannot be trusted any more
            self.abort()
            return
        self._answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(httpx.RemoteProtocolError("the server wants to leave HTTP/1.1", request=self._request))
        except httptools.HttpParserError as error:
            self._fail(httpx.RemoteProtocolError(f"the server's answer is not HTTP: {error}", request=self._request))

    def connection_lost(self, error: Exception | None) -> None:
        """The line is gone: while idle that is normal, during an exchange it is an error."""
        self.usable = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._waiter is None or self._waiter.done():
            return
        if not self._answered:
            self._waiter.set_exception(_Stale(f"the server closed the connection without an answer ({error or 'closed'})"))
            return
        if error is None and self._ends_with_the_line():
            self.on_message_complete()
            return
        self._waiter.set_exception(httpx.ReadError(f"the answer broke off: {error or 'closed'}", request=self._request))

    def _ends_with_the_line(self) -> bool:
        """Whether the body had neither length nor chunks: then the end of the connection is its end."""
        names = {name.lower() for name, _ in self._headers}
        return self._head_is_here and not names & {b"content-length", b"transfer-encoding"}

    def pause_writing(self) -> None:
        """The socket's buffer is full."""
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """The socket's buffer has room."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line."""
        self._size += len(name) + len(value)
        self._headers.append((name, value))
        if self._size > self.max_reply_bytes:
            self._too_large()

    def on_headers_complete(self) -> None:
        """An interim answer (1xx) is not the answer: forget its headers."""
        if self._parser.get_status_code() < 200:
            self._headers = []
        else:
            self._head_is_here = True

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._size += len(body)
        if self._size > self.max_reply_bytes:
            self._too_large()
        else:
            self._body.append(body)

    def _too_large(self) -> None:
        limit = f"{self.max_reply_bytes / 1e6:g} MB"
        self._fail(httpx.RemoteProtocolError(f"the answer is larger than the limit of {limit}", request=self._request))

    def on_message_complete(self) -> None:
        """The whole answer is here."""
        status = self._parser.get_status_code()
        if status < 200 or self._waiter is None or self._waiter.done():
            return
        self._keep = bool(self._parser.should_keep_alive())
        stream = httpx.ByteStream(b"".join(self._body))
        self._waiter.set_result(httpx.Response(status, headers=self._headers, stream=stream, request=self._request))


def _head_of(request: httpx.Request) -> bytes:
    lines = [request.method.encode("ascii"), b" ", request.url.raw_path, b" HTTP/1.1\r\n"]
    for name, value in request.headers.raw:
        lines += (name, b": ", value, b"\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


async def _pieces_of(request: httpx.Request) -> Sequence[bytes]:
    if isinstance(request.stream, Pieces):
        return request.stream.pieces
    return (await request.aread(),)
