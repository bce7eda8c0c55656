"""A chat model for code without an event loop: a Prefect task, a torchrun rank, a judge called in a loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

from millrace.errors import ItemFailed
from millrace.llm import Reply, Request
from millrace.llm.client.batch import complete_many
from millrace.llm.client.durable_chat import DurableChat
from millrace.llm.preflight import preflight

WATCH_S = 1.0
"""How often a caller that waits for answers hears of it."""

K = TypeVar("K")
T = TypeVar("T")


class BlockingChat:
    """Runs a durable chat model on an event loop in a thread of its own; a context manager, usable from any thread.

    Args:
        make: makes the model; called on the loop's thread. `lambda: open_chat(settings, folder)`.
    """

    def __init__(self, make: Callable[[], DurableChat]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat", daemon=True)
        self._thread.start()
        try:
            self.chat = self._run(_made(make))
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> BlockingChat:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def complete(self, request: Request) -> Reply:
        """The reply; raises as `ChatModel.complete` does."""
        return self._run(self.chat.complete(request))

    def submit(self, request: Request) -> Future[Reply]:
        """Start a request; its future gives the reply or raises."""
        return asyncio.run_coroutine_threadsafe(self.chat.complete(request), self._loop)

    def complete_all(self, requests: Iterable[Request]) -> list[Reply | ItemFailed]:
        """The answers in the order of the requests, all under way at once; a failed request is its failure."""
        answers: dict[int, Reply | ItemFailed] = dict(self.complete_many(enumerate(requests)))
        return [answers[index] for index in range(len(answers))]

    def complete_many(self, requests: Iterable[tuple[K, Request]]) -> Iterator[tuple[K, Reply | ItemFailed]]:
        """As `batch.complete_many`: a bounded number under way, answers as they come. `requests` is read on the loop's thread."""
        answers: queue.Queue[tuple[K, Reply | ItemFailed] | BaseException | None] = queue.Queue()
        taken = threading.Semaphore(4 * self.chat.parallelism)

        async def feed() -> None:
            try:
                async for answer in complete_many(self.chat, requests):
                    while not taken.acquire(blocking=False):  # the consumer is behind: wait without stopping the loop
                        await asyncio.sleep(0.01)
                    answers.put(answer)
            except Exception as error:  # noqa: BLE001 - raised again where the answers are read
                answers.put(error)
            else:
                answers.put(None)

        feeding = asyncio.run_coroutine_threadsafe(feed(), self._loop)
        try:
            while (answer := answers.get()) is not None:
                if isinstance(answer, BaseException):
                    raise answer
                taken.release()
                yield answer
        finally:
            feeding.cancel()

    def ask_ahead(self, requests: Iterable[Request], watch: Callable[[], None] = lambda: None) -> None:
        """Ask `requests` ahead, so that later calls find the answers in the journal. What is there is not asked again; a request
        that fails is left to the call that makes it.

        Args:
            requests: read in this thread, as far ahead as the model takes.
            watch: called about once a second while answers are waited for.

        Raises:
            RunFailed, ShortOfTarget: nothing more will be answered.
        """
        changed = threading.Condition()
        waiting: set[Future[Reply]] = set()
        ended: list[BaseException] = []

        def note(future: Future[Reply]) -> None:
            error = None if future.cancelled() else future.exception()
            with changed:
                waiting.discard(future)
                if error is not None and not isinstance(error, ItemFailed):
                    ended.append(error)
                changed.notify()

        def wait_below(most: int) -> None:
            while True:
                with changed:
                    if len(waiting) >= most and not ended:
                        changed.wait(WATCH_S)
                    if ended:
                        raise ended[0]
                    if len(waiting) < most:
                        return
                watch()

        try:
            for request in requests:
                wait_below(self.chat.most_waiting)
                future = self.submit(request)
                with changed:
                    waiting.add(future)
                future.add_done_callback(note)
            wait_below(1)
        finally:
            for future in list(waiting):
                future.cancel()

    def refresh(self) -> None:
        """Take in the replies that other processes of the run have paid for since this one looked."""
        journal = self.chat.journal
        if journal is not None:
            self._loop.call_soon_threadsafe(journal.refresh)

    def preflight(self, *, wait_s: float = 0.0) -> list[str]:
        """As `preflight.preflight`."""
        return self._run(preflight(self.chat, wait_s=wait_s))

    def close(self) -> None:
        """Close the model and end the thread. Harmless when called twice."""
        if self._thread.is_alive():
            try:
                self._run(self.chat.close())
            finally:
                self._stop()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _made(make: Callable[[], DurableChat]) -> DurableChat:
    return make()
