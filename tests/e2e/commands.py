"""Running a flow's command as a user does, under a witness that sees every process it leaves behind (tests/e2e/witness.py).

What is answered without starting a run (help, plans, wrong usage, finished folders) is asked in this process: `answer`.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.witness import descendants

ROOT = Path(__file__).resolve().parents[2]
WITNESS = Path(__file__).with_name("witness.py")


def environment(cache: Path, **more: str) -> dict[str, str]:
    """Ours without a Prefect server, with a cache of the tests."""
    found = {**os.environ, "MILLRACE_CACHE": str(cache), "PYTHONPATH": str(ROOT), **more}
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_HOME", "DASK_SCHEDULER_ADDRESS"):
        if name not in more:
            found.pop(name, None)
    return found


class Witnessed:
    """A program in a session of its own, under a witness. What it prints is read by `finish`, or goes to `log`."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path | None = None) -> None:
        status, status_in = os.pipe()
        lifeline, self._lifeline = os.pipe()
        output: Any = log.open("ab") if log else subprocess.PIPE
        self.witness = subprocess.Popen(
            [sys.executable, "-S", str(WITNESS), str(status_in), str(lifeline), *command],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[status_in, lifeline],
            start_new_session=True,
        )
        for end in (status_in, lifeline):
            os.close(end)
        if log:
            output.close()
        self._status = os.fdopen(status)
        self.pid: int = json.loads(self._status.readline())["pid"]
        """The program's own."""

    def finish(self, timeout_s: float = 240) -> tuple[int, str]:
        """Wait for the end of the program and of all that came of it; (exit code, what it printed)."""
        printed, _ = self.witness.communicate(timeout=timeout_s)
        code = self.exit_code()
        self.close()
        return code, (printed or b"").decode(errors="replace")

    def exit_code(self) -> int:
        """Wait for the program's end; -N: killed by signal N."""
        code: int = json.loads(self._status.readline())["exit"]
        return code

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT to the whole foreground group, as a terminal sends it."""
        os.killpg(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """`kill -9` of the program's process alone."""
        os.kill(self.pid, signal.SIGKILL)
        self.exit_code()

    def children(self) -> dict[int, str]:
        """Every living process that came of the program, without itself: pid → command line."""
        return {pid: line for pid, line in descendants(self.witness.pid).items() if pid != self.pid}

    def wait_until_nothing_is_left(self, timeout_s: float = 30) -> float:
        """Wait for the end of every process that came of the program; seconds it took. Fails when some stay."""
        started = time.monotonic()
        try:
            self.witness.wait(timeout_s)
        except subprocess.TimeoutExpired:
            left = descendants(self.witness.pid)
            raise AssertionError(f"after {timeout_s} s these processes are still there: {left}") from None
        finally:
            self.close()
        return time.monotonic() - started

    def close(self) -> None:
        """Kill what is left."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
            self.witness.wait(30)
            self._status.close()
            if self.witness.stdout:
                self.witness.stdout.close()


class Command(Witnessed):
    """One run of `python -m flows.NAME …`, with environment variables of its own."""

    def __init__(self, flow: str, *arguments: str, cache: Path, **variables: str) -> None:
        super().__init__([sys.executable, "-m", f"flows.{flow}", *arguments], environment(cache, **variables))


def run(flow: str, *arguments: str, cache: Path, timeout_s: float = 240, **variables: str) -> tuple[int, str]:
    """Run a command to its end; (exit code, what it printed). Nothing may be left running."""
    command = Command(flow, *arguments, cache=cache, **variables)
    try:
        code, printed = command.finish(timeout_s)
        command.wait_until_nothing_is_left()
    finally:
        command.close()
    return code, printed


def answer(flow: str, *arguments: str, cache: Path) -> tuple[int, str]:
    """What `python -m flows.NAME …` answers; see `module_answer`."""
    return module_answer(f"flows.{flow}", *arguments, cache=cache)


def module_answer(module: str, *arguments: str, cache: Path) -> tuple[int, str]:
    """What `python -m MODULE …` answers, in this process; (exit code, what it printed). Fails when it starts a process."""
    printed = io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        clean = environment(cache)
        for name in os.environ.keys() - clean.keys():
            patch.delenv(name)
        patch.setenv("MILLRACE_CACHE", clean["MILLRACE_CACHE"])
        patch.setattr(sys, "argv", [module, *arguments])
        try:
            with pytest.raises(SystemExit) as ended:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            inspect.modulesbyfile.clear()  # it takes the flow's file for `__main__` now, and pydantic finds no texts of fields
    started = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert not started, f"an answer was expected, and it started {started}"
    code = ended.value.code
    return code if isinstance(code, int) else int(code is not None), printed.getvalue()
