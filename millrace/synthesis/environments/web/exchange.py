"""One request and its answer, within a limit of time for all of it and a limit on its bytes, whatever a server does.

The limit of time holds from the call to the last byte, over everything that happens inside `within`: a byte a second, headers
that never end, interim answers without number. Headers: at most 100 KB, which is where httpcore gives up.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import httpx

from millrace.synthesis.environments.web.body import Unpacked
from millrace.synthesis.environments.web.faults import ServerFault
from millrace.synthesis.environments.web.in_thread import InThread

AGENT = "millrace-synthesis"
"""Who asks, in the header and for robots.txt."""

ACCEPTED = "gzip, deflate"
"""What may come compressed; anything else was not asked for."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    headers: httpx.Headers
    body: bytes
    cut: bool
    """Whether the body goes on beyond the limit."""

    @property
    def content_type(self) -> str:
        """The header as it came; empty where there is none."""
        return str(self.headers.get("content-type", ""))


def within(seconds: float, too_long: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of `work`, which is given up when it takes longer.

    Raises:
        ServerFault: it took longer; `too_long` is the message.
    """

    async def limited() -> T:
        async with asyncio.timeout(seconds):
            return await work()

    try:
        return asyncio.run(limited())
    except TimeoutError:
        raise ServerFault(too_long) from None


def open_client(timeout_s: float, transport: httpx.AsyncBaseTransport | httpx.BaseTransport | None) -> httpx.AsyncClient:
    """A client that follows nothing, keeps no cookie and reads no environment variable."""
    if transport is not None and not isinstance(transport, httpx.AsyncBaseTransport):
        transport = InThread(transport)
    return httpx.AsyncClient(
        timeout=timeout_s,
        follow_redirects=False,
        headers={"User-Agent": AGENT, "Accept-Encoding": ACCEPTED},
        trust_env=False,
        transport=transport,
        verify=_certificates(),
    )


async def ask(
    client: httpx.AsyncClient,
    method: str,
    url: httpx.URL | str,
    most: int,
    *,
    name: str,
    cut: bool = False,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> Answer:
    """One request and its whole answer.

    Args:
        client: from `open_client`.
        method: GET or POST.
        url: where to.
        most: bytes of the body, decompressed.
        name: what messages call the address.
        cut: take the beginning of a longer body.
        headers: more of them.
        content: what is posted.
        extensions: for the transport.

    Raises:
        ServerFault: the answer is too long, damaged, or does not come.
    """
    request = client.build_request(method, url, headers=dict(headers or {}), content=content, extensions=dict(extensions or {}))
    try:
        answer = await client.send(request, stream=True)
    except (httpx.HTTPError, httpx.InvalidURL, LookupError, ValueError) as error:
        raise _broken(name, error) from error
    try:
        unpacked = Unpacked(answer.headers.get("content-encoding", ""), most, name, cut=cut)
        if answer.is_stream_consumed:  # a transport that hands over a whole body, as mocks do
            unpacked = Unpacked("", most, name, cut=cut)
            unpacked.add(answer.content)
        else:
            async for part in answer.aiter_raw():
                unpacked.add(part)
                if unpacked.full:
                    break
        return Answer(answer.status_code, answer.headers, unpacked.whole(), unpacked.full)
    except (httpx.HTTPError, LookupError, ValueError) as error:
        raise _broken(name, error) from error
    finally:
        await answer.aclose()


def _broken(name: str, error: Exception) -> ServerFault:
    return ServerFault(f"{name} cannot be fetched: {type(error).__name__}: {error}")


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context()
