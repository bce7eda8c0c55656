"""A run's own Prefect server that is gone ends the run at once, and the folder says how: killed, ended or silent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from millrace.orchestration.flow_command import _without_server
from millrace.orchestration.local_api import free_port
from millrace.run.folder import RunFolder
from tests.e2e.commands import ROOT

SERVER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""

PROGRAM = """
import sys, time, urllib.error, urllib.request
from pathlib import Path
from millrace.orchestration.server_watch import ServerLost, ServerWatch, leave
from millrace.processes.supervised import supervised

port, block = int(sys.argv[1]), sys.argv[2]
url = f"http://127.0.0.1:{port}"

def ask():
    try:
        return urllib.request.urlopen(url + "/flow_runs", data=b"{}" * 100_000, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code

def stand(why):
    return ServerLost(why, 3)

with supervised([sys.executable, "-c", Path(sys.argv[3]).read_text(), str(port)]) as server:
    while True:
        try:
            ask()
            break
        except OSError:
            time.sleep(0.02)
    try:
        with ServerWatch(url, server, stand, hangs_after_s=1.0, leave_s=2.0) as watch:
            print("ready", flush=True)
            try:
                if block == "sleeps":
                    time.sleep(60)
                if block == "swallows":  # as code does that makes records of failed items
                    for _ in range(600):
                        try:
                            time.sleep(0.1)
                        except Exception:
                            pass
                if block == "never ends":
                    while True:
                        try:
                            time.sleep(60)
                        except BaseException:
                            pass
                while block == "computes":
                    pass
            finally:
                print("asked:", ask(), flush=True)
    except ServerLost as lost:
        leave(lost)
"""


def ended(tmp_path: Path, block: str, kill: int, timeout_s: float = 60) -> tuple[int, float, str, str]:
    """Exit code, seconds from the signal to the server to the end, and what was printed."""
    (tmp_path / "server.py").write_text(textwrap.dedent(SERVER))
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(port), block, str(tmp_path / "server.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(listener_of(port), kill)
    start = time.monotonic()
    told, said = process.communicate(timeout=timeout_s)
    return process.returncode, time.monotonic() - start, told, said


def listener_of(port: int) -> int:
    """The process whose command line ends with the port."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[-2:-1] == [str(port).encode()] and b"serve_forever" in words[2]:
            return int(place.name)
    raise AssertionError("the server does not run")


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP], ids=["killed", "ended", "hangs"])
@pytest.mark.parametrize("block", ["sleeps", "swallows", "computes"])
def test_the_block_ends_with_what_the_folder_says_and_requests_end_at_once(tmp_path: Path, block: str, kill: int) -> None:
    code, seconds, told, said = ended(tmp_path, block, kill)
    assert code == 3, said
    assert told == "asked: 410\n"
    assert ("has ended" in said) == (kill != signal.SIGSTOP)
    assert ("has not answered" in said) == (kill == signal.SIGSTOP)
    assert seconds < 30


def test_a_block_that_does_not_end_is_ended(tmp_path: Path) -> None:
    code, _, _, said = ended(tmp_path, "never ends", signal.SIGKILL)
    assert code == 3
    assert "has ended" in said


@pytest.mark.parametrize(("state", "code"), [("finished", 0), ("short", 3), ("running", 1), ("failed", 1)])
def test_the_exit_code_is_that_of_the_folder(tmp_path: Path, state: str, code: int) -> None:
    with RunFolder.open(tmp_path / "run", {}) as folder:
        folder.finish("full", state)
        lost = _without_server(folder, "full", "the server is gone")
        assert lost.code == code
        assert folder.state_of("full") == (state if code != 1 else "failed")
        assert ("run the same command again" in str(lost)) == (code == 1)
