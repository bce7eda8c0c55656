"""What `deployments.serve` leaves in the background: it holds every part and starts again what ends by itself."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from deployments.register import POOL
from deployments.state import RunUnderWay, ServeState
from millrace.errors import MillraceError, RunFailed
from millrace.orchestration.local_api import free_port, install_database
from millrace.prefect_rest import ask_server
from millrace.processes.supervised import SupervisedProcess, supervised
from millrace.run.journal import write_json

ROOT = Path(__file__).parent.parent
CANCEL_LIMIT_S = 90.0
"""What runs get to end after their cancel; it took them 4 to 17 s (a run looks every 5 s whether it is cancelled)."""
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""How long a part that ended by itself stays down, by how often it has; a minute of life forgives all."""
DASK = {
    # a shard that kills its worker is tried on one more, and takes no queued neighbours with it (clusters/cluster.py)
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1.0",
}


@dataclass
class Part:
    """One program that is to run: what starts it, and how often it had to be started again."""

    name: str
    command: list[str]
    environment: dict[str, str]
    grace_s: float = 5.0
    process: SupervisedProcess | None = None
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    since: float = 0.0
    down_since: float | None = None
    failures: int = 0

    def start(self, logs: Path) -> None:
        """Start it, with its output in a log of its own."""
        self.process = self.stack.enter_context(
            supervised(self.command, log=logs / f"{self.name}.log", env=self.environment, cwd=ROOT, grace_s=self.grace_s)
        )
        self.since, self.down_since = time.monotonic(), None

    def end(self) -> None:
        """End it and everything below it."""
        self.stack.close()
        self.stack = contextlib.ExitStack()
        self.process = None


class Keeper:
    """Starts the parts in their order, watches them, and ends them in the opposite order.

    Args:
        folder: for state, logs and database.
        port: the Prefect server's.
        workers: how many Dask workers.
    """

    def __init__(self, folder: Path, port: int, workers: int) -> None:
        self.folder = folder
        self.api = f"http://127.0.0.1:{port}/api"
        scheduler_port, dashboard_port = free_port(), _dashboard_port()
        scheduler = f"tcp://127.0.0.1:{scheduler_port}"
        base = os.environ | {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_CLI_PROMPT": "false",
            "DASK_SCHEDULER_ADDRESS": scheduler,
        }
        os.environ.update(base)
        database = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}"}
        served = base | settings_in("server.env") | {"PREFECT_UI_API_URL": self.api}
        working = base | settings_in("worker.env") | DASK
        python = [sys.executable, "-m"]
        dask = [*python, "distributed.cli.dask_worker", scheduler, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"]
        self.server = Part(
            "server",
            [*python, "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            database | served,  # a database of the user's, in the environment, wins
        )
        dashboard = ["--dashboard-address", f"127.0.0.1:{dashboard_port}"]
        self.scheduler = Part(
            "scheduler",
            [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(scheduler_port), *dashboard],
            working,
        )
        self.dask_workers = [Part(f"dask-worker-{n}", [*dask, "--name", f"worker-{n}"], working) for n in range(workers)]
        command = [*python, "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", socket.gethostname()]
        self.worker = Part("worker", command, working, grace_s=10.0)
        self.parts = [self.server, self.scheduler, *self.dask_workers, self.worker]
        self.state = ServeState(
            pid=os.getpid(),
            folder=str(folder),
            api=self.api,
            ui=f"http://127.0.0.1:{port}",
            scheduler=scheduler,
            dashboard=f"http://127.0.0.1:{dashboard_port}/status",
        )
        self.stopping = threading.Event()

    def run(self) -> int:
        """Start, watch until SIGTERM or SIGINT, stop; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        self._write()
        code = 0
        try:
            self._start()
            self._watch()
        except MillraceError as error:
            self.state.trouble = str(error)
            self._write()
            code = error.exit_code
        finally:
            with contextlib.suppress(Exception):
                self._end_runs()
            for part in reversed(self.parts):
                part.end()
            self.state.phase = "stopped"
            self._write()
        return code

    def _start(self) -> None:
        logs = self.folder / "logs"
        if "PREFECT_SERVER_DATABASE_CONNECTION_URL" not in os.environ:
            install_database(self.folder / "prefect.db")
        self.server.start(logs)
        self.scheduler.start(logs)
        for part in self.dask_workers:
            part.start(logs)
        self._up("Dask scheduler and workers")
        self._wait_for_api()
        self._up("Prefect server")
        if self.stopping.is_set():
            return
        from deployments.register import register

        names = register()
        self._up(f"{len(names)} deployments: {', '.join(name.partition('/')[2] for name in names)}")
        self.worker.start(logs)
        self._up("worker")
        self.state.phase = "ready"
        self._write()

    def _wait_for_api(self) -> None:
        while not self.stopping.is_set():
            with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{self.api}/health", timeout=2):  # noqa: S310
                return
            assert self.server.process is not None
            if self.server.process.poll() is not None:
                raise RunFailed(f"the Prefect server ended at its start; see {self.folder}/logs/server.log")
            self.stopping.wait(0.1)

    def _watch(self) -> None:
        while not self.stopping.wait(0.5):
            for part in self.parts:
                if part.process is not None and part.process.poll() is None:
                    continue
                now = time.monotonic()
                if part.down_since is None:
                    part.down_since = now
                    part.failures = 1 if now - part.since > 60 else part.failures + 1
                if now - part.down_since >= BACKOFF_S[min(part.failures, len(BACKOFF_S)) - 1]:
                    part.end()
                    if part is self.worker:
                        self._bury_runs()
                    part.start(self.folder / "logs")
                    self.state.restarts[part.name] = self.state.restarts.get(part.name, 0) + 1
                    self._write()

    def _end_runs(self) -> None:
        """Cancel the runs that this pool's worker has going, and wait for them."""
        deadline = time.monotonic() + CANCEL_LIMIT_S
        asked: set[str] = set()
        while time.monotonic() < deadline and self.worker.process is not None and self.worker.process.poll() is None:
            runs = self._runs_under_way()
            if not runs:
                return
            for run in runs:
                if run.id not in asked and run.state_type != "CANCELLING":
                    asked.add(run.id)
                    self._post(f"flow_runs/{run.id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
                    self.state.ending = [*(self.state.ending or []), f"cancelling {run.name}"]
                    self._write()
            time.sleep(0.5)

    def _bury_runs(self) -> None:
        """Set the final state of the runs that ended with their worker: Prefect itself would notice minutes later."""
        with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
            for run in self._runs_under_way():
                cancelled = run.state_type == "CANCELLING"
                state = {"type": "CANCELLED", "name": "Cancelled"} if cancelled else {"type": "CRASHED", "name": "Crashed"}
                message = "Its worker ended, and the run with it; run it again with the same parameters to go on."
                self._post(f"flow_runs/{run.id}/set_state", {"state": state | {"message": message}, "force": True})

    def _runs_under_way(self) -> list[RunUnderWay]:
        answer = self._post(
            "flow_runs/filter",
            {
                "flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}},
                "work_pools": {"name": {"any_": [POOL]}},
            },
        )
        return msgspec.convert(answer, list[RunUnderWay])

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return ask_server(self.api, path, body, limit_s=10.0)

    def _up(self, what: str) -> None:
        self.state.up.append(what)
        self._write()

    def _write(self) -> None:
        write_json(self.folder / "state.json", self.state)


def settings_in(name: str) -> dict[str, str]:
    """The settings of an `.env` file beside this one."""
    lines = (Path(__file__).parent / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _dashboard_port() -> int:
    """Dask's usual dashboard port, or a free one where somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8787))
        except OSError:
            return free_port()
    return 8787
