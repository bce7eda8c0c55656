"""Gets pages from addresses that anybody may have written, without becoming a way into the private network.

Covers: only http and https; every host is resolved here and each address it has must be public, at the first request and again at
every redirect; the connection goes to the very address that was checked (a second look-up cannot smuggle in another); at most 5
redirects, a limit on bytes read (also after decompression) and on time; `robots.txt` is obeyed; an optional allow-list of hosts.
Does not cover: what a public server says. Its text is data and is marked as such by `pages.py`.
"""

from __future__ import annotations

import ipaddress
import socket
import time
import urllib.robotparser
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx

from millrace.synthesis.environments import ToolError

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """
        Args:
            allowed: the only hosts it may ask; empty: any public host.
            trusted: `host:port` of a server this program started itself, exempt from the check for public addresses.
            timeout_s: for one page, redirects included.
            max_bytes: longer pages are refused.
            robots: obey robots.txt.
            resolver: how a host becomes addresses.
            transport: where requests go; None is the network.
        """
        self._allowed, self._trusted = frozenset(allowed), frozenset(trusted)
        self._timeout_s, self._max_bytes, self._robots, self._resolver = timeout_s, max_bytes, robots, resolver
        self._rules: dict[str, urllib.robotparser.RobotFileParser] = {}
        self._client = httpx.Client(
            timeout=timeout_s, follow_redirects=False, headers={"User-Agent": AGENT}, trust_env=False, transport=transport
        )

    def get(self, url: str) -> Page:
        """The page at `url`.

        Raises:
            ToolError: it is not allowed, not there, too large or too slow; the message says which.
        """
        deadline = time.monotonic() + self._timeout_s
        for _ in range(MAX_REDIRECTS + 1):
            self._obey_robots(url, deadline)
            status, headers, body, encoding = self._request(url, deadline)
            if status in (301, 302, 303, 307, 308) and "location" in headers:
                url = urljoin(url, headers["location"])
                continue
            if status >= 400:
                raise ToolError(f"{url} answers {status}")
            kind = headers.get("content-type", "text/plain").split(";")[0].strip().lower()
            return Page(url, body.decode(encoding, "replace"), kind)
        raise ToolError(f"more than {MAX_REDIRECTS} redirects, the last to {url}")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

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

    def _request(self, url: str, deadline: float) -> tuple[int, httpx.Headers, bytes, str]:
        address, host = self.checked(url)
        original = httpx.URL(url)
        pinned = original.copy_with(host=address)
        left = deadline - time.monotonic()
        if left <= 0:
            raise ToolError(f"{url} took longer than {self._timeout_s:g} s")
        body = bytearray()
        try:
            with self._client.stream(
                "GET", pinned, headers={"Host": original.netloc.decode()}, extensions={"sni_hostname": host}, timeout=left
            ) as answer:
                for part in answer.iter_bytes(65536):
                    body += part
                    if len(body) > self._max_bytes:
                        raise ToolError(f"{url} is longer than {self._max_bytes} bytes")
                    if time.monotonic() > deadline:
                        raise ToolError(f"{url} took longer than {self._timeout_s:g} s")
                return answer.status_code, answer.headers, bytes(body), answer.charset_encoding or "utf-8"
        except (httpx.HTTPError, httpx.InvalidURL, LookupError) as error:
            raise ToolError(f"{url} cannot be fetched: {type(error).__name__}: {error}") from error

    def _obey_robots(self, url: str, deadline: float) -> None:
        parts = urlsplit(url)
        if not self._robots or f"{parts.hostname}:{parts.port}" in self._trusted:
            return
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._rules:
            rules = urllib.robotparser.RobotFileParser()
            status, _, body, _ = self._request(f"{origin}/robots.txt", deadline)
            rules.parse(body.decode("utf-8", "replace").splitlines() if status == 200 else [])
            self._rules[origin] = rules
        if not self._rules[origin].can_fetch(AGENT, url):
            raise ToolError(f"robots.txt of {origin} does not allow {url}")
