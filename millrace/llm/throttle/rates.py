"""Requests and tokens per minute, and dollars, shared by all processes of a run on one machine.

The state is 48 bytes in a file under `flock`. A process takes a tenth of a second's worth of requests at a time, so the file is
touched some ten times a second whatever the rate, and nothing has to be running for it to work: a killed process costs the others
at most what it held.

Two buckets decide. One fills at the rate itself and keeps two seconds' worth: what was not used in a short stall is not lost,
and no minute gets more than its 105 % (ten processes; each further one may add its lease, 0.17 %). The other fills a little
faster and keeps a fifth of a second's worth: what was saved up is caught up with slowly, because a server that counts by the
second would refuse a burst.

Covers: any number of processes that see the same file (a shared file system with working locks included); a clock that jumps (a
step forward is worth what may be saved, a step back of over a minute starts the clock anew).
Does not cover: limits shared between different runs or with other people who use the same key.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

_STATE = struct.Struct("<4sxxxxddddd")
_MAGIC = b"mrb1"

LEASE_S = 0.1
"""How much of the request rate a process takes at once."""

LEASE_ENDS_S = 1.0
"""What a process took and did not use in this time goes back: a quiet process must not hoard for a burst."""

SAVED_S = 2.0
"""How much unused budget is kept: a thirtieth of a minute, so that it stays below 105 % with ten processes' leases."""

CATCH_UP = 1.15
"""How much faster than the rate saved budget is used up."""

BURST_S = 0.2
"""What may go out at once: with it and `CATCH_UP`, any second stays below 1.35 times its share."""


class RateBudget:
    """Waits until a request may be sent.

    Args:
        path: the file that processes share; None keeps the state in this process.
        requests_per_minute: None is no limit.
        tokens_per_minute: None is no limit.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._request_rate = None if requests_per_minute is None else requests_per_minute / 60
        self._token_rate = None if tokens_per_minute is None else tokens_per_minute / 60
        self._clock = clock
        self._leased = 0.0
        self._leased_at = 0.0
        self._queue = asyncio.Lock()
        self._memory = _STATE.pack(_MAGIC, 0.0, 0.0, 0.0, 0.0, 0.0)
        self._handle: int | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    @property
    def unlimited(self) -> bool:
        """Nothing to wait for."""
        return self._request_rate is None and self._token_rate is None

    async def acquire(self, tokens: float = 0.0) -> None:
        """Wait for the right to send one request of about `tokens` tokens, prompt and answer."""
        if self.unlimited:
            return
        async with self._queue:
            while (wait_s := self._try(tokens)) > 0:
                await asyncio.sleep(min(wait_s, 5.0))

    def settle(self, difference: float) -> None:
        """Correct the estimate: `difference` is tokens used minus tokens estimated."""
        if self._token_rate is not None and difference:
            with _Locked(self) as state:
                state.tokens -= difference

    def spend(self, usd: float) -> float:
        """Add to what the run has spent; returns the total of all its processes."""
        with _Locked(self) as state:
            state.spent_usd += usd
            return state.spent_usd

    def spent_at_least(self, usd: float) -> float:
        """Raise the total to what the ledger proves was spent; returns the total."""
        with _Locked(self) as state:
            state.spent_usd = max(state.spent_usd, usd)
            return state.spent_usd

    def close(self) -> None:
        """Give back what was taken and not used."""
        if self._handle is None:
            return
        if self._leased and self._request_rate is not None:
            with _Locked(self) as state:
                state.requests += self._leased
                self._leased = 0.0
        os.close(self._handle)
        self._handle = None

    def _try(self, tokens: float) -> float:
        """0 and the right is taken, or the seconds to wait."""
        if self._leased >= 1 and self._token_rate is None and 0 <= self._clock() - self._leased_at < LEASE_ENDS_S:
            self._leased -= 1
            return 0.0
        with _Locked(self) as state:
            now = self._refill(state)
            if self._token_rate is not None and state.tokens <= 0:
                return max(0.005, -state.tokens / self._token_rate)
            if self._request_rate is not None:
                if not 0 <= now - self._leased_at < LEASE_ENDS_S:
                    state.requests = min(state.requests + self._leased, self._most_requests)
                    self._leased = 0.0
                if self._leased < 1:
                    wait_s = self._lease(state, now, self._request_rate)
                    if wait_s > 0:
                        return wait_s
                self._leased -= 1
            if self._token_rate is not None:
                state.tokens -= tokens
        return 0.0

    def _lease(self, state: _Locked, now: float, rate: float) -> float:
        """Take a portion out of both buckets; 0, or the seconds until there is one."""
        there = min(state.requests, state.pace)
        if there < 1:
            wanted = max(1.0, rate * LEASE_S / 2)  # waiting for one at a time would touch the file at the full rate
            return max(0.002, (wanted - state.requests) / rate, (wanted - state.pace) / (CATCH_UP * rate))
        portion = min(there, max(1.0, rate * LEASE_S))
        state.requests -= portion
        state.pace -= portion
        self._leased += portion
        self._leased_at = now
        return 0.0

    @property
    def _most_requests(self) -> float:
        return max(1.0, (self._request_rate or 0.0) * SAVED_S)

    def _refill(self, state: _Locked) -> float:
        """Add what has come up since the last look; returns the time."""
        now = self._clock()
        if state.updated == 0.0 or now < state.updated - 60:
            elapsed, state.updated = 0.0, now
        else:
            elapsed = max(0.0, now - state.updated)
            state.updated = max(state.updated, now)
        if self._request_rate is not None:
            rate = self._request_rate
            state.requests = min(self._most_requests, state.requests + elapsed * rate)
            state.pace = min(max(1.0, rate * BURST_S), state.pace + elapsed * rate * CATCH_UP)
        if self._token_rate is not None:
            state.tokens = min(self._token_rate * SAVED_S, state.tokens + elapsed * self._token_rate)
        return now


class _Locked:
    """The shared state, read under the lock and written back at the end of the block."""

    requests: float
    tokens: float
    updated: float
    spent_usd: float
    pace: float

    def __init__(self, budget: RateBudget) -> None:
        self._budget = budget

    def __enter__(self) -> _Locked:
        handle = self._budget._handle
        raw = self._budget._memory
        if handle is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
            raw = os.pread(handle, _STATE.size, 0)
        if len(raw) != _STATE.size or not raw.startswith(_MAGIC):  # new, or torn by a crash: start with nothing saved up
            raw = _STATE.pack(_MAGIC, 0.0, 0.0, 0.0, 0.0, 0.0)
        _, self.requests, self.tokens, self.updated, self.spent_usd, self.pace = _STATE.unpack(raw)
        return self

    def __exit__(self, *_: object) -> None:
        raw = _STATE.pack(_MAGIC, self.requests, self.tokens, self.updated, self.spent_usd, self.pace)
        handle = self._budget._handle
        if handle is None:
            self._budget._memory = raw
            return
        os.pwrite(handle, raw, 0)
        fcntl.flock(handle, fcntl.LOCK_UN)
