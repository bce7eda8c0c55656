"""Millrace on one machine with one command: a Prefect server, a worker, a Dask scheduler with workers, every deployment.

    python -m deployments.serve start [--port 4200] [--workers 2]      (`make serve`)
    python -m deployments.serve status
    python -m deployments.serve stop                                   (`make stop`)

`start` leaves a keeper in the background that holds everything it starts in `supervised`, starts again what ends by itself, and
writes `.serve/state.json` and `.serve/logs/`. `stop` cancels the runs of this server's deployments, waits until they have ended,
and ends the keeper and with it exactly what it started. The database, `.serve/prefect.db`, stays.

Covers: `kill -9` of the keeper (nothing is left), a second start (says what runs), a port in use, a part that dies (started
again, after 1 s and then longer), restarts of the machine (start it again; runs that were going on become Crashed and go on
when run again). Does not cover: more than one machine (docs/cluster.md).
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from deployments.keeper import CANCEL_LIMIT_S, ROOT, Keeper
from deployments.state import ServeState
from millrace.errors import MillraceError, RunFailed, UsageError

START_LIMIT_S = 240.0
"""The server's first start took up to 38 s on two busy cores, registering seven deployments as long again."""


def start(folder: Path, port: int, workers: int) -> int:
    """Start the keeper and wait until everything answers; prints where."""
    folder.mkdir(parents=True, exist_ok=True)
    if _held(folder):
        _say(_described(_state(folder)) or [f"another start is going on in {folder}"])
        return 0
    if _in_use(port):
        raise UsageError(f"port {port} is in use by another program; choose another one: make serve PORT={port + 1}")
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "state.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "deployments.serve", "keep", "--folder", str(folder)]
    with (folder / "logs" / "keeper.log").open("ab") as log:
        keeper = subprocess.Popen(
            [*command, "--port", str(port), "--workers", str(workers)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    shown = 0
    deadline = time.monotonic() + START_LIMIT_S
    try:
        while time.monotonic() < deadline:
            state = _state(folder)
            up = state.up if state else []
            for part in up[shown:]:
                print(f"  {part}", flush=True)  # noqa: T201 - the command's answer
            shown = len(up)
            if state and state.phase == "ready":
                _say(_described(state))
                return 0
            if keeper.poll() is not None:
                raise RunFailed((state and state.trouble) or f"the keeper ended at its start; see {folder}/logs/keeper.log")
            time.sleep(0.1)
        raise RunFailed(f"not everything was up within {START_LIMIT_S:.0f} s; see {folder}/logs/")
    except BaseException:
        keeper.terminate()
        raise


def stop(folder: Path) -> int:
    """End what `start` left running here; says so when there is nothing."""
    if not _held(folder):
        _say([f"nothing of {folder} is running"])
        return 0
    state = _state(folder)
    pid = state.pid if state else 0
    with contextlib.ExitStack() as stack:
        keeper = None
        with contextlib.suppress(OSError):
            keeper = os.pidfd_open(pid)
            stack.callback(os.close, keeper)
            # between the look and here the pid may have become another's: the lock says that its holder still lives
            if _held(folder):
                signal.pidfd_send_signal(keeper, signal.SIGTERM)
        deadline = time.monotonic() + CANCEL_LIMIT_S + 60.0
        said = 0
        while _held(folder):
            now = _state(folder)
            notes = (now and now.ending) or []
            for line in notes[said:]:
                print(f"  {line}", flush=True)  # noqa: T201 - the command's answer
            said = len(notes)
            if time.monotonic() > deadline:
                raise RunFailed(f"the keeper (pid {pid}) does not end; see {folder}/logs/keeper.log")
            time.sleep(0.1)
        if keeper is not None:
            select.select([keeper], [], [], max(0.0, deadline - time.monotonic()))  # its last instructions, after the lock
    _say(["stopped; the database and the logs stay in " + str(folder)])
    return 0


def status(folder: Path) -> int:
    """Print what runs and where; exit code 1 when nothing does."""
    if not _held(folder):
        _say([f"nothing of {folder} is running; start it with: make serve"])
        return 1
    _say(_described(_state(folder)) or ["starting"])
    return 0


def keep(folder: Path, port: int, workers: int) -> int:
    """Be the keeper: start everything in order, then start again what ends, until SIGTERM."""
    with _lock(folder) as held:
        if not held:
            return 1
        return Keeper(folder, port, workers).run()


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _held(folder: Path) -> bool:
    """Whether a keeper lives: it holds the lock, and the kernel takes that back when it dies."""
    if not (folder / "lock").exists():
        return False
    with _lock(folder) as free:
        return not free


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _state(folder: Path) -> ServeState | None:
    """What the keeper has written; None: nothing yet."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((folder / "state.json").read_bytes(), type=ServeState)
    return None


def _described(state: ServeState | None) -> list[str]:
    if state is None or state.phase != "ready":
        return []
    restarts = [f"started again {count} times: {part}" for part, count in state.restarts.items()]
    return [
        f"Prefect UI      {state.ui}   (Deployments → full → Run → Quick run)",
        f"Dask dashboard  {state.dashboard}",
        f"for commands    export PREFECT_API_URL={state.api}",
        f"logs            {state.folder}/logs",
        *restarts,
        "stop it with    make stop",
    ]


def _say(lines: Sequence[str]) -> None:
    print("\n".join(lines), flush=True)  # noqa: T201 - the command's answer


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0 done, 1 failed (or, for status, nothing runs), 2 bad usage."""
    parser = argparse.ArgumentParser(prog="python -m deployments.serve", description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=["start", "stop", "status", "keep"], help="keep: what start leaves in the background")
    parser.add_argument("--folder", type=Path, default=ROOT / ".serve", help="state, logs, database (default: .serve)")
    parser.add_argument("--port", type=int, default=4200, help="of the Prefect server and UI, on loopback (default: 4200)")
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1), help="Dask workers (default: cores, up to 4)")
    options = parser.parse_args(argv)
    folder = options.folder.absolute()
    try:
        if options.action == "start":
            return start(folder, options.port, options.workers)
        if options.action == "keep":
            return keep(folder, options.port, options.workers)
        return stop(folder) if options.action == "stop" else status(folder)
    except MillraceError as error:
        print(f"millrace: {error}", file=sys.stderr)  # noqa: T201 - the command's answer
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
