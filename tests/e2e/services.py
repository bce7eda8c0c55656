"""What a real installation consists of, as processes of a test: PostgreSQL, the Prefect server, a worker, a Dask cluster.

All of them end with the test, also after `kill -9` of it, and listen on loopback only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from millrace.orchestration.local_api import free_port, install_database
from millrace.processes.supervised import SupervisedProcess, supervised
from tests.e2e.commands import ROOT, Witnessed

AS_NOBODY = "import os, sys; os.setgid(65534); os.setuid(65534); os.chdir('/'); os.execvp(sys.argv[1], sys.argv[1:])"
"""PostgreSQL refuses to be run by root."""


def postgres_programs() -> Path | None:
    """The folder of initdb and postgres; None where they are not installed."""
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def settings_file(name: str) -> dict[str, str]:
    """The settings in `deployments/NAME.env`, which every installation is told to use."""
    lines = [line for line in (ROOT / "deployments" / f"{name}.env").read_text().splitlines() if line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


class Postgres:
    """An empty database in a folder of its own."""

    def __init__(self, programs: Path, stack: contextlib.ExitStack) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="millrace-postgres-"))
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        as_user: list[str] = []
        if os.getuid() == 0:
            os.chown(self.folder, 65534, 65534)
            as_user = [sys.executable, "-S", "-c", AS_NOBODY]
        data = str(self.folder / "data")
        made = [str(programs / "initdb"), "-D", data, "-U", "millrace", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run([*as_user, *made], check=True, capture_output=True, stdin=subprocess.DEVNULL)
        port = free_port()
        command = [str(programs / "postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(self.folder)]
        log = self.folder / "postgres.log"
        self.process = stack.enter_context(supervised([*as_user, *command, "-F"], log=log, grace_s=1.0, cgroup=False))
        self.url = f"postgresql+asyncpg://millrace@127.0.0.1:{port}/postgres"
        wait_for(lambda: "ready to accept connections" in (log.read_text() if log.exists() else ""), "PostgreSQL", 60)


def database_from_template(folder: Path, cache: Path) -> str:
    """The address of a new SQLite database in `folder`, copied from the migrated one in `cache`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLRACE_CACHE", str(cache))
        install_database(folder / "prefect.db")
    return f"sqlite+aiosqlite:///{folder / 'prefect.db'}"


class Server:
    """A Prefect server on a database, with the settings of `deployments/server.env` (or others)."""

    def __init__(self, database: str, folder: Path, settings: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        chosen = settings_file("server") if settings is None else settings
        own = {"PREFECT_HOME": str(folder), "PREFECT_SERVER_DATABASE_CONNECTION_URL": database}
        self.env = {**os.environ, **chosen, **own, "PREFECT_API_URL": self.api, "PREFECT_SERVER_LOGGING_LEVEL": "WARNING"}
        self.http = httpx.Client(base_url=self.api, timeout=60)
        self._stack = contextlib.ExitStack()
        self.process: SupervisedProcess | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        log = self.folder / "server.log"
        self.process = self._stack.enter_context(supervised(command, env=self.env, log=log, grace_s=8.0, cgroup=False))
        wait_for(self.answers, f"the Prefect server (see {log})", 200, every_s=0.3)

    def stop(self) -> None:
        """Stop it."""
        self._stack.close()

    def answers(self) -> bool:
        """Whether it is healthy."""
        try:
            with urllib.request.urlopen(f"{self.api}/health", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def deploy(self) -> None:
        """Make the work pool, its queues, the automations and every deployment, with the documented command."""
        command = [sys.executable, "-m", "deployments.register"]
        done = subprocess.run(
            command, cwd=ROOT, env=self.env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def trigger(self, flow: str, config: dict[str, Any], run_dir: Path) -> UUID:
        """What the button "run" of the UI does; the flow run's id."""
        deployment = self.http.get(f"/deployments/name/{flow}/{flow}").raise_for_status().json()["id"]
        asked = {"parameters": {"config": config, "run_dir": str(run_dir)}}
        made = self.http.post(f"/deployments/{deployment}/create_flow_run", json=asked).raise_for_status()
        return UUID(made.json()["id"])

    def cancel(self, flow_run: UUID) -> None:
        """What the button "cancel" of the UI does."""
        asked = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        self.http.post(f"/flow_runs/{flow_run}/set_state", json=asked).raise_for_status()

    def state(self, flow_run: UUID) -> str:
        """The type of its state, e.g. `RUNNING`."""
        return str(self.http.get(f"/flow_runs/{flow_run}").raise_for_status().json()["state_type"])

    def wait_for_state(self, flow_run: UUID, *wanted: str, timeout_s: float = 240) -> str:
        """Wait until it is in one of the states; which."""
        wait_for(lambda: self.state(flow_run) in wanted, f"{' or '.join(wanted)} of flow run {flow_run}", timeout_s, every_s=0.5)
        return self.state(flow_run)

    def log_of(self, flow_run: UUID) -> str:
        """What the run said, for the message of a failed test."""
        states = self.http.get("/flow_run_states/", params={"flow_run_id": str(flow_run)}).json()
        asked = {"logs": {"flow_run_id": {"any_": [str(flow_run)]}}, "limit": 200, "sort": "TIMESTAMP_ASC"}
        said = [f"{state['type']}: {state['message']}" for state in states]
        return "\n".join(said + [line["message"] for line in self.http.post("/logs/filter", json=asked).json()])


@contextlib.contextmanager
def dask(
    server: Server, folder: Path, cache: Path, workers: int = 2, **variables: str
) -> Iterator[tuple[str, list[SupervisedProcess], SupervisedProcess]]:
    """A Dask scheduler and workers with nannies, each a program of its own: the scheduler's address, the workers, it."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    env = {
        **os.environ,
        "PREFECT_API_URL": server.api,
        "MILLRACE_CACHE": str(cache),
        "PYTHONPATH": str(ROOT),
        "DO_NOT_TRACK": "1",
        **variables,
    }
    program = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    with contextlib.ExitStack() as stack:
        command = [*program, "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
        scheduler = stack.enter_context(supervised(command, env=env, log=folder / "scheduler.log", cgroup=False))
        started = []
        for number in range(workers):
            place = ["--local-directory", str(folder / f"worker-{number}"), "--host", "127.0.0.1", "--no-dashboard"]
            command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", *place]
            log = folder / f"worker-{number}.log"
            started.append(stack.enter_context(supervised(command, env=env, cwd=ROOT, log=log, cgroup=False)))
        wait_for(
            lambda: all("Starting established connection" in log.read_text() for log in folder.glob("worker-*.log")),
            "Dask's workers", 60,
        )  # fmt: skip
        yield address, started, scheduler


def start_worker(server: Server, folder: Path, cache: Path, **more: str) -> Witnessed:
    """A process worker under a witness, with the settings of `deployments/worker.env`."""
    own = {
        "PREFECT_API_URL": server.api,
        "PREFECT_HOME": str(folder / "home"),
        "MILLRACE_CACHE": str(cache),
        "PYTHONPATH": str(ROOT),
    }
    (folder / "home").mkdir(parents=True, exist_ok=True)
    env = {**os.environ, **settings_file("worker"), "PREFECT_WORKER_QUERY_SECONDS": "1", **own, **more}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "millrace", "--type", "process"]
    return Witnessed(command, env, folder / "worker.log")


def wait_for(done: Any, what: str, timeout_s: float, every_s: float = 0.1) -> None:
    """Ask `done` until it is true. An answer of a Prefect server takes 5 ms of CPU: ask that less often."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, f"after {timeout_s:.0f} s there is still no {what}"
        time.sleep(every_s)
