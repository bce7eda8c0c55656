"""HTTPS (and proxies) for bulk calls: httpx's own transport, one connection each, kept on a stack.

A pool of one connection has nothing to search through, so httpcore's cost per event stays constant (see `http1.py`); TLS,
certificates and proxies are httpx's. About two and a half times the CPU of the plain transport.
"""

from __future__ import annotations

import ssl

import httpx


class SlotTransport(httpx.AsyncBaseTransport):
    """A stack of one-connection transports that share a TLS context; as many as there are requests in flight."""

    def __init__(
        self, *, verify: ssl.SSLContext | str | bool = True, proxy: str | None = None, max_reply_bytes: int = 64 * 1024 * 1024
    ) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._context = httpx.create_ssl_context(verify=verify)
        self._proxy = proxy
        self._idle: list[httpx.AsyncHTTPTransport] = []
        self._all: set[httpx.AsyncHTTPTransport] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`, read the whole answer, put the slot back.

        Raises:
            httpx.TransportError: as httpx does; bare socket and TLS errors are wrapped.
        """
        slot = self._idle.pop() if self._idle else self._open()
        clean = False
        try:
            response = await slot.handle_async_request(request)
            body = await self._read(response)
            await response.aclose()
            clean = True
        except (OSError, ssl.SSLError) as error:
            raise httpx.ConnectError(f"the line to {request.url.host} broke: {error}", request=request) from error
        finally:
            if clean:
                self._idle.append(slot)
            else:
                self._all.discard(slot)
                await slot.aclose()
        return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(body), request=request)

    async def aclose(self) -> None:
        """Close every connection."""
        slots, self._all = self._all, set()
        self._idle.clear()
        for slot in slots:
            await slot.aclose()

    async def _read(self, response: httpx.Response) -> bytes:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        pieces: list[bytes] = []
        size = 0
        async for piece in response.stream:
            size += len(piece)
            if size > self._max_reply_bytes:
                raise httpx.RemoteProtocolError(f"the answer is larger than the limit of {self._max_reply_bytes / 1e6:g} MB")
            pieces.append(piece)
        return b"".join(pieces)

    def _open(self) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30.0)
        slot = httpx.AsyncHTTPTransport(verify=self._context, proxy=self._proxy, limits=limits)
        self._all.add(slot)
        return slot
