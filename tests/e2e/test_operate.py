"""A real installation, from end to end: PostgreSQL, Prefect server, process worker, Dask; runs triggered through the API.

Everything is a process of its own, no containers. Who is left after a cancel is told by a witness that the worker's descendants
inherit (tests/e2e/witness.py).
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from millrace.run.journal import read_json, read_jsonl
from tests.e2e.commands import Witnessed, environment
from tests.e2e.installation import ENDED, Installation, full_config, installed, synthesis_config, training_config
from tests.e2e.records import records
from tests.e2e.services import postgres_programs, wait_for
from tests.e2e.witness import descendants

pytestmark = [
    pytest.mark.flow,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(postgres_programs() is None, reason="PostgreSQL is not installed (apt-get install postgresql)"),
]

CANCELS = int(os.environ.get("MILLRACE_CANCELS", "3"))
"""How often the chaos test cancels, the first time before the run is up; 10 for the proof of a release."""

CANCEL_LIMIT_S = 60.0
"""From a cancel to the last process gone, at most."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Installation]:
    """The installation."""
    with installed(tmp_path_factory.mktemp("installation"), cache) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(here: Installation) -> Path:
    """A main job without a disturbance."""
    folder = here.folder / "full"
    assert here.worker.pid
    run = here.server.trigger("full", full_config(here.scheduler), folder)
    assert ended(here, run) == "COMPLETED", here.server.log_of(run)
    return folder


def ended(here: Installation, run: UUID, timeout_s: float = 400) -> str:
    """The state that the run ends in."""
    return here.server.wait_for_state(run, *ENDED, timeout_s=timeout_s)


def seconds_until_cancelled(here: Installation, run: UUID) -> float:
    """Cancel a run; wait until it is called cancelled and none of its processes is left. Fails after `CANCEL_LIMIT_S`."""
    here.server.cancel(run)
    began = time.monotonic()
    while (state := here.server.state(run)) not in ENDED or here.runs_left():
        assert time.monotonic() < began + CANCEL_LIMIT_S, f"{CANCEL_LIMIT_S:.0f} s after a cancel: {state}, {here.runs_left()}"
        time.sleep(0.4)
    assert state == "CANCELLED", here.server.log_of(run)
    return time.monotonic() - began


def until_probing(folder: Path) -> None:
    """Wait until the ranks have begun to write."""
    wait_for(lambda: list((folder / "probing" / "work").glob("unit-*")), f"unit of work in {folder}", 300)


def test_full_synthesis_and_training_triggered_through_the_api_finish(here: Installation, undisturbed: Path) -> None:
    server, folder = here.server, here.folder
    runs = {
        "synthesis": server.trigger("synthesis", synthesis_config(here.scheduler), folder / "synthesis"),
        "training": server.trigger("training", training_config(folder), folder / "training"),
    }
    for name, run in runs.items():
        assert ended(here, run) == "COMPLETED", server.log_of(run)
        assert read_json(folder / name / "manifest.json")["flows"][name]["state"] == "finished"
        assert (folder / name / "report.html").exists()
    assert len(list(read_jsonl(folder / "synthesis" / "trees.jsonl"))) == 12
    assert read_json(folder / "training" / "summary.json")["failed"] == 0
    assert read_json(undisturbed / "summary.json")["dataset"]["rows"] == len(records(undisturbed)["dataset"]) > 0
    wait_for(lambda: not here.runs_left(), "end of the runs' processes", 60)


def test_a_run_cancelled_at_random_moments_leaves_nothing_is_cancelled_and_resumes(
    here: Installation, undisturbed: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    config, rng, cancelled, folders = full_config(here.scheduler), random.Random(11), 0, 0
    folder = here.folder / "cancelled"
    while cancelled < CANCELS:
        run = here.server.trigger("full", config, folder)
        if cancelled % 4:
            here.server.wait_for_state(run, "RUNNING", *ENDED)
        time.sleep(rng.uniform(0, 10))
        if here.server.state(run) in ENDED:  # resumed so often that it was through before
            assert records(folder) == records(undisturbed)
            folders += 1
            folder = here.folder / f"cancelled-{folders}"
            continue
        took = seconds_until_cancelled(here, run)
        record_testsuite_property(f"seconds from cancel {cancelled} to the last process gone", round(took, 1))
        cancelled += 1
    run = here.server.trigger("full", config, folder)
    assert ended(here, run) == "COMPLETED", here.server.log_of(run)
    assert records(folder) == records(undisturbed)


def test_a_training_with_background_load_is_cancelled_with_its_background(here: Installation) -> None:
    config = training_config(here.folder)
    config["experiments"][1]["hyperparameters"] = {"epochs": 50, "pause": 1.0}
    folder = here.folder / "training-cancelled"
    assert here.worker.pid
    run = here.server.trigger("training", config, folder)
    wait_for(lambda: any("--forever" in line for line in here.runs_left().values()), "background", 200)
    seconds_until_cancelled(here, run)


@pytest.mark.chaos
def test_a_run_whose_worker_was_killed_ends_itself_when_it_is_cancelled(here: Installation) -> None:
    folder = here.folder / "orphan"
    assert here.worker.pid
    run = here.server.trigger("full", full_config(here.scheduler), folder)
    until_probing(folder)
    here.worker.kill()
    here.server.cancel(run)
    here.workers.pop().wait_until_nothing_is_left(CANCEL_LIMIT_S)
    assert ended(here, run, 30) == "CANCELLED", here.server.log_of(run)


@pytest.mark.chaos
def test_a_run_started_by_hand_ends_when_it_is_cancelled_in_the_ui(here: Installation, cache: Path) -> None:
    folder, config = here.folder / "by-hand", here.folder / "by-hand.json"
    config.write_text(json.dumps(full_config(here.scheduler)))
    command = [sys.executable, "-m", "flows.full", "--config", str(config), "--run-dir", str(folder)]
    started = Witnessed(command, environment(cache, PREFECT_API_URL=here.server.api, PREFECT_HOME=str(here.folder)))
    until_probing(folder)
    asked = {"flow_runs": {"name": {"any_": [f"full in {folder}"]}}}
    (run,) = here.server.http.post("/flow_runs/filter", json=asked).json()
    here.server.cancel(run["id"])
    code, printed = started.finish(CANCEL_LIMIT_S)
    started.wait_until_nothing_is_left(5)
    assert (code, "Traceback" in printed) == (130, False), printed
    assert here.server.state(run["id"]) == "CANCELLED"


@pytest.mark.chaos
def test_a_run_whose_worker_was_told_to_stop_leaves_nothing_and_is_called_crashed(here: Installation) -> None:
    """Prefect's worker kills its runs when it gets SIGTERM, and says nothing about them."""
    folder = here.folder / "stopped"
    assert here.worker.pid
    run = here.server.trigger("full", full_config(here.scheduler), folder)
    until_probing(folder)
    os.kill(here.worker.pid, signal.SIGTERM)
    here.workers.pop().wait_until_nothing_is_left(CANCEL_LIMIT_S)
    assert here.server.state(run) == "CRASHED", here.server.log_of(run)


@pytest.mark.chaos
def test_a_run_that_was_killed_with_its_worker_and_cancelled_is_called_cancelled(here: Installation) -> None:
    folder = here.folder / "killed"
    assert here.worker.pid
    run = here.server.trigger("full", full_config(here.scheduler), folder)
    until_probing(folder)
    engine = next(pid for pid, line in here.runs_left().items() if "prefect.engine" in line)
    here.worker.kill()
    os.kill(engine, signal.SIGKILL)
    here.server.cancel(run)
    here.workers.pop().wait_until_nothing_is_left(CANCEL_LIMIT_S)
    assert here.server.state(run) == "CANCELLED", here.server.log_of(run)


@pytest.mark.chaos
def test_a_run_outlives_its_worker_a_dask_worker_the_server_and_30_s_without_a_database(
    here: Installation, undisturbed: Path
) -> None:
    folder = here.folder / "storm"
    assert here.worker.pid
    run = here.server.trigger("full", full_config(here.scheduler), folder)
    until_probing(folder)
    here.worker.kill()
    here.server.stop()
    here.server.start()
    here.postgres.pause()
    time.sleep(30)
    here.postgres.resume()
    wait_for(lambda: any(folder.glob("filtering/shard-*")), "shards of the filtering", 300)
    os.kill(a_dask_worker(here), signal.SIGKILL)
    assert ended(here, run) == "COMPLETED", here.server.log_of(run)
    assert records(folder) == records(undisturbed)
    here.workers.pop().wait_until_nothing_is_left(60)


def a_dask_worker(here: Installation) -> int:
    """The process of one Dask worker: the child of its nanny."""
    below = descendants(here.dask_workers[0].pid)
    return next(pid for pid, line in below.items() if "spawn_main" in line)
