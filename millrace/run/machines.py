"""A program on several machines at once: what a stage needs of a cluster for it. Dask's is orchestration/clusters/hosts.py."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from millrace.errors import RunFailed


class Host(NamedTuple):
    """One host's part: its number from 0, its address, and the worker that does it."""

    number: int
    address: str
    worker: str


class HostsLost(RunFailed):
    """Hosts sent no heartbeat any more; the programs on the others were stopped. Its arguments: the lost hosts' addresses."""

    def __str__(self) -> str:
        return f"lost the hosts {', '.join(self.args)}: no heartbeat any more"


CommandOf = Callable[[Host], tuple[list[str], dict[str, str], Path]]
"""Called on the host: the program's argv, its environment and its log."""


class Machines(Protocol):
    """Hosts on which programs can be started."""

    def pick(self, wanted: int, without: Collection[str] = ()) -> list[Host]:
        """At most `wanted` hosts, none of them in `without` (addresses)."""

    def ask(self, host: Host, question: Callable[[], Any]) -> Any:
        """Call `question()` on that host and return its result."""

    def run(self, hosts: list[Host], command_of: CommandOf, on_poll: Callable[[], None], poll_s: float) -> list[int]:
        """Run a program on every host until all have ended; the exit codes, in the order of `hosts`.

        Raises:
            HostsLost: some hosts are cut off or dead. Everything on the others has been stopped.
        """
