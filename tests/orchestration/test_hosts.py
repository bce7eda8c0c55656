"""A program on two hosts, each with a Dask worker: loopback addresses stand for machines (tests/e2e has networks of its own)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from millrace.orchestration.clusters.hosts import Cluster, pick_hosts, run_on_hosts
from millrace.run.machines import Host, HostsLost

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
ROOT = Path(__file__).resolve().parents[2]
ADDRESSES = ("127.0.0.2", "127.0.0.3")


class Machines:
    """A scheduler, and a Dask worker for each address."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        scheduler = LocalCluster(n_workers=0, processes=False, dashboard_address=":0", host="127.0.0.1", protocol="tcp://")
        address = stack.enter_context(scheduler).scheduler_address
        self.cluster = Cluster(address, {})
        self.workers = {name: self._start(name, address, folder, stack) for name in ADDRESSES}
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(len(ADDRESSES), timeout=60)

    def _start(self, name: str, scheduler: str, folder: Path, stack: ExitStack) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--no-nanny", "--no-dashboard", "--nthreads=1"]
        log = stack.enter_context((folder / f"{name}.log").open("wb"))
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen([*command, f"--host={name}"], cwd=folder, env=env, stdout=log, stderr=log)
        stack.callback(process.wait, 30)
        stack.callback(process.kill)
        return process


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with ExitStack() as stack:
        yield Machines(tmp_path, stack)


def command_of(folder: Path, program: str, host: Host) -> tuple[list[str], dict[str, str], Path]:
    """Python with `host` and `folder` to be used in `program`."""
    code = f"import os, sys, time, pathlib; host = {host.number}; folder = pathlib.Path({str(folder)!r}); {program}"
    return [sys.executable, "-S", "-c", code], dict(os.environ), folder / f"program-{host.number}.log"


RUNNING = "(folder / f'pid-{host}').write_text(str(os.getpid())); time.sleep(300)"


def alive(folder: Path) -> int:
    """How many of the programs are there still; their guards put them into PID namespaces, but from here they can be seen."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            lines.append((process / "cmdline").read_bytes())
    return sum(str(folder).encode() in line and b"time.sleep(300)" in line for line in lines)


def test_a_program_runs_on_every_host_and_its_exit_codes_come_back(machines: Machines, tmp_path: Path) -> None:
    hosts = pick_hosts(machines.cluster, 3)
    assert [host.address for host in hosts] == list(ADDRESSES)
    assert [host.address for host in pick_hosts(machines.cluster, 3, {"127.0.0.2"})] == ["127.0.0.3"]
    polled: list[float] = []
    codes = run_on_hosts(
        machines.cluster, hosts, partial(command_of, tmp_path, "time.sleep(1)"), lambda: polled.append(time.monotonic())
    )
    assert codes == [0, 0]
    assert len(polled) >= 2


def test_what_goes_wrong_in_the_flow_ends_the_program_on_every_host(machines: Machines, tmp_path: Path) -> None:
    def fail_when_all_run() -> None:
        if len(list(tmp_path.glob("pid-*"))) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_on_hosts(machines.cluster, pick_hosts(machines.cluster, 2), partial(command_of, tmp_path, RUNNING), fail_when_all_run)
    assert alive(tmp_path) == 0


def test_a_host_whose_worker_dies_is_named_and_nothing_is_left_on_the_others(machines: Machines, tmp_path: Path) -> None:
    def kill_one() -> None:
        if len(list(tmp_path.glob("pid-*"))) == 2 and machines.workers["127.0.0.3"].poll() is None:
            machines.workers["127.0.0.3"].send_signal(signal.SIGKILL)
            machines.workers["127.0.0.3"].wait()

    began = time.monotonic()
    with pytest.raises(HostsLost, match=r"lost the hosts 127\.0\.0\.3"):
        run_on_hosts(machines.cluster, pick_hosts(machines.cluster, 2), partial(command_of, tmp_path, RUNNING), kill_one)
    assert time.monotonic() - began < 90
    assert alive(tmp_path) == 0


def test_programs_end_by_themselves_when_their_flow_is_killed(machines: Machines, tmp_path: Path) -> None:
    program = (
        "import sys; from tests.orchestration.test_hosts import *\n"
        "cluster, folder = Cluster(sys.argv[1], {}), Path(sys.argv[2])\n"
        "run_on_hosts(cluster, pick_hosts(cluster, 2), partial(command_of, folder, RUNNING), lambda: None)"
    )
    flow = subprocess.Popen([sys.executable, "-c", program, machines.cluster.scheduler, str(tmp_path)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("pid-*"))) < 2:
        assert time.monotonic() < deadline
        assert flow.poll() is None
        time.sleep(0.1)
    flow.kill()
    flow.wait()
    deadline = time.monotonic() + 60
    while alive(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.1)
