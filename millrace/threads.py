"""Work in threads whose results come in the order of what is worked on, with a bounded number under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], items: Iterable[T], *, width: int, name: str) -> Iterator[R]:
    """`work(item)` for each item, in order. Leaving the loop early waits for what is under way and begins nothing more.

    Args:
        work: called by several threads at once where `width` is above 1; its exceptions are raised here, in their turn.
        items: read as results are taken: at most twice `width` and one are under way.
        width: threads; 1 works in the caller's.
        name: of the threads.
    """
    if width < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(width, thread_name_prefix=name) as threads:
        under_way: deque[Future[R]] = deque()
        try:
            for item in items:
                under_way.append(threads.submit(work, item))
                if len(under_way) > 2 * width:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            threads.shutdown(wait=True, cancel_futures=True)
