"""Requests and tokens per minute, and dollars, shared by all processes of a run on one machine.

The state is 48 bytes in a file under `flock`. A process takes a tenth of a second's worth of requests at a time, so the file is
touched some ten times a second whatever the rate, and nothing has to be running for it to work: a killed process costs the others
at most what it held.

Covers: any number of processes that see the same file (a shared file system with working locks included); a clock that jumps (a
step forward is worth one burst, a step back of over a minute starts the clock anew).
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

BURST_S = 0.25
"""How much unused budget is kept: with a minute's worth a server that counts by the second would refuse."""

TOKEN_BURST_S = 1.0
"""The same for tokens, which come in larger portions."""


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
        if self._leased >= 1 and self._token_rate is None:
            self._leased -= 1
            return 0.0
        with _Locked(self) as state:
            self._refill(state)
            if self._token_rate is not None and state.tokens <= 0:
                return max(0.005, -state.tokens / self._token_rate)
            if self._request_rate is not None and self._leased < 1:
                if state.requests < 1:
                    return max(0.002, (1 - state.requests) / self._request_rate)
                portion = min(state.requests, max(1.0, self._request_rate * LEASE_S))
                state.requests -= portion
                self._leased += portion
            if self._token_rate is not None:
                state.tokens -= tokens
        if self._request_rate is not None:
            self._leased -= 1
        return 0.0

    def _refill(self, state: _Locked) -> None:
        now = self._clock()
        if state.updated == 0.0 or now < state.updated - 60:
            elapsed, state.updated = 0.0, now
        else:
            elapsed = max(0.0, now - state.updated)
            state.updated = max(state.updated, now)
        if self._request_rate is not None:
            most = max(1.0, self._request_rate * LEASE_S) + self._request_rate * (BURST_S - LEASE_S)
            state.requests = min(most, state.requests + elapsed * self._request_rate)
        if self._token_rate is not None:
            state.tokens = min(self._token_rate * TOKEN_BURST_S, state.tokens + elapsed * self._token_rate)


class _Locked:
    """The shared state, read under the lock and written back at the end of the block."""

    requests: float
    tokens: float
    updated: float
    spent_usd: float

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
        _, self.requests, self.tokens, self.updated, self.spent_usd, _ = _STATE.unpack(raw)
        return self

    def __exit__(self, *_: object) -> None:
        raw = _STATE.pack(_MAGIC, self.requests, self.tokens, self.updated, self.spent_usd, 0.0)
        handle = self._budget._handle
        if handle is None:
            self._budget._memory = raw
            return
        os.pwrite(handle, raw, 0)
        fcntl.flock(handle, fcntl.LOCK_UN)
