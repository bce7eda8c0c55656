"""`make serve` and `make stop`: everything for one machine with one command, started again when it dies, gone when stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from deployments.register import QUEUES
from millrace.orchestration.local_api import free_port
from millrace.prefect_rest import ask_server
from tests.e2e.commands import ROOT, environment
from tests.e2e.services import wait_for


class Served:
    """One served Millrace in a folder of its own, with one Dask worker."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = environment(cache)

    def command(self, action: str, *more: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "deployments.serve", action, "--folder", str(self.folder), *more]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=280)
        return done.returncode, done.stdout + done.stderr

    def start(self) -> tuple[int, str]:
        return self.command("start", "--port", str(self.port), "--workers", "1")

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        return found

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return ask_server(self.state["api"], path, body, limit_s=30.0)

    def parts(self) -> set[int]:
        """What the keeper itself has started; what a run started below them may be ending."""
        return {process.pid for process in psutil.Process(self.state["pid"]).children()}

    def processes(self) -> list[psutil.Process]:
        """The keeper and all that came of it."""
        keeper = psutil.Process(self.state["pid"])
        return [keeper, *keeper.children(recursive=True)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("serve"), cache)
    code, printed = made.start()
    assert code == 0, printed
    yield made
    assert made.command("stop")[0] == 0


def any_alive(processes: list[psutil.Process]) -> bool:
    return any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


pytestmark = [pytest.mark.flow, pytest.mark.slow]


def test_everything_is_registered_and_no_schedule_is_on(served: Served) -> None:
    deployments = {entry["name"]: entry for entry in served.ask("deployments/filter", {})}
    assert set(deployments) == {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
    schedules = {schedule["slug"]: schedule["active"] for entry in deployments.values() for schedule in entry["schedules"]}
    assert schedules == {"nightly": False, "hourly": False, "weekly": False}
    queues = {queue["name"]: queue["concurrency_limit"] for queue in served.ask("work_pools/millrace/queues/filter", {})}
    assert queues == QUEUES
    names = {entry["name"] for entry in served.ask("automations/filter", {})}
    assert names == {"millrace-lost-runs", "millrace-lost-cancels"}


def test_a_deployed_flow_runs_on_the_served_dask_workers(served: Served, tmp_path: Path) -> None:
    deployment = served.ask("deployments/name/synthesis/synthesis")["id"]
    config = {"environment_mode": "math", "number_of_seed": 3, "max_depth": 3}
    parameters = {"config": config, "run_dir": str(tmp_path / "run-{date}")}
    asked = {"parameters": parameters, "name": "my first one"}
    run = served.ask(f"deployments/{deployment}/create_flow_run", asked)["id"]
    wait_for(lambda: served.ask(f"flow_runs/{run}")["end_time"] is not None, "end of the run", 200)
    ended = served.ask(f"flow_runs/{run}")
    assert ended["state"]["type"] == "COMPLETED", ended["state"]
    assert ended["name"] == "my first one"
    day = ended["expected_start_time"][:10]
    assert (tmp_path / f"run-{day}" / "report.html").exists()
    log = (tmp_path / f"run-{day}" / "logs" / "flow.log").read_text()
    assert "prefect.flow_runs" in log
    shown = served.ask("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": ["run-folder"]}}})
    assert served.state["dashboard"].rpartition("/")[0] in shown[0]["data"]


def test_a_second_start_says_what_runs_and_starts_nothing(served: Served) -> None:
    before = served.parts()
    code, printed = served.start()
    assert code == 0
    assert served.state["ui"] in printed
    assert served.parts() == before
    assert served.command("status") == (0, printed)


def test_a_port_in_use_is_one_sentence(served: Served, tmp_path: Path) -> None:
    code, printed = served.command("start", "--folder", str(tmp_path / "other"), "--port", str(served.port))
    assert code == 2
    assert printed.startswith(f"millrace: port {served.port} is in use")
    assert not (tmp_path / "other" / "state.json").exists()


def test_a_part_that_dies_is_started_again(served: Served) -> None:
    victims = [process for process in served.processes() if "distributed.cli.dask_worker" in " ".join(process.cmdline())]
    victims[-1].kill()
    wait_for(lambda: served.state["restarts"].get("dask-worker-0") == 1, "new Dask worker", 90)
    assert "started again 1 times: dask-worker-0" in served.command("status")[1]


def test_kill_minus_nine_of_the_keeper_and_stop_both_leave_nothing(served: Served) -> None:
    family = served.processes()
    os.kill(served.state["pid"], signal.SIGKILL)
    wait_for(
        lambda: not any_alive(family),
        "end of them all",
        90,
    )
    assert served.command("status")[0] == 1
    code, printed = served.start()  # the database is still there
    assert code == 0, printed
    family = served.processes()
    code, printed = served.command("stop")
    assert code == 0, printed
    assert not any_alive(family)
    assert served.command("stop") == (0, f"nothing of {served.folder} is running\n")
