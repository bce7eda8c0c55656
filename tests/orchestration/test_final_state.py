"""The companion that tells Prefect how a killed run ended, against a server that knows one flow run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOW = """
import sys, time
from millrace.orchestration.final_state import FinalStateReporter
reporter = FinalStateReporter(sys.argv[1], {"Authorization": "Bearer key"}, "run", worker_first_s=0.2)
print("ready", flush=True)
sys.stdin.readline()
reporter.not_needed()
"""


class Api(ThreadingHTTPServer):
    """Answers for one flow run."""

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = state
        self.keys: set[str | None] = set()
        self.changed = threading.Event()
        self.asked = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        assert self.path == "/api/flow_runs/run"
        self._answer({"state_type": self.server.state})
        self.server.asked.set()

    def do_POST(self) -> None:
        assert self.path == "/api/flow_runs/run/set_state"
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert asked["force"] is True
        self.server.state = asked["state"]["type"]
        self._answer({"status": "ACCEPT"})
        self.server.changed.set()

    def _answer(self, body: dict[str, str]) -> None:
        self.server.keys.add(self.headers["Authorization"])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    server = Api(request.param)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def started(api: Api) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", FLOW, f"http://127.0.0.1:{api.server_port}/api"]
    flow = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert flow.stdout is not None
    assert flow.stdout.readline() == b"ready\n"
    return flow


@pytest.mark.parametrize(("api", "ends"), [("RUNNING", "CRASHED"), ("CANCELLING", "CANCELLED")], indirect=["api"])
def test_a_killed_run_is_called_crashed_and_cancelled_when_that_was_asked_for(api: Api, ends: str) -> None:
    with started(api) as flow:
        flow.send_signal(signal.SIGKILL)
        assert api.changed.wait(60)
    assert api.state == ends
    assert api.keys == {"Bearer key"}


@pytest.mark.parametrize("api", ["COMPLETED"], indirect=True)
def test_a_state_that_is_final_stays(api: Api) -> None:
    with started(api) as flow:
        flow.send_signal(signal.SIGKILL)
        assert api.asked.wait(60)
        assert not api.changed.wait(1)
    assert api.state == "COMPLETED"


@pytest.mark.parametrize("api", ["PAUSED", "SCHEDULED"], indirect=True)
def test_a_run_that_is_suspended_or_waits_for_its_next_start_is_not_called_crashed(api: Api) -> None:
    before = api.state
    with started(api) as flow:
        flow.send_signal(signal.SIGKILL)
        assert api.asked.wait(60)
        assert not api.changed.wait(1)
    assert api.state == before


@pytest.mark.parametrize("api", ["RUNNING"], indirect=True)
def test_a_run_that_ends_by_itself_needs_no_reporter(api: Api) -> None:
    with started(api) as flow:
        flow.communicate(b"end\n", timeout=60)
    assert not api.asked.wait(1)
    assert api.state == "RUNNING"
