"""A program on several hosts of a Dask cluster, with nothing of it left behind: what `supervised` is on one host.

    codes = run_on_hosts(cluster, pick_hosts(cluster, 2), command_of, on_poll)

On each host a Dask worker runs the program under `supervised`, for as long as the flow renews a lease (lease.py).

Covers: normal end, exception, Ctrl-C, `kill -9` of the flow, of a worker, of the scheduler; a host that is cut off.
Does not cover: a host that sleeps (is suspended) and wakes up later; the journals' locks keep its late writes out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from millrace.errors import MillraceError, RunFailed
from millrace.orchestration.clusters.lease import BEAT_S, GRACE_S, SILENT_S, HeldLease, Leases
from millrace.processes.supervised import supervised
from millrace.run.machines import CommandOf, Host, HostsLost


class Cluster(NamedTuple):
    """A Dask scheduler, and what a worker must offer to take part."""

    scheduler: str
    resources: Mapping[str, float]

    def pick(self, wanted: int, without: Collection[str] = ()) -> list[Host]:
        """See `millrace.run.machines.Machines`."""
        return pick_hosts(self, wanted, without)

    def ask(self, host: Host, question: Callable[[], Any]) -> Any:
        """See `millrace.run.machines.Machines`."""
        return ask_worker(self, host.worker, question)

    def run(self, hosts: list[Host], command_of: CommandOf, on_poll: Callable[[], None], poll_s: float = 0.3) -> list[int]:
        """See `millrace.run.machines.Machines`."""
        return run_on_hosts(self, hosts, command_of, on_poll, poll_s)


def pick_hosts(cluster: Cluster, wanted: int, without: Collection[str] = ()) -> list[Host]:
    """A Dask worker on each of at most `wanted` hosts, none of them in `without` (addresses)."""
    from millrace.orchestration.clusters.worker_check import hosts_of

    with _client(cluster) as client:
        found = hosts_of(client, cluster.resources, without)
    return [Host(number, address, worker) for number, (address, worker) in enumerate(list(found.items())[:wanted])]


def ask_worker(cluster: Cluster, worker: str, question: Callable[[], Any]) -> Any:
    """What `question()` answers in the process of `worker`."""
    with _client(cluster) as client:
        return client.run(question, workers=[worker])[worker]


def run_on_hosts(
    cluster: Cluster, hosts: list[Host], command_of: CommandOf, on_poll: Callable[[], None], poll_s: float = 0.3
) -> list[int]:
    """Run a program on every host until all have ended; returns the exit codes, in the order of `hosts`.

    When one ends badly, the others get `SILENT_S` to end as well, then they are stopped: mostly one host's trouble is another's.

    Args:
        cluster: where.
        hosts: see `pick_hosts`.
        command_of: a function of a module that the workers can import (or a `functools.partial` of one).
        on_poll: called every `poll_s`; what it raises stops everything.

    Raises:
        HostsLost: some hosts are cut off or dead. Everything on the others has been stopped.
    """
    with _client(cluster) as client, Leases(client, [host.worker for host in hosts]) as leases:
        futures = [_submit(client, cluster, leases.name, host, command_of) for host in hosts]
        bad_since: float | None = None
        try:
            while not all(future.done() for future in futures):
                time.sleep(poll_s)
                on_poll()
                lost = [
                    host.address for host, future in zip(hosts, futures, strict=True) if _is_lost(future, leases, host.number)
                ]
                if lost:
                    raise HostsLost(*lost)
                if any(future.done() and _code_of(future) != 0 for future in futures):
                    bad_since = bad_since or time.monotonic()
                    if time.monotonic() - bad_since > SILENT_S + BEAT_S:
                        break
            on_poll()
        finally:
            leases.end()
            _wait_for([future for number, future in enumerate(futures) if not leases.lost(number)], GRACE_S + 3 * BEAT_S)
            late = [future for future in futures if not future.done()]
            client.cancel(late, force=True)
        return [_code_of(future) if future not in late else -9 for future in futures]


def run_here(name: str, host: Host, command_of: CommandOf) -> int:
    """Runs in a Dask worker: the program, for as long as the lease `name` is renewed; returns its exit code."""
    with HeldLease(name, host.number) as lease:
        command, environment, log = command_of(host)
        with supervised(command, log=log, env=environment, grace_s=GRACE_S) as process:
            while (code := process.wait(0.2)) is None:
                if lease.over:
                    code = process.stop()
                    if lease.stopped:
                        return code
                    raise HostsLost(host.address)  # the flow hears of it if it was only slow
        return code


def _client(cluster: Cluster) -> Any:
    from distributed import Client

    return Client(cluster.scheduler, set_as_default=False)  # type: ignore[no-untyped-call]


def _submit(client: Any, cluster: Cluster, name: str, host: Host, command_of: CommandOf) -> Any:
    resources = dict(cluster.resources) or None
    where = {"workers": [host.worker], "allow_other_workers": False, "resources": resources}
    return client.submit(run_here, name, host, command_of, pure=False, priority=10, **where)


def _is_lost(future: Any, leases: Leases, number: int) -> bool:
    """Whether a host's part will never be heard of again."""
    if not future.done():
        return leases.lost(number)
    return future.status in {"lost", "cancelled"} or type(future.exception()).__name__ == "KilledWorker"


def _code_of(future: Any) -> int:
    """A finished future's exit code; a worker that could not even start the program raises what it met."""
    if future.status == "finished":
        return int(future.result())
    error = future.exception() if future.status == "error" else None
    if isinstance(error, MillraceError):
        raise error
    raise RunFailed(f"a Dask worker could not run its part: {type(error).__name__}: {error}") from error


def _wait_for(futures: list[Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not all(future.done() for future in futures):
        time.sleep(0.1)
