"""Real servers on loopback for the tests: the project's own one, and one that sends exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from millrace.llm import ChatModel, Reply, Request, user
from millrace.llm.client.durable_chat import DurableChat
from millrace.llm.mock_server.faults import FaultPlan
from millrace.llm.mock_server.serve import LocalServer
from millrace.llm.open_chat import open_chat
from millrace.llm.providers.scripted import ScriptedChat, default_reply
from millrace.llm.settings import EndpointSettings, ModelSettings

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], within_s: float = 90) -> T:
    """Run a test's coroutine; a hang is a failure."""
    return asyncio.run(asyncio.wait_for(work, within_s))


@contextlib.asynccontextmanager
async def serving(
    model: ChatModel | Callable[[Request], Reply | str] = default_reply, *, key: str | None = None, **plan: Any
) -> AsyncIterator[tuple[LocalServer, str]]:
    """A local server and its base URL."""
    chat = ScriptedChat(model) if callable(model) else model
    server = LocalServer(chat, FaultPlan(**plan), key=key)
    url = await server.start()
    try:
        yield server, url
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def opened(
    url: str | tuple[str, ...], folder: Path | None = None, *, key_env: str | None = None, **changed: Any
) -> AsyncIterator[DurableChat]:
    """A durable client for the server at `url`."""
    urls = (url,) if isinstance(url, str) else url
    endpoints = tuple(EndpointSettings(base_url=one, api_key_env=key_env) for one in urls)
    settings = ModelSettings(**{"model": "scripted", "endpoints": endpoints, "timeout_s": 20.0, **changed})
    chat = open_chat(settings, folder)
    try:
        yield chat
    finally:
        await chat.close()


def question(number: int = 0, **changed: Any) -> Request:
    """A small request."""
    return Request(messages=(user(f"question {number}"),), **changed)


Speaker = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def speaking(speak: Speaker) -> AsyncIterator[str]:
    """A TCP server whose every connection is handled by `speak`; yields `http://HOST:PORT`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await speak(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One whole request: head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0)
    return head + (await reader.readexactly(length) if length else b"")


def always(answer: bytes, *, then_close: bool = True) -> Speaker:
    """Answers every request with these bytes."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()
            if then_close:
                return

    return speak


@contextlib.contextmanager
def served(model: ChatModel, *, key: str | None = None, **plan: Any) -> Iterator[tuple[LocalServer, str]]:
    """A local server in a thread of its own."""
    server = LocalServer(model, FaultPlan(**plan), key=key)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    url = asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
    try:
        yield server, url
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
