"""A transport that blocks, for a fetch that must be able to give up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import httpx

LOOKUPS = ThreadPoolExecutor(32, "look up")
"""Where hosts are resolved and transports block: neither has a limit of time, and a fetch must not wait beyond its own."""


class InThread(httpx.AsyncBaseTransport):
    """What the inner transport still does when a fetch has given up, it does in its thread."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Hand the request on."""
        answer = await asyncio.get_running_loop().run_in_executor(LOOKUPS, self._inner.handle_request, request)
        if isinstance(answer.stream, httpx.AsyncByteStream):
            return answer
        return httpx.Response(answer.status_code, headers=answer.headers, stream=_Pieces(answer), extensions=answer.extensions)


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._answer.stream, httpx.SyncByteStream)
        pieces = iter(self._answer.stream)
        while (piece := await asyncio.get_running_loop().run_in_executor(LOOKUPS, next, pieces, None)) is not None:
            yield piece

    async def aclose(self) -> None:
        self._answer.close()
