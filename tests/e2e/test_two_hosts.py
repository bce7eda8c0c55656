"""A run on two hosts of their own: a Dask worker on each, one multi-node torchrun over both, a shared folder between them.

The flow is on a third host and is given nothing but the scheduler's address.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import millrace
from tests.e2e.commands import Witnessed, environment
from tests.e2e.netns import Network, network, why_not
from tests.e2e.records import records
from tests.e2e.services import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.chaos, pytest.mark.timeout(900)]

SETTINGS = (
    "probing:\n"
    "  baseline: {{name: tests.probing.coin_baseline, slow_s: {slow_s}}}\n"
    "  lake: {{images: 80}}\n"
    "  target_failure_count: 120\n"
    "  failure_batch_size: 4\n"
    "filtering: {{failures_per_image: null, quota: 12, shard_size: 30}}\n"
)


class Site:
    """Three hosts with a Dask scheduler and two workers."""

    def __init__(self, hosts: Network, folder: Path, cache: Path) -> None:
        self.hosts, self.folder, self.cache = hosts, folder, cache
        self.flows: list[Witnessed] = []
        self.scheduler = f"tcp://{hosts.address('flow')}:8786"
        self._running = [self._start("flow", "scheduler", "--host", hosts.address("flow"), "--port", "8786", "--no-dashboard")]
        for name in ("a", "b"):
            options = ("--nthreads", "1", "--no-dashboard", "--host", hosts.address(name))
            self._running.append(self._start(name, "worker", self.scheduler, *options))
        log = folder / "scheduler-flow.log"
        wait_for(lambda: log.read_text().count("Starting worker compute stream") == 2, "second Dask worker", 120)

    def _start(self, host: str, program: str, *arguments: str) -> Witnessed:
        command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments]
        return Witnessed(self.hosts.on(host, *command), environment(self.cache), self.folder / f"{program}-{host}.log")

    def flow(self, config: Path, folder: Path, *more: str) -> Witnessed:
        """Start `python -m flows.full` on the third host, with two ranks on each of the other two."""
        settings = (f"cluster.address={self.scheduler}", "probing.torchrun.nnodes=2", *more)
        arguments = [word for setting in settings for word in ("--set", setting)]
        command = [sys.executable, "-m", "flows.full", "--config", str(config), "--run-dir", str(folder), *arguments]
        self.flows.append(Witnessed(self.hosts.on("flow", *command), environment(self.cache)))
        return self.flows[-1]

    def ranks(self, host: str) -> int:
        """How many processes of the ranks are alive on a host, torchrun and its guards among them."""
        worker = self._running[{"a": 1, "b": 2}[host]]
        return sum("millrace.probing.ranks.worker" in line for line in worker.children().values())

    def close(self) -> None:
        """End everything that was started."""
        for process in (*self.flows, *reversed(self._running)):
            process.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Site]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with network("flow", "a", "b") as hosts:
        site = Site(hosts, tmp_path_factory.mktemp("site"), cache)
        try:
            yield site
        finally:
            site.close()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[str, list[dict[str, Any]]]:
    """What one host finds, in this process."""
    folder = tmp_path_factory.mktemp("one") / "run"
    settings = yaml.safe_load(config_in(folder.parent).read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLRACE_CACHE", str(cache))
        millrace.find_failures(folder, **settings)
    return records(folder)


def config_in(folder: Path, slow_s: float = 0.0) -> Path:
    path = folder / "config.yaml"
    path.write_text(SETTINGS.format(slow_s=slow_s))
    return path


def test_two_hosts_find_what_one_finds(site: Site, expected: dict[str, Any], tmp_path: Path) -> None:
    flow = site.flow(config_in(tmp_path), tmp_path / "run")
    code, printed = flow.finish()
    assert code == 0, printed
    flow.wait_until_nothing_is_left()
    assert records(tmp_path / "run") == expected
    logs = tmp_path / "run" / "logs"
    assert sorted(path.name for path in (logs / "ranks").iterdir()) == [site.hosts.address("a"), site.hosts.address("b")]
    assert len(list((logs / "ranks").rglob("stderr.log"))) == 4
    assert site.ranks("a") == site.ranks("b") == 0


def test_a_killed_flow_leaves_no_rank_on_any_host(site: Site, tmp_path: Path) -> None:
    flow = site.flow(config_in(tmp_path, slow_s=0.4), tmp_path / "run")
    wait_for(lambda: list((tmp_path / "run" / "probing" / "work").glob("unit-*.jsonl")), "finished unit", 400)
    assert site.ranks("a") >= 2
    flow.kill()
    flow.close()
    wait_for(lambda: site.ranks("a") == site.ranks("b") == 0, "end of the ranks", 60)


def test_a_host_that_is_cut_off_costs_no_record(site: Site, expected: dict[str, Any], tmp_path: Path) -> None:
    flow = site.flow(config_in(tmp_path, slow_s=0.4), tmp_path / "run")
    wait_for(lambda: len(list((tmp_path / "run" / "probing" / "work").glob("unit-*.jsonl"))) >= 3, "third finished unit", 400)
    assert site.ranks("b") >= 2
    site.hosts.cut("b")
    try:
        code, printed = flow.finish(300)
        assert code == 0, printed
        assert site.ranks("a") == site.ranks("b") == 0  # the one that heard nothing any more has ended its ranks by itself
    finally:
        site.hosts.mend("b")
    assert records(tmp_path / "run") == expected
    assert "lost the hosts" in (tmp_path / "run" / "logs" / "flow.log").read_text()
