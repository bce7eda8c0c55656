"""What the tests cost: wall and CPU seconds of each, its children among them, in tests/durations.json, with a budget.

    make durations         (pytest --durations-file=FILE) writes what each test took
    make test              (pytest --cpu-budget) fails when all of them took more CPU seconds than `BUDGET_CPU_S`

CPU seconds and not wall: a machine that does other things meanwhile makes tests wait, and makes them compute little longer.
Covers: the testing processes and every child that was waited for (the witnesses of tests/e2e wait for all that a program leaves).
Does not cover: processes that were left to init, and services of the machine.
"""

from __future__ import annotations

import json
import resource
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

BUDGET_CPU_S = 3200.0
"""What all tests may take: a third more than the 2,400 s that a whole run with other work beside it took. A busy machine adds to
CPU time too (caches and hyperthreads are shared; up to a third by estimate). tests/durations.json says what each took when it was
last recorded."""

RECORDED = Path(__file__).with_name("durations.json")
QUICK_S = 0.05
"""What a test takes that is not recorded by name: less than a second."""


def cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))


GROUPS = {
    "tests/e2e/test_full.py": "the main job",
    "tests/e2e/test_commands.py": "the main job",
    "tests/e2e/test_without_cluster.py": "the main job",
    "tests/e2e/test_endpoints.py": "the main job",
    "tests/synthesis/test_synthesis_flow.py": "other flows",
    "tests/synthesis/test_chat_flow.py": "other flows",
    "tests/checkpoint/test_flow.py": "other flows",
    "tests/deployments/test_register.py": "other flows",
}
"""Files that share a Prefect server and a Dask cluster stay in one testing process. Each other file is a group of its own."""


def group_of(nodeid: str) -> str:
    """What a test stays together with."""
    file = nodeid.partition("::")[0]
    return GROUPS.get(file, file)


class ByGroup(LoadScopeScheduling):
    """Hands groups to testing processes. (xdist's own `loadgroup` writes into a field that pytest 9.2 no longer reads.)"""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


class Durations:
    """Adds up what a testing process used. Under xdist each of them has one of these, and so has the one that they report to."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.tests: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        """Test → wall and CPU seconds, with its set-up and its clearing away."""
        self.total_s = 0.0
        self._began = cpu_s()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Under xdist the tests of a file stay together (or of a group), and what takes longest comes first:
        so no process is left with a long one at the end.
        """
        if not hasattr(self.config, "workerinput"):
            return
        recorded = json.loads(RECORDED.read_text())["tests"] if RECORDED.exists() else {}
        takes: dict[str, float] = defaultdict(float)
        for item in items:
            takes[group_of(item.nodeid)] += recorded.get(item.nodeid, {"wall_s": QUICK_S})["wall_s"]
        items.sort(key=lambda item: (-takes[group_of(item.nodeid)], group_of(item.nodeid)))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> ByGroup:
        return ByGroup(config, log)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, Any, Any]:
        self._began = cpu_s()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        now = cpu_s()
        report.cpu_s, self._began = now - self._began, now  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        took = self.tests[report.nodeid]
        took[0] += report.duration
        took[1] += getattr(report, "cpu_s", 0.0)

    def pytest_testnodedown(self, node: Any) -> None:
        self.total_s += getattr(node, "workeroutput", {}).get("cpu_s", 0.0)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        workers = self.total_s  # they have ended, so they are children of this process too
        self.total_s = workers + resource.getrusage(resource.RUSAGE_SELF).ru_utime if workers else cpu_s()
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["cpu_s"] = self.total_s
        elif self.is_over_budget:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @property
    def is_over_budget(self) -> bool:
        """Whether the tests were to keep to the budget and did not."""
        return bool(self.config.getoption("--cpu-budget")) and self.total_s > BUDGET_CPU_S

    def files(self) -> dict[str, dict[str, float]]:
        """Test file → its seconds."""
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for test, took in self.tests.items():
            for which, seconds in enumerate(took):
                sums[test.partition("::")[0]][which] += seconds
        return {file: {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1)} for file, (wall, cpu) in sorted(sums.items())}

    def grown(self, count: int = 5) -> list[str]:
        """The files that take more than recorded, those that grew most first."""
        recorded = json.loads(RECORDED.read_text())["files"] if RECORDED.exists() else {}
        now = {file: (took["cpu_s"], recorded.get(file, {"cpu_s": 0.0})["cpu_s"]) for file, took in self.files().items()}
        most = sorted(now, key=lambda file: now[file][1] - now[file][0])[:count]
        return [f"{file} {now[file][0]:.0f} s, recorded were {now[file][1]:.0f} s" for file in most]

    def slow(self) -> dict[str, dict[str, float]]:
        """The tests that took a second or more, the slowest first."""
        found = sorted(self.tests.items(), key=lambda one: -max(one[1]))
        return {test: {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1)} for test, (wall, cpu) in found if max(wall, cpu) >= 1}

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        wall = sum(took[0] for took in self.tests.values())
        terminalreporter.write_line(f"{len(self.tests):,} tests took {self.total_s:,.0f} CPU s, {wall:,.0f} s one after another")
        if self.is_over_budget:
            grown = "; ".join(self.grown())
            terminalreporter.write_line(
                f"that is over their budget of {BUDGET_CPU_S:,.0f} CPU s (tests/durations.py): {grown}", red=True
            )
        target = self.config.getoption("--durations-file")
        if target:
            found = {"cpu_s": round(self.total_s), "wall_s": round(wall), "files": self.files(), "tests": self.slow()}
            Path(target).write_text(json.dumps(found, indent=1) + "\n")
