"""Nothing leaves the machine unless it is configured: what a run sends on its only way out is caught and looked at.

One thing is known and let through: torch's store asks the name server what 127.0.0.1 is called, because it asks for the address
in its IPv6 form, which /etc/hosts does not have. It says nothing about the machine or the run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.commands import ROOT, environment

WAY_OUT = """
set -e
mount --bind {folder}/resolv.conf /etc/resolv.conf
ip link set lo up
ip link add out type veth peer name far
for end in out far; do echo 1 > /proc/sys/net/ipv6/conf/$end/disable_ipv6 || true; done
ip link set far up
ip address add 192.0.2.1/24 dev out
ip link set out up
ip route add default via 192.0.2.254
ip neighbour add 192.0.2.254 lladdr 02:00:00:00:00:01 dev out
{python} {folder}/catch.py far {folder}/packets & catcher=$!
while [ ! -e {folder}/packets ]; do sleep 0.05; done
"$@" > {folder}/printed 2>&1 || echo "exit $?" >> {folder}/printed
sleep 0.5
kill $catcher
"""
"""A network of our own: loopback, and one way out that leads to somebody who only listens; names are asked for there."""

CATCH = """
import json, socket, sys
listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
listener.bind((sys.argv[1], 0))
with open(sys.argv[2], "w") as caught:
    while True:
        print(json.dumps(listener.recv(2048).hex()), file=caught, flush=True)
"""

NAME_OF_LOOPBACK = b"\x011\x010\x010\x03127\x07in-addr\x04arpa"
"""1.0.0.127.in-addr.arpa as a DNS question has it."""


def sent_out(folder: Path, command: list[str]) -> tuple[list[bytes], str]:
    """The packets that `command` tried to send out of the machine, and what it printed."""
    (folder / "resolv.conf").write_text("nameserver 192.0.2.254\noptions timeout:1 attempts:1\n")
    (folder / "catch.py").write_text(CATCH)
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", WAY_OUT.format(folder=folder, python=sys.executable), "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment(folder / "cache"),
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    packets = [bytes.fromhex(json.loads(line)) for line in (folder / "packets").read_text().splitlines()]
    return packets, (folder / "printed").read_text()


@pytest.fixture(scope="module", autouse=True)
def namespaces(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where we may not make a network; shows that the catcher catches."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        pytest.skip("there is no `unshare` or `ip` command")
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces are not permitted here")
    ask = "import socket\ntry: socket.getaddrinfo('example.org', 80)\nexcept OSError: pass"
    packets, _ = sent_out(tmp_path_factory.mktemp("control"), [sys.executable, "-c", ask])
    assert any(b"\x07example\x03org" in packet for packet in packets), "the catcher must see a name being looked up"


@pytest.mark.flow
def test_the_main_job_sends_nothing_out_of_the_machine(tmp_path: Path, coin_config: Path) -> None:
    command = [sys.executable, "-m", "flows.full", "--config", str(coin_config), "--run-dir", str(tmp_path / "run")]
    command += ["--set", "cluster.workers=1"]
    packets, printed = sent_out(tmp_path, command)
    assert "exit" not in printed, printed
    assert (tmp_path / "run" / "report.html").exists()
    assert [packet for packet in packets if NAME_OF_LOOPBACK not in packet] == []
