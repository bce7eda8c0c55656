"""What the tests cost is counted, and too much fails them."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tests.durations import BUDGET_CPU_S, Durations, cpu_s, without_group


def counted(*reports: tuple[str, float, float], budget: bool = True) -> Durations:
    config: Any = SimpleNamespace(getoption=lambda name: budget)
    durations = Durations(config)
    for test, wall_s, used_s in reports:
        report: Any = SimpleNamespace(nodeid=test, duration=wall_s, cpu_s=used_s)
        durations.pytest_runtest_logreport(report)
        durations.total_s += used_s
    return durations


def test_tests_that_compute_longer_than_they_may_fail_and_the_file_that_grew_is_named() -> None:
    over = counted(("tests/test_a.py::test_quick", 1.0, 1.0), ("tests/test_b.py::test_slow@a group", 5.0, BUDGET_CPU_S))
    assert over.is_over_budget
    assert over.grown()[0].startswith(f"tests/test_b.py {BUDGET_CPU_S:.0f} s")
    session: Any = SimpleNamespace(exitstatus=0)
    over.pytest_sessionfinish(session)
    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED
    assert not counted(("tests/test_b.py::test_slow", 9.0, BUDGET_CPU_S + 1), budget=False).is_over_budget


def test_waiting_costs_nothing_of_the_budget() -> None:
    assert not counted(("tests/test_a.py::test_waits", 10 * BUDGET_CPU_S, 1.0)).is_over_budget


def test_what_children_compute_is_counted() -> None:
    before = cpu_s()
    subprocess.run([sys.executable, "-S", "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
    assert cpu_s() - before >= 0.3


def test_the_group_of_a_test_is_no_part_of_its_name() -> None:
    assert without_group("tests/test_a.py::test_it@tests/test_a.py") == "tests/test_a.py::test_it"
    assert without_group("tests/test_a.py::test_it[a@b]@running services") == "tests/test_a.py::test_it[a@b]"
    assert without_group("tests/test_a.py::test_it[a@b]") == "tests/test_a.py::test_it[a@b]"
