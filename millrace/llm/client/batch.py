"""Many requests at once: a bounded number of workers over an iterator, answers as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from millrace.errors import ItemFailed, ShortOfTarget
from millrace.llm import Reply, Request

K = TypeVar("K")

LONGEST_END_S = 120.0
"""How long calls under way are waited for when the budget is spent."""


class Parallel(Protocol):
    """A chat model that knows how many requests are worth having under way."""

    @property
    def parallelism(self) -> int:
        """Workers to run."""
        ...

    async def complete(self, request: Request) -> Reply:
        """The reply."""
        ...


async def complete_many(model: Parallel, requests: Iterable[tuple[K, Request]]) -> AsyncIterator[tuple[K, Reply | ItemFailed]]:
    """The answer to each request, or the failure of this one, in the order in which they come.

    The iterator is read as answers come back, so its length costs no memory; a consumer that is slow slows the workers down.
    Leaving the loop early stops the workers. When the budget is spent, calls that are under way are paid for and so waited for:
    their answers are in the journal when this raises.

    Raises:
        RunFailed, ShortOfTarget: nothing more will be answered.
        AssertionError: the answers don't add up to the requests (never seen; it would be a lost call).
    """
    source = iter(requests)
    count = model.parallelism
    answers: asyncio.Queue[tuple[K, Reply | ItemFailed] | BaseException | None] = asyncio.Queue(maxsize=count)
    given = 0
    spent = False

    async def work(source: Iterator[tuple[K, Request]]) -> None:
        nonlocal given, spent
        try:
            for name, request in source:
                if spent:
                    return
                given += 1
                try:
                    answer: Reply | ItemFailed = await model.complete(request)
                except ItemFailed as failure:
                    answer = failure
                await answers.put((name, answer))
        except Exception as error:  # noqa: BLE001 - whatever ends a worker ends the loop below, which raises it
            spent = spent or isinstance(error, ShortOfTarget)
            await answers.put(error)
        else:
            await answers.put(None)

    workers = [asyncio.create_task(work(source)) for _ in range(count)]
    taken = 0
    try:
        running = count
        while running:
            answer = await answers.get()
            if answer is None:
                running -= 1
            elif isinstance(answer, BaseException):
                raise answer
            else:
                taken += 1
                yield answer
        assert taken == given, f"{given} requests, {taken} answers"
    finally:
        try:
            if spent:
                await _ended(workers, answers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


async def _ended(workers: list[asyncio.Task[None]], answers: asyncio.Queue[Any]) -> None:
    """Wait for calls that are under way; their answers are dropped here, the journal has them."""
    until = time.monotonic() + LONGEST_END_S
    while not all(worker.done() for worker in workers) and time.monotonic() < until:
        while not answers.empty():  # a full queue would hold up the worker that brings an answer
            answers.get_nowait()
        await asyncio.wait(workers, timeout=0.05)
