"""Gets pages from addresses that anybody may have written, without becoming a way into the private network.

Covers: only http and https; every host is resolved here and each address it has must be public, at the first request and again at
every redirect; the connection goes to the very address that was checked (a second look-up cannot smuggle in another); at most 5
redirects; one limit of time on the whole fetch, from the look-up of the host over robots.txt, its turn and all redirects to the
last byte, however slowly it comes; one limit on bytes, counted as they are decompressed; `robots.txt` is obeyed (see `robots`),
and the time between requests that it asks for is kept by all workers together (see `turns`); an optional allow-list of hosts.
Does not cover: what a public server says. Its text is data and is marked as such by `pages`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx

from millrace.synthesis.environments import ToolError
from millrace.synthesis.environments.web.charsets import text_of
from millrace.synthesis.environments.web.exchange import AGENT, Answer, ask, open_client, within
from millrace.synthesis.environments.web.faults import HttpRefused, ServerFault, of_status
from millrace.synthesis.environments.web.in_thread import LOOKUPS
from millrace.synthesis.environments.web.robots import ROBOTS_BYTES, UNREACHABLE, KnownRules, Rules
from millrace.synthesis.environments.web.turns import Turns

MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
SHOWN_CHARS = 200
"""How much of an address a message shows."""

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
    except socket.gaierror as error:
        kind = ServerFault if error.errno in (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM) else ToolError
        raise kind(f"the host '{host}' is not known: {error}") from error
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
        turns: Turns | None = None,
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
            turns: where requests to a host wait for each other; None: in this fetcher alone.
        """
        self._allowed, self._trusted = frozenset(allowed), frozenset(trusted)
        self._timeout_s, self._max_bytes, self._robots, self._resolver = timeout_s, max_bytes, robots, resolver
        self._transport = transport
        self._turns = turns or Turns(None)
        self._rules = KnownRules()
        self._asking: dict[str, Future[None]] = {}
        """Origins whose robots.txt is being read by some thread."""
        self._lock = threading.Lock()
        self._own = httpx.Client(timeout=timeout_s, headers={"User-Agent": AGENT}, trust_env=False)
        """For the server that this program started itself: kept open, and not in need of all the care."""

    def get(self, url: str) -> Page:
        """The page at `url`.

        Raises:
            ToolError: it is not allowed, not there, too large or too slow; the message says which.
        """
        try:
            if urlsplit(url).netloc in self._trusted:
                return self._from_own(url)
            too_long = f"{url[:SHOWN_CHARS]} took longer than {self._timeout_s:g} s"
            return within(self._timeout_s, too_long, lambda: self._page(url))
        except (ValueError, httpx.InvalidURL) as error:
            raise ToolError(f"'{url[:SHOWN_CHARS]}' is not an address: {error}") from error

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
            raise of_status(url, answer.status_code)
        kind = _kind(answer.headers)
        return Page(url, text_of(answer.content, answer.headers.get("content-type", ""), kind), kind)

    async def _page(self, url: str) -> Page:
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        async with open_client(self._timeout_s, self._transport) as client:
            final, answer = await self._followed(client, url, self._max_bytes, deadline if self._robots else None)
            kind = _kind(answer.headers)
            return Page(final, text_of(answer.body, answer.content_type, kind), kind)

    async def _followed(
        self, client: httpx.AsyncClient, url: str, most: int, obeying_until: float | None, *, cut: bool = False
    ) -> tuple[str, Answer]:
        """(where it came from, the answer); `obeying_until` is the loop's time until which a turn may be waited for."""
        for _ in range(MAX_REDIRECTS + 1):
            if obeying_until is not None:
                await self._obey_robots(client, url, obeying_until)
            answer = await self._request(client, url, most, cut=cut)
            if answer.status in REDIRECTS and answer.headers.get("location"):
                url = urljoin(url, answer.headers["location"])
                continue
            if answer.status >= 400:
                raise of_status(url, answer.status)
            if answer.status >= 300 and answer.status != httpx.codes.MULTIPLE_CHOICES:
                raise ServerFault(f"{url} answers {answer.status} and names no other address", answer.status)
            return url, answer
        raise ServerFault(f"more than {MAX_REDIRECTS} redirects, the last to {url[:SHOWN_CHARS]}")

    async def _request(self, client: httpx.AsyncClient, url: str, most: int, *, cut: bool) -> Answer:
        address, host = await asyncio.get_running_loop().run_in_executor(LOOKUPS, self.checked, url)
        original = httpx.URL(url)
        pinned = original.copy_with(host=address)
        named = {"Host": original.netloc.decode()}
        return await ask(client, "GET", pinned, most, name=url, cut=cut, headers=named, extensions={"sni_hostname": host})

    async def _obey_robots(self, client: httpx.AsyncClient, url: str, until: float) -> None:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc.lower()}"
        rules = await self._rules_of(client, origin, url)
        if not rules.allow(AGENT, url):
            kind = ToolError if not rules.why else ServerFault
            raise kind(f"robots.txt of {origin} does not allow {url}{rules.why}")
        delay = rules.delay_s(AGENT)
        wait = self._turns.take(parts.hostname or origin, delay, max(0.0, until - asyncio.get_running_loop().time()))
        if wait > until - asyncio.get_running_loop().time():
            raise ServerFault(
                f"robots.txt of {origin} asks for {delay:g} s between requests, and the next turn in {wait:.0f} s is beyond this "
                "fetch's limit"
            )
        await asyncio.sleep(wait)

    async def _rules_of(self, client: httpx.AsyncClient, origin: str, url: str) -> Rules:
        """The rules of an origin; one thread asks for them, the others wait."""
        mine: Future[None] = Future()
        mine.set_running_or_notify_cancel()  # a caller that stops waiting must not cancel it for the others
        while True:
            with self._lock:
                rules = self._rules.get(origin)
                if rules is not None:
                    return rules
                asked = self._asking.setdefault(origin, mine)
            if asked is mine:
                break
            await asyncio.wait([asyncio.wrap_future(asked)])
        try:
            rules = await self._read_rules(client, origin, url)
            with self._lock:
                self._rules.put(origin, rules)
            return rules
        finally:
            with self._lock:
                del self._asking[origin]
            mine.set_result(None)

    async def _read_rules(self, client: httpx.AsyncClient, origin: str, url: str) -> Rules:
        try:
            _, answer = await self._followed(client, f"{origin}/robots.txt", ROBOTS_BYTES, None, cut=True)
            return Rules.read(answer.body, answer.content_type, cut=answer.cut)
        except (HttpRefused, ServerFault) as error:
            if error.status >= 400:
                return Rules.of_status(error.status)
        except ToolError:
            pass
        # RFC 9309: what cannot be reached must be taken to forbid everything
        await asyncio.get_running_loop().run_in_executor(LOOKUPS, self.checked, url)  # a forbidden host says so itself
        return Rules.of_status(UNREACHABLE)


def _kind(headers: httpx.Headers) -> str:
    return str(headers.get("content-type", "text/plain")).split(";", maxsplit=1)[0].strip().lower()
