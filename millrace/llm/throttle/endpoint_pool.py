"""Several endpoints for one model: who gets the next request, and who waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from millrace.llm import Reply, Request
from millrace.llm.failures import AttemptFailed, EndpointDown
from millrace.llm.throttle.circuit_breaker import Breaker
from millrace.llm.throttle.concurrency import InFlightLimit

LONGEST_HOLD_S = 2.0
"""A refused request's slot is kept for one mean latency, at most for this."""

LONGEST_PAUSE_S = 5.0
"""An endpoint that refuses most of what it gets is left alone for what it asks for, at most for this; then it is asked again."""


EMPTY_LASTS = 0.25
"""An account that is called empty for this share of `give_up_after_s` (75 s of 300) is empty: limits per minute have passed."""


class AttemptModel(Protocol):
    """A chat model that makes one attempt per call and raises `AttemptFailed`."""

    pause_s: float | None

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        ...

    async def complete(self, request: Request) -> Reply:
        """One attempt."""
        ...

    async def close(self) -> None:
        """Close everything."""
        ...


class Endpoint:
    """One endpoint with its limit and its health."""

    def __init__(self, model: AttemptModel, ceiling: int, who: str = "") -> None:
        self.model = model
        self.who = who
        """Whose answers its answers are, see `store/answer_keys.py`; "" for a model in this process."""
        self.limit = InFlightLimit(ceiling)
        self.breaker = Breaker()
        self.paused_until = 0.0
        self.answers = 0
        self.refusing_since: float | None = None
        """Since when it has done nothing but refuse as overloaded; None after an answer."""

        self.empty_since: float | None = None
        """Since when all that it says is that the account may be empty; None after any other answer."""
        self.account_empty = ""
        """What it says where that has lasted."""

    @property
    def load(self) -> float:
        """The share of what it can take that it has."""
        return self.limit.in_use / max(1.0, self.limit.limit)


class EndpointPool:
    """Hands out the least loaded healthy endpoint, first come, first served.

    Args:
        endpoints: at least one.
        give_up_after_s: with no endpoint answering for this long everybody who waits gets `EndpointDown`.
    """

    def __init__(self, endpoints: Sequence[Endpoint], *, give_up_after_s: float) -> None:
        self.endpoints = list(endpoints)
        self._give_up_after_s = give_up_after_s
        self._waiting: deque[asyncio.Future[Endpoint]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._dead: EndpointDown | None = None

    @property
    def in_flight(self) -> int:
        """Requests in flight at all endpoints, held slots included."""
        return sum(endpoint.limit.in_use for endpoint in self.endpoints)

    async def acquire(self) -> Endpoint:
        """An endpoint with room for one more request; give it back with `release` or `hold`.

        Raises:
            EndpointDown: no endpoint has answered for `give_up_after_s`.
        """
        if self._dead is not None:
            raise self._dead
        if not self._waiting:
            endpoint = self._choose()
            if endpoint is not None:
                return self._take(endpoint)
        turn: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._wake()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(turn.result())
            raise

    def release(self, endpoint: Endpoint) -> None:
        """The request is over; its slot goes to the next who waits."""
        endpoint.limit.give_back()
        if self._waiting:
            self._wake()

    def abandon(self, endpoint: Endpoint) -> None:
        """The caller no longer waits for the answer: the request says nothing about the endpoint."""
        endpoint.breaker.probing = False
        self.release(endpoint)

    def hold(self, endpoint: Endpoint) -> None:
        """The request was refused: keep its slot for one mean latency, as if it had been answered.

        Without this a refusal, which is quick, makes room for the next request at once, and the server is asked ever faster.
        """
        delay = min(endpoint.limit.mean_latency_s or 0.1, LONGEST_HOLD_S)
        asyncio.get_running_loop().call_later(delay, self.release, endpoint)

    def answered(self, endpoint: Endpoint, latency_s: float) -> None:
        """The endpoint answered."""
        endpoint.answers += 1
        endpoint.refusing_since = endpoint.empty_since = None
        endpoint.account_empty = ""
        endpoint.breaker.succeeded()
        endpoint.limit.answered(latency_s)
        pause_s = endpoint.model.pause_s
        if pause_s:
            endpoint.model.pause_s = None
            endpoint.paused_until = asyncio.get_running_loop().time() + pause_s

    def failed(self, endpoint: Endpoint, error: AttemptFailed, *, first: bool = True) -> None:
        """The endpoint did not; `first` is False for a request that has failed before."""
        now = asyncio.get_running_loop().time()
        if error.kind == "overload":
            endpoint.breaker.alive()
            endpoint.limit.refused()
            endpoint.refusing_since = now if endpoint.refusing_since is None else endpoint.refusing_since
            if endpoint.limit.storm and error.retry_after_s:
                endpoint.paused_until = max(endpoint.paused_until, now + min(error.retry_after_s, LONGEST_PAUSE_S))
            endpoint.empty_since = (endpoint.empty_since or now) if error.account_empty else None
            if endpoint.empty_since is not None and now - endpoint.empty_since > self._give_up_after_s * EMPTY_LASTS:
                endpoint.account_empty = error.detail
                self._check_empty()
            if now - endpoint.refusing_since > self._give_up_after_s:
                self._check_dead()
            return
        if error.kind in {"rejected", "credentials"}:
            endpoint.breaker.alive()
            return
        if error.kind == "timeout":
            endpoint.limit.refused()
        endpoint.breaker.failed(error.kind, error.detail, first=first)
        self._check_dead()

    def stop(self, reason: EndpointDown) -> None:
        """Give out no endpoint any more."""
        self._dead = self._dead or reason
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(reason)

    async def close(self) -> None:
        """Close all endpoints."""
        if self._timer is not None:
            self._timer.cancel()
        for endpoint in self.endpoints:
            await endpoint.model.close()

    def _take(self, endpoint: Endpoint) -> Endpoint:
        endpoint.limit.take()
        endpoint.breaker.sent()
        return endpoint

    def _choose(self) -> Endpoint | None:
        if len(self.endpoints) == 1:
            only = self.endpoints[0]
            return only if only.limit.room and self._open(only) else None
        free = [endpoint for endpoint in self.endpoints if endpoint.limit.room and self._open(endpoint)]
        return min(free, key=lambda endpoint: endpoint.load) if free else None

    def _open(self, endpoint: Endpoint) -> bool:
        if not endpoint.breaker.admits():
            return False
        return not endpoint.paused_until or asyncio.get_running_loop().time() >= endpoint.paused_until

    def _wake(self) -> None:
        while self._waiting:
            if self._waiting[0].done():
                self._waiting.popleft()
                continue
            endpoint = self._choose()
            if endpoint is None:
                self._look_again_later()
                return
            self._waiting.popleft().set_result(self._take(endpoint))

    def _look_again_later(self) -> None:
        """When the reason to wait is a pause and not a full endpoint, a timer wakes the waiting requests at its end."""
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        times = [now + 1.0]  # the watch for `give_up_after_s` goes on whatever happens
        for endpoint in self.endpoints:
            times += [at for at in (endpoint.paused_until, endpoint.breaker.open_until) if at is not None and at > now]
        self._timer = loop.call_at(min(times), self._timed)

    def _timed(self) -> None:
        self._timer = None
        self._check_dead()
        self._wake()

    def _check_empty(self) -> None:
        if all(endpoint.account_empty for endpoint in self.endpoints):
            said = "; ".join(dict.fromkeys(endpoint.account_empty for endpoint in self.endpoints))
            self.stop(EndpointDown(f"the account is empty: {said}; nothing paid is lost: fill it up and run again"))

    def _check_dead(self) -> None:
        now = asyncio.get_running_loop().time()
        for endpoint in self.endpoints:
            silent = endpoint.breaker.failing_for_s()
            refusing = 0.0 if endpoint.refusing_since is None else now - endpoint.refusing_since
            if max(silent, refusing) <= self._give_up_after_s:
                return
        last = self.endpoints[0].breaker.last_detail or "it only says that it is overloaded"
        places = ", ".join(endpoint.model.place for endpoint in self.endpoints)
        self.stop(
            EndpointDown(f"no answer from {places} for {self._give_up_after_s:g} s ({last}); nothing paid is lost: run again")
        )
