"""Many requests at once: a bounded number of workers over an iterator, answers as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Protocol, TypeVar

from millrace.errors import ItemFailed
from millrace.llm import Reply, Request

K = TypeVar("K")


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
    Leaving the loop early stops the workers.

    Raises:
        RunFailed, ShortOfTarget: nothing more will be answered.
        AssertionError: the answers don't add up to the requests (never seen; it would be a lost call).
    """
    source = iter(requests)
    count = model.parallelism
    answers: asyncio.Queue[tuple[K, Reply | ItemFailed] | BaseException | None] = asyncio.Queue(maxsize=count)
    given = 0

    async def work(source: Iterator[tuple[K, Request]]) -> None:
        nonlocal given
        try:
            for name, request in source:
                given += 1
                try:
                    answer: Reply | ItemFailed = await model.complete(request)
                except ItemFailed as failure:
                    answer = failure
                await answers.put((name, answer))
        except Exception as error:  # noqa: BLE001 - whatever ends a worker ends the loop below, which raises it
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
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
