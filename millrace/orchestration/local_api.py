"""A Prefect API for a run that has none: one server for all of the run's processes, gone when the run ends.

Without it every Dask worker process would start a server of its own (prefect-dask 0.3.7) on one SQLite file. The server runs
in `supervised`, so it ends with the run also after `kill -9`, and Ctrl-C in the terminal does not reach it before the flow is
done. Its database is a copy of a template that is migrated and knows Prefect's block types: making one takes 7–40 s, looking at
each start whether all is there 1.5 CPU seconds, copying milliseconds.

`python -m millrace.orchestration.local_api` makes the template (the Makefile does it at installation).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from millrace.config import cache_folder
from millrace.errors import RunFailed
from millrace.orchestration.server_watch import ServerLost, ServerWatch
from millrace.prefect_rest import configured_api
from millrace.processes.supervised import SupervisedProcess, supervised

LOOPBACK = "127.0.0.1"

START_TIMEOUT_S = 150.0
"""A first start took up to 38 s on two busy cores (measured); four times that is a failure."""

QUIET: dict[str, str] = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    # nobody can read these logs once the server is gone; the run folder has its own
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    # its pages are shown to no user, and making them ready is a sixth of its start
    "PREFECT_SERVER_UI_ENABLED": "false",
    # as deployments/server.env: written one by one, task runs and events cost five times the CPU
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
}
"""Settings for a run with its own API: nothing leaves the machine, nothing is printed between the progress bar's lines."""

FROM_TEMPLATE: dict[str, str] = {
    "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    # what it remembers is where the database lies, which is new for each run; to compare it imports Dask
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
}
"""For the server of a database that is a copy of the template: nothing is to be added at its start."""


@contextmanager
def prefect_api(
    logs: Path, host: str = LOOPBACK
) -> Iterator[Callable[[Callable[[str], ServerLost]], AbstractContextManager[ServerWatch | None]]]:
    """See that there is an API for the block: the configured one, or a local one that ends with it.

    Sets the environment for this process and its children before Prefect is imported. Yields a function whose
    context begins when the API answers; the server starts meanwhile, so import what you need before calling it. The function is
    told how the run stands when a server of its own is lost (see `ServerWatch`).

    Args:
        logs: the folder for the server's log and database.
        host: where a local API listens: this machine's address for Dask workers on other machines. There it asks for a password
            that is made for the run and that only its processes know.

    Raises:
        RunFailed: (from the function) the server did not come up; the message names its log.
    """
    old = dict(os.environ)
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    # for Dask's workers: the terminal has one progress bar; the flow's own log goes to a file (flow_log.py)
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if configured_api():
        # as deployments/worker.env: a run outlives two minutes without its server, or with one that has lost its database
        os.environ.setdefault("PREFECT_CLIENT_RETRY_EXTRA_CODES", "500")
        os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "6")
        yield lambda outcome: nullcontext()
        return
    home = cache_folder() / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    logs.mkdir(parents=True, exist_ok=True)
    database = logs / "prefect.db"
    for stale in logs.glob("prefect.db*"):
        stale.unlink()
    install_database(database)
    port = free_port(host)
    url = f"http://{host}:{port}/api"
    settings = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
    }
    if host != LOOPBACK:
        password = f"millrace:{secrets.token_urlsafe(24)}"
        settings |= {"PREFECT_API_AUTH_STRING": password, "PREFECT_SERVER_API_AUTH_STRING": password}
    else:
        os.environ.setdefault("PREFECT_API_SSL_CERT_FILE", str(one_authority()))
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.update(settings)
    command = [sys.executable, "-m", "millrace.orchestration.local_server", "--host", host, "--port", str(port)]
    environment = os.environ | FROM_TEMPLATE
    try:
        with supervised(command, log=logs / "prefect-server.log", grace_s=0.5, env=environment) as server:
            yield lambda outcome: _ready(url, server, logs / "prefect-server.log", outcome)
    finally:
        os.environ.clear()
        os.environ.update(old)


@contextmanager
def _ready(url: str, server: SupervisedProcess, log: Path, outcome: Callable[[str], ServerLost]) -> Iterator[ServerWatch | None]:
    """Wait for the local API, and send it no heartbeats of flows in the block.

    Nothing watches them in an API that ends with the run, and Prefect 3.8 waits up to a second at the end of each flow for the
    thread that sends them.
    """
    _wait_until_healthy(url, server, log)
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), ServerWatch(url, server, outcome) as watch:
        yield watch


def drain() -> None:
    """Send the logs and events that Prefect has queued: without the API, sending them at exit would wait 75 s."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=10)


def migrated_template() -> Path:
    """An empty Prefect database for the installed version, migrated and with all block types, made once per machine."""
    path = cache_folder() / "prefect" / f"template-{importlib.metadata.version('prefect')}-blocks.db"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f".{path.name}.{os.getpid()}")
    environment = (
        os.environ
        | QUIET
        | {
            "PREFECT_HOME": str(path.parent),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{making}",
            "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        }
    )
    command = [sys.executable, "-m", "millrace.orchestration.local_server", "--prepare"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RunFailed(f"Prefect's database could not be made: {done.stderr.strip()[-500:]}")
    with contextlib.closing(sqlite3.connect(making)) as database:  # one file holds everything, and is all that is copied
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    making.replace(path)
    return path


def install_database(path: Path) -> None:
    """Put an empty, migrated Prefect database with all block types at `path`, unless there is one."""
    if not path.exists():
        shutil.copyfile(migrated_template(), path)


def one_authority() -> Path:
    """A certificate file for an API on loopback, which speaks no TLS: any one authority, made once per machine.

    Prefect reads its certificates into each client that it makes, several for each task, whatever the API's address is. All the
    usual ones take 24 ms of CPU each time, one takes half a millisecond.
    """
    import certifi

    path = cache_folder() / "prefect" / "one-authority.pem"
    if not path.exists():
        end = "-----END CERTIFICATE-----\n"
        text = Path(certifi.where()).read_text(encoding="utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        making = path.with_name(f".{path.name}.{os.getpid()}")
        making.write_text(text[text.index("-----BEGIN CERTIFICATE-----") : text.index(end) + len(end)], encoding="utf-8")
        making.replace(path)
    return path


def free_port(host: str = LOOPBACK) -> int:
    """A TCP port of this machine's address `host` that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _wait_until_healthy(url: str, server: SupervisedProcess, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):  # noqa: S310 - our own http://127.0.0.1 URL
                return
        except (urllib.error.URLError, OSError):
            pass
        if server.poll() is not None:
            raise RunFailed(f"Prefect's local API ended at its start; see {log}")
        time.sleep(0.05)
    raise RunFailed(f"Prefect's local API did not answer within {START_TIMEOUT_S:.0f} s; see {log}")


if __name__ == "__main__":
    print(f"Prefect database template: {migrated_template()}")  # noqa: T201 - the command's answer
