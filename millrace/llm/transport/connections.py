"""HTTP for bulk calls: aiohttp's connections behind httpx's own seam, for `http://`, `https://` and HTTP proxies alike.

httpx's default pool goes over every connection on every event, and above some 64 requests in flight it spends its time on nothing
else (httpcore issue 1035). aiohttp's cost per call is the same whatever is in flight.

Covers: keep-alive, pieces of a body sent without joining them, a limit on a reply's size, one deadline for a whole
exchange, a connection that the server closed while it was idle (one silent reconnect, only where no byte
was answered; aiohttp sends no POST again, its issue 6138); every error of the socket, of TLS and of the parser comes out as an
httpx exception.
Does not cover: SOCKS proxies (httpx's own transport does, see `exchange.py`), streaming of replies, upgrades. Bound to its loop.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import aiohttp
import httpx
import yarl
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict as Headers

from millrace.llm.transport.connection_lines import CURRENT, Line, NoticingConnector

KEEP_ALIVE_S = 4.5
"""An idle connection older than this is not used again: uvicorn and Node close theirs after 5 s, balancers after 60 s."""

WRITE_PIECE = 256 * 1024
"""Bytes handed to the socket before waiting for it to drain: a body never sits in memory twice."""

LONGEST_LINE = 64 * 1024
"""Bytes of a header line: some gateways answer with long ones."""

_OWN_HEADERS = ("accept", "accept-encoding", "user-agent", "content-type")


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


class Exchanged(NamedTuple):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    raw_headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class BulkTransport(httpx.AsyncBaseTransport):
    """Sends requests with as many connections as there are requests in flight.

    Args:
        verify: whom to trust; None takes the usual authorities and `SSL_CERT_FILE`.
        proxy: an `http://` or `https://` proxy, with user and password where it wants them.
        max_reply_bytes: a larger answer is an error.
        keep_alive_s: see `KEEP_ALIVE_S`.
    """

    def __init__(
        self,
        *,
        verify: ssl.SSLContext | None = None,
        proxy: str | None = None,
        max_reply_bytes: int = 64 * 1024 * 1024,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        self.max_reply_bytes = max_reply_bytes
        self.keep_alive_s = keep_alive_s
        self._verify = verify
        self._proxy = _proxy_of(proxy)
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """httpx's seam: send `request`, read the whole answer; raises as `exchange`."""
        if request.url.scheme not in {"http", "https"}:
            raise httpx.UnsupportedProtocol(f"this transport does not speak {request.url.scheme}://", request=request)
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        stream = request.stream
        pieces = stream.pieces if isinstance(stream, Pieces) else [await request.aread()]
        headers = headers_of((name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw)
        limits = {"connect_s": timeouts.get("connect"), "read_s": timeouts.get("read")}
        answer = await self.exchange(request.method, address_of(request.url), headers, pieces, **limits)
        body = httpx.ByteStream(answer.body)
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=body, request=request)

    async def exchange(
        self,
        method: str,
        url: yarl.URL,
        headers: Headers[str],
        pieces: Sequence[bytes],
        *,
        connect_s: float | None = None,
        read_s: float | None = None,
    ) -> Exchanged:
        """Send a request, read the whole answer.

        Args:
            method: `POST` or `GET`.
            url: from `address_of`.
            headers: from `headers_of`, without those that follow from the address and the body.
            pieces: of the body; none: there is no body.
            connect_s: until a new connection stands. None: as long as it takes.
            read_s: until the whole answer is there.

        Raises:
            httpx.TransportError: no server listens there, the line broke, the answer is not HTTP or too large, time is up.
        """
        if self._closed:
            raise httpx.ConnectError("the transport is closed")
        limits = _limits(connect_s, read_s)
        for anew in (False, True):
            line = Line()
            token = CURRENT.set(line)
            try:
                async with self._ask(method, url, headers, pieces, limits, anew=anew) as answer:
                    body = await self._read(answer)
                    line.over()
                    return Exchanged(answer.status, answer.headers, answer.raw_headers, body)
            except TimeoutError as error:
                if not line.stands:
                    raise httpx.ConnectTimeout(f"no connection to {url.host} in time") from error
                raise httpx.ReadTimeout("no complete answer in time") from error
            except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
                meant = self._translated(error, url, line)
                if meant is not None:
                    raise meant from error
                if anew:
                    raise httpx.ReadError("the server closed the connection without an answer") from error
            finally:
                CURRENT.reset(token)
        raise AssertionError("one of the two rounds returns or raises")

    async def aclose(self) -> None:
        """Close all connections; requests in flight end in `httpx.ReadError`."""
        self._closed = True
        for session in self._sessions.values():
            await session.close()

    def _session(self, *, anew: bool) -> aiohttp.ClientSession:
        """For connections that are used again, or for one that is new and used once."""
        found = self._sessions.get(anew)
        if found is None:
            keep = {"force_close": True} if anew else {"keepalive_timeout": self.keep_alive_s}
            found = self._sessions[anew] = aiohttp.ClientSession(
                connector=NoticingConnector(limit=0, **keep),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=_OWN_HEADERS,
                max_line_size=LONGEST_LINE,
                max_field_size=LONGEST_LINE,
            )
        return found

    def _trusted(self) -> ssl.SSLContext:
        if self._verify is None:
            self._verify = httpx.create_ssl_context()
        return self._verify

    def _ask(
        self,
        method: str,
        url: yarl.URL,
        headers: Headers[str],
        pieces: Sequence[bytes],
        limits: aiohttp.ClientTimeout,
        *,
        anew: bool,
    ) -> Any:
        body: bytes | AsyncIterator[Any] | None = None
        if len(pieces) == 1 and len(pieces[0]) < WRITE_PIECE:
            body = pieces[0]
        elif pieces:
            body = _in_slices(pieces)
            headers = Headers(headers, **{"content-length": str(sum(map(len, pieces)))})
        proxy, shown = self._proxy or (None, None)
        shown_to_proxy = {} if shown is None else {"proxy-authorization": shown}
        if url.scheme == "http" and shown_to_proxy:
            headers = Headers(headers, **shown_to_proxy)
        return self._session(anew=anew).request(
            method,
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            timeout=limits,
            ssl=self._trusted() if url.scheme == "https" else True,
            proxy=proxy,
            proxy_headers=shown_to_proxy or None,
        )

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        limit = self.max_reply_bytes
        if answer.content_length is not None and answer.content_length <= limit:
            return await answer.read()
        pieces: list[bytes] = []
        size = 0
        async for piece in answer.content.iter_any():
            size += len(piece)
            if size > limit:
                break
            pieces.append(piece)
        else:
            return b"".join(pieces)
        answer.close()
        raise httpx.RemoteProtocolError(f"the answer is larger than the limit of {limit / 1e6:g} MB")

    def _translated(self, error: Exception, url: yarl.URL, line: Line) -> httpx.TransportError | None:
        """The httpx exception that stands for one of aiohttp's; None where the request may silently be sent again."""
        said = str(error) or type(error).__name__
        if self._closed:
            return httpx.ReadError("the transport was closed")
        if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
            return httpx.ProxyError(f"the proxy does not let it through: {said}")
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL) or not line.stands:
            return httpx.ConnectError(f"no connection to {url.host}: {said}")
        if isinstance(error, aiohttp.ClientPayloadError) and not _is_malformed(error):
            return httpx.ReadError(f"the answer broke off: {said}")
        if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError | HttpProcessingError | ValueError):
            return httpx.RemoteProtocolError(f"the server's answer is not HTTP: {getattr(error, 'message', '') or said}")
        return None if line.may_be_stale else httpx.ReadError(f"the line to {url.host} broke: {said}")


def address_of(url: httpx.URL | str) -> yarl.URL:
    """A URL as aiohttp takes it, byte for byte."""
    return yarl.URL(str(url), encoded=True)


def headers_of(headers: Iterable[tuple[str, str]]) -> Headers[str]:
    """Headers as aiohttp takes them, without those that it writes itself."""
    return Headers((name, value) for name, value in headers if name not in {"host", "content-length", "transfer-encoding"})


def _is_malformed(error: BaseException) -> bool:
    """Whether a body was no HTTP, and not one that came to an end too early."""
    cause = error.__cause__ or error.__context__
    return isinstance(cause, HttpProcessingError) and "Not enough data" not in str(cause)


@lru_cache(maxsize=64)
def _limits(connect_s: float | None, read_s: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=read_s, sock_connect=connect_s)


async def _in_slices(pieces: Sequence[bytes]) -> AsyncIterator[Any]:
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), WRITE_PIECE):
            yield view[start : start + WRITE_PIECE]


def _proxy_of(proxy: str | None) -> tuple[yarl.URL, str | None] | None:
    """A proxy's address, and the header that it wants."""
    if proxy is None:
        return None
    url = yarl.URL(proxy)
    user = None if url.user is None else f"{url.user}:{url.password or ''}"
    header = None if user is None else f"Basic {base64.b64encode(user.encode()).decode()}"
    return url.with_user(None), header
