"""One HTTP exchange with an endpoint: pieces of bytes out, status, headers and bytes back, every error as an `AttemptFailed`.

Redirects are never followed, so a key never travels to another host. The bulk transport speaks `http://` and `https://`, also
through HTTP proxies; SOCKS proxies are left to httpx's own transport, and a test or a user may pass any httpx transport.
"""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import httpx
import yarl

from millrace.errors import UsageError
from millrace.llm.failures import AttemptFailed
from millrace.llm.transport.connections import BulkTransport, Pieces, address_of, headers_of

PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")

JSON = "application/json"

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""A chat reply above this is a fault: 64 MB is some ten million tokens."""


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """Sends requests to one base URL."""

    def __init__(
        self,
        base_url: str,
        headers: Sequence[tuple[str, str]],
        *,
        connect_timeout_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> None:
        url = httpx.URL(base_url)
        self._query = url.query.decode("ascii")
        """Part of every request, as Azure's `api-version` is."""
        self.base_url = base_url.partition("?")[0].rstrip("/")
        self.place = f"{url.scheme}://{url.netloc.decode('ascii').rpartition('@')[2]}"
        """Scheme, host and port: what records and messages may show."""
        self._host = url.netloc.decode("ascii").rpartition("@")[2]
        self._headers = [("host", self._host), ("user-agent", "millrace"), ("accept", "application/json"), *headers]
        self._body_headers = [*self._headers, ("content-type", JSON)]
        self._in_bulk_headers = {"": headers_of(self._headers), JSON: headers_of(self._body_headers)}
        self._connect_timeout_s = connect_timeout_s
        self._max_reply_bytes = max_reply_bytes
        self._transport = transport or _transport_for(url, max_reply_bytes)
        self._given = (base_url, headers, connect_timeout_s, transport)
        self._addresses: dict[str, yarl.URL] = {}

    async def post(self, path: str, pieces: Sequence[bytes], *, timeout_s: float, content_type: str = JSON) -> Answer:
        """POST a body given in pieces; JSON where `content_type` says nothing else.

        Raises:
            AttemptFailed: `connection`, `timeout` or `malformed`.
        """
        return await self._send("POST", path, pieces, timeout_s, content_type)

    async def get(self, path: str, *, timeout_s: float) -> Answer:
        """GET `path`; raises as `post` does."""
        return await self._send("GET", path, (), timeout_s)

    def with_room(self, max_reply_bytes: int) -> Wire:
        """Connections of their own to the same place, for replies of another length."""
        base_url, headers, connect_timeout_s, transport = self._given
        return Wire(base_url, headers, connect_timeout_s=connect_timeout_s, transport=transport, max_reply_bytes=max_reply_bytes)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def _send(self, method: str, path: str, pieces: Sequence[bytes], timeout_s: float, content_type: str = "") -> Answer:
        connect_s = min(self._connect_timeout_s, timeout_s)
        try:
            if isinstance(self._transport, BulkTransport):
                return await self._in_bulk(self._transport, method, path, pieces, connect_s, timeout_s, content_type)
            request = self._request(method, path, pieces, content_type)
            request.extensions["timeout"] = {"connect": connect_s, "read": timeout_s, "write": timeout_s, "pool": None}
            async with asyncio.timeout(timeout_s + connect_s):
                response = await self._transport.handle_async_request(request)
                return Answer(response.status_code, response.headers, await self._unpacked(response))
        except httpx.ConnectTimeout as error:
            raise AttemptFailed("connection", f"{self.place} does not accept a connection in {connect_s:g} s") from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise AttemptFailed("timeout", f"no complete answer from {self.place} in {timeout_s:g} s") from error
        except httpx.ConnectError as error:
            reason = certificate_problem(error)
            if reason is None:
                raise AttemptFailed("connection", f"{self.place}: {error}") from error
            said = f"{self.place} shows a certificate that is not trusted ({reason}); name its CA in SSL_CERT_FILE"
            raise AttemptFailed("connection", said, fatal=True) from error
        except (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.ProxyError) as error:
            raise AttemptFailed("connection", f"{self.place}: {error}") from error
        except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
            raise AttemptFailed("malformed", f"{self.place}: {error}") from error
        except (httpx.TransportError, OSError) as error:
            raise AttemptFailed("connection", f"{self.place}: {type(error).__name__} {error}") from error

    async def _in_bulk(
        self,
        transport: BulkTransport,
        method: str,
        path: str,
        pieces: Sequence[bytes],
        connect_s: float,
        read_s: float,
        content_type: str,
    ) -> Answer:
        """The same without httpx's objects, which cost half as much again as the call itself."""
        address = self._addresses.get(path)
        if address is None:
            address = self._addresses[path] = address_of(self._url(path))
        headers = self._in_bulk_headers.get(content_type) or headers_of([*self._headers, ("content-type", content_type)])
        answer = await transport.exchange(method, address, headers, pieces, connect_s=connect_s, read_s=read_s)
        if "content-encoding" not in answer.headers:
            return Answer(answer.status, answer.headers, answer.body)
        packed = httpx.Response(answer.status, headers=answer.raw_headers, stream=httpx.ByteStream(answer.body))
        return Answer(answer.status, answer.headers, await self._unpacked(packed))

    def _request(self, method: str, path: str, pieces: Sequence[bytes], content_type: str) -> httpx.Request:
        if not pieces:
            return httpx.Request(method, self._url(path), headers=self._headers)
        headers = [*self._headers, ("content-type", content_type), ("content-length", str(sum(map(len, pieces))))]
        return httpx.Request(method, self._url(path), headers=headers, stream=Pieces(pieces))

    async def _unpacked(self, response: httpx.Response) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            async for piece in response.aiter_bytes():  # an answer may unpack to much more than was sent
                size += len(piece)
                if size > self._max_reply_bytes:
                    raise httpx.DecodingError("the unpacked answer is larger than the limit")
                pieces.append(piece)
        finally:
            await response.aclose()
        return b"".join(pieces)

    def _url(self, path: str) -> str:
        whole = self.base_url + path
        return whole + ("&" if "?" in path else "?") + self._query if self._query else whole


def certificate_problem(error: BaseException | None) -> str | None:
    """What is wrong with a server's certificate, if that is what `error` stands for; None for every other error of the line."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message or str(error)
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return str(error).rpartition("CERTIFICATE_VERIFY_FAILED")[2].strip("] :") or str(error)
        error = error.__cause__ or error.__context__
    return None


def _transport_for(url: httpx.URL, max_reply_bytes: int) -> httpx.AsyncBaseTransport:
    proxy = proxy_for(url)
    if proxy is not None and proxy.startswith("socks"):
        return httpx.AsyncHTTPTransport(proxy=proxy, limits=httpx.Limits(max_connections=None))
    return BulkTransport(proxy=proxy, max_reply_bytes=max_reply_bytes)


def proxy_for(url: httpx.URL) -> str | None:
    """The proxy that the environment names for `url` (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` …); None for none.

    Raises:
        UsageError: it is not the address of a proxy.
    """
    if url.host in {"localhost", "::1"} or url.host.startswith("127.") or urllib.request.proxy_bypass(url.host):
        return None
    named = urllib.request.getproxies()
    proxy = (named.get(url.scheme) or named.get("all") or "").strip()
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"  # as curl and requests read it
    scheme, _, rest = proxy.partition("://")
    shown = f"{scheme}://{rest.rpartition('@')[2]}"
    scheme = {"socks": "socks5", "socks4": "", "socks4a": ""}.get(scheme.lower(), scheme.lower())
    if scheme not in PROXY_SCHEMES:
        known = ", ".join(PROXY_SCHEMES)
        raise UsageError(
            f"the proxy {shown} for {url.host} is of a kind that is not known here; known: {known} (set HTTPS_PROXY)"
        )
    try:
        if not httpx.URL(f"{scheme}://{rest}").host:
            raise httpx.InvalidURL("no host")
        httpx.Proxy(f"{scheme}://{rest}")
    except (httpx.InvalidURL, ValueError, UnicodeError) as error:
        raise UsageError(f"the proxy {shown} for {url.host} is no address ({error}); set HTTPS_PROXY, or NO_PROXY") from None
    return f"{scheme}://{rest}"
