"""Hosts of our own on one machine: network namespaces with an address each, joined by a switch that can cut one off.

They share the file system, as servers with a shared folder do. Needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN) and iproute2.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """Hosts by name; host number n has the address 10.77.0.n."""

    tag: str
    names: tuple[str, ...]

    def address(self, name: str) -> str:
        """A host's address."""
        return f"10.77.0.{self.names.index(name) + 1}"

    def on(self, name: str, *command: str) -> list[str]:
        """`command`, to be run on a host."""
        return ["ip", "netns", "exec", f"{self.tag}-{name}", *command]

    def cut(self, name: str) -> None:
        """Pull a host's cable: packets stop, connections are not closed."""
        _ip("-n", f"{self.tag}-switch", "link", "set", f"to-{name}", "down")

    def mend(self, name: str) -> None:
        """Plug it in again."""
        _ip("-n", f"{self.tag}-switch", "link", "set", f"to-{name}", "up")


def why_not() -> str | None:
    """Why this machine lets us make no such hosts; None: it does."""
    if shutil.which("ip") is None:
        return "there is no `ip` command (iproute2)"
    try:
        with network("probe"):
            return None
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not permitted here ({error.stderr.strip()})"


@contextlib.contextmanager
def network(*names: str) -> Iterator[Network]:
    """Make the hosts; they are gone after the block, with their processes' network."""
    made = Network(f"mr{uuid.uuid4().hex[:6]}", names)
    spaces: list[str] = []
    try:
        for name in ("switch", *names):
            _ip("netns", "add", f"{made.tag}-{name}")
            spaces.append(f"{made.tag}-{name}")
            _ip("-n", spaces[-1], "link", "set", "lo", "up")
        switch = spaces[0]
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        for name in names:
            space = f"{made.tag}-{name}"
            _ip("-n", switch, "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("-n", switch, "link", "set", f"to-{name}", "master", "br0", "up")
            _ip("-n", space, "addr", "add", f"{made.address(name)}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
        yield made
    finally:
        for space in reversed(spaces):
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
