"""Sets the final state of a run in Prefect when its process was killed and no worker sets it.

Prefect's worker kills its runs with SIGKILL when it gets SIGTERM or Ctrl-C and reports nothing: the run would stay Running,
or after a cancel Cancelling, for ever. So a flow that a worker started has a small companion, which waits for its end.

    python -I -S -c … < a pipe of the flow's

On the pipe comes one JSON line: where the API is and which flow run it is. When the pipe closes without the line `done`, the
flow was killed. Standard library only: the companion takes some 10 MB and 0.05 s of CPU.

Covers: SIGKILL of the flow, of the flow and its worker, running out of memory. Does not cover: the machine's end, a container's
end, an API that does not answer for 45 s; there the automation `millrace-lost-runs` calls the run crashed after 5 minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TypedDict

DONE = b"done\n"
WORKER_FIRST_S = 8.0
GIVE_UP_S = 45.0
LEFT_ALONE = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED", "PAUSED", "SCHEDULED"}
"""States that are not changed: final ones, and those in which a run has no process (suspended, or waiting for a start)."""

_ROOT = Path(__file__).resolve().parents[2]
_CODE = "import sys; sys.path.append(sys.argv[1]); from millrace.orchestration.final_state import main; main()"


class Order(TypedDict):
    """The line on the pipe. Not a record: the companion runs without site-packages."""

    url: str
    """Of the flow run, in Prefect's API."""
    headers: dict[str, str]
    ca: str | None
    """A file of certificates; None: the system's."""
    worker_first_s: float


class NewState(TypedDict):
    """A state in Prefect's API."""

    type: str
    message: str


class SetState(TypedDict):
    """The body of the request that sets it."""

    state: NewState
    force: bool
    """Whether the rules that Prefect has for transitions are passed over."""


class FinalStateReporter:
    """The companion of this process.

    Args:
        api: Prefect's URL.
        headers: what its client sends, the key included; they go through a pipe, because an argv can be read by others.
        flow_run: the id of this process's flow run.
        worker_first_s: how long a living worker may take to call the run crashed; it takes a second.
    """

    def __init__(self, api: str, headers: dict[str, str], flow_run: str, worker_first_s: float = WORKER_FIRST_S) -> None:
        self._companion = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CODE, str(_ROOT), f"final state of {flow_run}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # the worker kills the flow's process group
        )
        order: Order = {
            "url": f"{api.rstrip('/')}/flow_runs/{flow_run}",
            "headers": headers,
            "ca": os.environ.get("PREFECT_API_SSL_CERT_FILE"),
            "worker_first_s": worker_first_s,
        }
        self._write(json.dumps(order).encode() + b"\n")

    def not_needed(self) -> None:
        """The flow sets its final state itself."""
        self._write(DONE)
        with contextlib.suppress(OSError):
            self._companion.stdin.close()  # type: ignore[union-attr]
        self._companion.wait()

    def _write(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            self._companion.stdin.write(line)  # type: ignore[union-attr]
            self._companion.stdin.flush()  # type: ignore[union-attr]


def main() -> None:
    """The companion: wait for the flow's end; if it was killed, see that it gets a final state."""
    order: Order = json.loads(sys.stdin.buffer.readline())
    if sys.stdin.buffer.read() == DONE:
        return
    ended = time.monotonic()
    while time.monotonic() < ended + GIVE_UP_S:
        with contextlib.suppress(OSError, ValueError):
            state = json.loads(_ask(order, ""))["state_type"]
            if state in LEFT_ALONE:
                return
            if time.monotonic() >= ended + order["worker_first_s"]:
                new = "CANCELLED" if state == "CANCELLING" else "CRASHED"
                words = "Its process was killed. Running it again with the same parameters goes on where it stopped."
                _ask(order, "/set_state", {"state": {"type": new, "message": words}, "force": True})
                return
        time.sleep(min(1.0, order["worker_first_s"]))


def _ask(order: Order, path: str, body: SetState | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    headers = order["headers"] | {"Content-Type": "application/json"}
    request = urllib.request.Request(order["url"] + path, data, headers)  # noqa: S310 - the configured API
    context = ssl.create_default_context(cafile=order["ca"]) if order["url"].startswith("https") else None
    with urllib.request.urlopen(request, timeout=10, context=context) as reply:  # noqa: S310
        answer: bytes = reply.read()
    return answer
