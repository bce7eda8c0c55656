"""Knowing across machines that the other side is alive: a lease from the flow, heartbeats from each host.

Both are Dask variables, so they need no port of their own: they travel the connections to the scheduler. The flow renews its
lease every two seconds; who holds it stops when it is `LEASE_S` old. A host sends a heartbeat as often; when none came for
`SILENT_S` the host is lost, and by then it has stopped by itself. No two machines' clocks are compared, and only time
in which one is awake oneself counts: an overloaded machine was seen to stand still for 28 s, which says nothing of the others.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

BEAT_S = 2.0
"""Between two renewals of a lease and between two heartbeats: some 5 messages a second for ten hosts."""

LEASE_S = 15.0
"""A lease that nobody has renewed for this long is over: seven renewals."""

GRACE_S = 5.0
"""Between TERM and KILL of a program whose lease is over."""

SILENT_S = LEASE_S + GRACE_S + 5.0
"""A host that has sent no heartbeat for this long is lost. Longer than its program can live without a lease."""

STOP = "stop"


class Leases:
    """The flow's half, for as long as the block lasts, in threads that a slow flow does not hold up.

    Args:
        client: a `distributed.Client`.
        workers: the Dask worker of each host; a host is named by its place in this list.
    """

    def __init__(self, client: Any, workers: Sequence[str]) -> None:
        self.name = f"millrace-{uuid.uuid4().hex}"
        self._client = client
        self._workers = workers
        self._lease = _variable(self.name, client)
        self._lives = [_variable(_life(self.name, number), client) for number in range(len(workers))]
        self._heard: dict[int, tuple[str, int]] = {}
        """The last heartbeat of a host: which attempt sent it, and its number."""
        self._silence = [0.0] * len(workers)
        """By host, seconds without a heartbeat; counted from the first one on, or from the moment its worker has left Dask."""
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._renew, daemon=True, name="lease")]
        for number in range(len(workers)):
            self._threads.append(threading.Thread(target=self._listen, args=(number,), daemon=True, name="heartbeats"))

    def __enter__(self) -> Leases:
        self._lease.set(0)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()
        for variable in (self._lease, *self._lives):
            with contextlib.suppress(Exception):
                variable.delete()

    def lost(self, number: int) -> bool:
        """Whether a host was heard of and no longer is, its worker left before it began, or began anew."""
        return self._silence[number] > SILENT_S

    def end(self) -> None:
        """Tell every host to stop."""
        if self._over.is_set():
            return
        self._over.set()
        self._threads[0].join(2 * BEAT_S)
        with contextlib.suppress(Exception):
            self._lease.set(STOP, timeout=BEAT_S)

    def _renew(self) -> None:
        beat = 0
        while not self._over.wait(BEAT_S):
            beat += 1
            with contextlib.suppress(Exception):
                self._lease.set(beat, timeout=BEAT_S)

    def _listen(self, number: int) -> None:
        awake = _Awake(2 * BEAT_S)
        while not self._over.wait(BEAT_S / 2):
            passed = awake.seconds()
            with contextlib.suppress(Exception):
                who, beat = self._lives[number].get(timeout=BEAT_S)
                before = self._heard.setdefault(number, (who, -1))
                if before[0] != who:  # Dask started the task again after its worker had died
                    self._silence[number] = float("inf")
                    return
                if before[1] != beat:
                    self._heard[number], self._silence[number] = (who, beat), 0.0
                    continue
            if number in self._heard:
                self._silence[number] += passed
            if self._silence[number] > 2 * BEAT_S or number not in self._heard:
                gone = self._gone(number)
                # a worker that died has taken its program with it at once; `GRACE_S` is for one that is only leaving
                self._silence[number] = max(self._silence[number], SILENT_S - GRACE_S) + passed if gone else self._silence[number]

    def _gone(self, number: int) -> bool:
        with contextlib.suppress(Exception):
            return self._workers[number] not in self._client.scheduler_info(n_workers=-1)["workers"]
        return False


class HeldLease:
    """A host's half, in a Dask worker, for as long as the block lasts."""

    def __init__(self, name: str, number: int) -> None:
        from distributed import get_client

        client = get_client()
        self._lease, self._life = _variable(name, client), _variable(_life(name, number), client)
        self._mine = uuid.uuid4().hex  # Dask starts a task again whose worker has died: the flow shall see that it is another one
        self._value: Any = None
        self._age, self._awake = 0.0, _Awake(1.0)
        self._over = threading.Event()

    def __enter__(self) -> HeldLease:
        threading.Thread(target=self._keep, name="lease", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()

    @property
    def over(self) -> bool:
        """Whether it is time to stop: the flow said so, or was silent for too long. To be asked several times a second."""
        self._age += self._awake.seconds()
        return self.stopped or self._age > LEASE_S

    @property
    def stopped(self) -> bool:
        """Whether the flow said that it is time to stop."""
        return bool(self._value == STOP)

    def _keep(self) -> None:
        beat = 0
        while not self._over.is_set():
            beat += 1
            with contextlib.suppress(Exception):  # no news; `over` counts the seconds
                self._life.set([self._mine, beat], timeout=BEAT_S)
                value = self._lease.get(timeout=BEAT_S)
                if value != self._value:
                    self._value, self._age = value, 0.0
            self._over.wait(BEAT_S / 2)


class _Awake:
    """Counts time, but never more than `most_s` between two looks: what is more, this machine stood still."""

    def __init__(self, most_s: float) -> None:
        self._most_s, self._at = most_s, time.monotonic()

    def seconds(self) -> float:
        """The time since the last look."""
        before, self._at = self._at, time.monotonic()
        return min(self._at - before, self._most_s)


def _life(name: str, number: int) -> str:
    return f"{name}-{number}"


def _variable(name: str, client: Any) -> Any:
    from distributed import Variable

    return Variable(name, client=client)  # type: ignore[no-untyped-call]
