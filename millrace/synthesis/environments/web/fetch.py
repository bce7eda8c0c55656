"""Gets pages from addresses that anybody may have written, without becoming a way into the private network.

Covers: only http and https; every host is resolved here and each address it has must be public, at the first request and again at
every redirect; the connection goes to the very address that was checked (a second look-up cannot smuggle in another); at most 5
redirects; one limit of time on the whole fetch, from the look-up of the host to the last byte, however slowly it comes; one limit
on bytes, counted as they are decompressed; `robots.txt` is obeyed (see `robots`); an optional allow-list of hosts.
Does not cover: what a public server says. Its text is data and is marked as such by `pages`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urljoin, urlsplit

import httpx

from millrace.synthesis.environments import ToolError
from millrace.synthesis.environments.web.body import Unpacked, text_of
from millrace.synthesis.environments.web.robots import ROBOTS_BYTES, Rules

AGENT = "millrace-synthesis"
MAX_REDIRECTS = 5

Resolve = Callable[[str, int], list[str]]


@dataclass(frozen=True, slots=True)
class Page:
    """What a server sent."""

    url: str
    """Where it came from, after redirects."""
    text: str
    kind: str
    """The media type, lower case, without parameters."""


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host.

    Raises:
        ToolError: it has none.
    """
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        raise ToolError(f"the host '{host}' is not known: {error}") from error


def is_public(text: str) -> bool:
    """Whether an address belongs to the public internet; the inner address of an IPv6 form that carries an IPv4 one decides."""
    address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(text.split("%", maxsplit=1)[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            address = inner
    return address.is_global and not address.is_multicast and not address.is_reserved


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context()


_lookups = ThreadPoolExecutor(8, "look up")
"""Where hosts are resolved: the system's call has no limit of time, and a fetch must not wait for it beyond its own."""


class Fetcher:
    """Fetches pages under the rules above; safe to use from several threads."""

    def __init__(
        self,
        *,
        allowed: Collection[str] = (),
        trusted: Collection[str] = (),
        timeout_s: float = 15.0,
        max_bytes: int = 2_000_000,
        robots: bool = True,
        resolver: Resolve = resolve,
        transport: httpx.AsyncBaseTransport | httpx.BaseTransport | None = None,
    ) -> None:
        """
        Args:
            allowed: the only hosts it may ask; empty: any public host.
            trusted: `host:port` of a server this program started itself, exempt from the check for public addresses.
            timeout_s: for one page: look-up, robots.txt, redirects and body together.
            max_bytes: longer pages are refused, counted after decompression.
            robots: obey robots.txt.
            resolver: how a host becomes addresses.
            transport: where requests go; None is the network.
        """
        self._allowed, self._trusted = frozenset(allowed), frozenset(trusted)
        self._timeout_s, self._max_bytes, self._robots, self._resolver = timeout_s, max_bytes, robots, resolver
        self._transport = (
            transport if transport is None or isinstance(transport, httpx.AsyncBaseTransport) else InThread(transport)
        )
        self._rules: dict[str, Rules] = {}
        self._lock = threading.Lock()
        self._own = httpx.Client(timeout=timeout_s, headers={"User-Agent": AGENT}, trust_env=False)
        """For the server that this program started itself: kept open, and not in need of all the care."""

    def get(self, url: str) -> Page:
        """The page at `url`.

        Raises:
            ToolError: it is not allowed, not there, too large or too slow; the message says which.
        """
        if urlsplit(url).netloc in self._trusted:
            return self._from_own(url)
        try:
            return asyncio.run(self._within(url))
        except TimeoutError:
            raise ToolError(f"{url} took longer than {self._timeout_s:g} s") from None

    def close(self) -> None:
        """Close the connections."""
        self._own.close()

    def checked(self, url: str) -> tuple[str, str]:
        """The address to connect to and the host, when `url` may be asked at all.

        Raises:
            ToolError: scheme, host or address is not allowed.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ToolError(f"'{url[:200]}' is not an http or https address")
        if parts.username is not None or parts.password is not None:
            raise ToolError("an address with a user name or password is not asked")
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise ToolError(f"'{url[:200]}' has no valid port") from error
        host = parts.hostname
        if f"{host}:{port}" in self._trusted:
            return host, host
        if self._allowed and host not in self._allowed:
            raise ToolError(f"the host '{host}' is not on the list of allowed hosts")
        addresses = self._resolver(host, port)
        if not addresses or not all(is_public(address) for address in addresses):
            raise ToolError(f"the host '{host}' is not a public address")
        return addresses[0], host

    def _from_own(self, url: str) -> Page:
        try:
            answer = self._own.get(url)
        except httpx.HTTPError as error:
            raise ToolError(f"{url} cannot be fetched: {type(error).__name__}: {error}") from error
        if answer.status_code >= 400:
            raise ToolError(f"{url} answers {answer.status_code}")
        kind = _kind(answer.headers)
        return Page(url, text_of(answer.content, answer.headers.get("content-type", ""), kind), kind)

    async def _within(self, url: str) -> Page:
        async with asyncio.timeout(self._timeout_s):
            async with httpx.AsyncClient(
                timeout=self._timeout_s,
                follow_redirects=False,
                headers={"User-Agent": AGENT, "Accept-Encoding": "gzip, deflate"},
                trust_env=False,
                transport=self._transport,
                verify=_certificates(),
            ) as client:
                final, headers, body = await self._followed(client, url, obeying=self._robots, most=self._max_bytes)
                kind = _kind(headers)
                return Page(final, text_of(body, headers.get("content-type", ""), kind), kind)

    async def _followed(
        self, client: httpx.AsyncClient, url: str, *, obeying: bool, most: int
    ) -> tuple[str, httpx.Headers, bytes]:
        for _ in range(MAX_REDIRECTS + 1):
            if obeying:
                await self._obey_robots(client, url)
            status, headers, body = await self._request(client, url, most)
            if status in (301, 302, 303, 307, 308) and "location" in headers:
                url = urljoin(url, headers["location"])
                continue
            if status >= 400:
                raise HttpRefused(f"{url} answers {status}", status)
            return url, headers, body
        raise ToolError(f"more than {MAX_REDIRECTS} redirects, the last to {url}")

    async def _request(self, client: httpx.AsyncClient, url: str, most: int) -> tuple[int, httpx.Headers, bytes]:
        address, host = await asyncio.get_running_loop().run_in_executor(_lookups, self.checked, url)
        original = httpx.URL(url)
        pinned = original.copy_with(host=address)
        try:
            async with client.stream(
                "GET", pinned, headers={"Host": original.netloc.decode()}, extensions={"sni_hostname": host}
            ) as answer:
                unpacked = Unpacked(answer.headers.get("content-encoding", ""), most, url)
                if answer.is_stream_consumed:  # a transport that hands over a whole body, as mocks do
                    unpacked = Unpacked("", most, url)
                    unpacked.add(answer.content)
                else:
                    async for part in answer.aiter_raw():
                        unpacked.add(part)
                return answer.status_code, answer.headers, bytes(unpacked.body)
        except (httpx.HTTPError, httpx.InvalidURL, LookupError, ValueError) as error:
            raise ToolError(f"{url} cannot be fetched: {type(error).__name__}: {error}") from error

    async def _obey_robots(self, client: httpx.AsyncClient, url: str) -> None:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        rules = self._rules.get(origin)
        if rules is None:
            try:
                _, _, body = await self._followed(client, f"{origin}/robots.txt", obeying=False, most=ROBOTS_BYTES)
                rules = Rules.read(body)
            except HttpRefused as error:
                rules = Rules.of_status(error.status)
            except ToolError:  # RFC 9309: what cannot be reached must be taken to forbid everything
                await asyncio.get_running_loop().run_in_executor(_lookups, self.checked, url)  # a forbidden host says so itself
                rules = Rules.of_status(599)
            self._rules[origin] = rules
        if not rules.allow(AGENT, url):
            raise ToolError(f"robots.txt of {origin} does not allow {url}{rules.why}")
        with self._lock:
            wait = rules.turn(AGENT)
        if wait > self._timeout_s:
            raise ToolError(f"robots.txt of {origin} asks for {wait:.0f} s between requests, more than the limit of a fetch")
        await asyncio.sleep(wait)


class InThread(httpx.AsyncBaseTransport):
    """A transport that blocks, used where a fetch must be able to give up: what it still does then, it does in its thread."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Hand the request on."""
        answer = await asyncio.get_running_loop().run_in_executor(_lookups, self._inner.handle_request, request)
        if isinstance(answer.stream, httpx.AsyncByteStream):
            return answer
        return httpx.Response(answer.status_code, headers=answer.headers, stream=_Pieces(answer), extensions=answer.extensions)


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._answer.stream, httpx.SyncByteStream)
        pieces = iter(self._answer.stream)
        while (piece := await asyncio.get_running_loop().run_in_executor(_lookups, next, pieces, None)) is not None:
            yield piece

    async def aclose(self) -> None:
        self._answer.close()


class HttpRefused(ToolError):
    """The server answered with an error status."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])


def _kind(headers: httpx.Headers) -> str:
    return str(headers.get("content-type", "text/plain")).split(";", maxsplit=1)[0].strip().lower()
