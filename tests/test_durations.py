"""What the tests cost is counted, and too much fails them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.durations import BUDGET_CPU_S, GROUPS, Durations, cpu_s, group_of

ROOT = Path(__file__).parents[1]


def counted(*reports: tuple[str, float, float], budget: bool = True) -> Durations:
    config: Any = SimpleNamespace(getoption=lambda name: budget)
    durations = Durations(config)
    for test, wall_s, used_s in reports:
        report: Any = SimpleNamespace(nodeid=test, duration=wall_s, cpu_s=used_s)
        durations.pytest_runtest_logreport(report)
        durations.total_s += used_s
    return durations


def test_tests_that_compute_longer_than_they_may_fail_and_the_file_that_grew_is_named() -> None:
    over = counted(("tests/test_a.py::test_quick", 1.0, 1.0), ("tests/test_b.py::test_slow", 5.0, BUDGET_CPU_S))
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


def test_files_that_share_services_stay_together_and_any_other_file_with_itself() -> None:
    assert group_of("tests/e2e/test_full.py::test_it[a@b]") == group_of("tests/e2e/test_commands.py::test_it") == "the main job"
    assert group_of("tests/run/test_journal.py::test_it") == "tests/run/test_journal.py"
    assert [file for file in GROUPS if not (ROOT / file).exists()] == []


def test_testing_processes_get_whole_groups_the_longest_first(tmp_path: Path) -> None:
    for name in ("test_a.py", "test_b.py", "test_c.py"):
        (tmp_path / name).write_text("import pytest\n\n\n@pytest.mark.parametrize('n', range(6))\ndef test_it(n):\n    pass\n")
    (tmp_path / "conftest.py").write_text(
        "from tests.durations import Durations\n\n\n"
        "def pytest_addoption(parser):\n    parser.addoption('--durations-file')\n    parser.addoption('--cpu-budget')\n\n\n"
        "def pytest_configure(config):\n    config.pluginmanager.register(Durations(config), 'durations')\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    shared_out = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "-v", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *shared_out, "."],
        cwd=tmp_path, env={**clean, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    ran = re.findall(r"\[(gw\d)\] .*PASSED (test_\w+\.py)", done.stdout)
    assert len(ran) == 18, done.stdout + done.stderr
    assert len(set(ran)) == 3, "a file was torn apart"
