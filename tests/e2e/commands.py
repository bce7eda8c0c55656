"""Running a flow's command as a user does, with a witness that sees every process it leaves behind.

The witness is a pipe whose write end is inherited by everything the command starts: its read end reports the end of file only
when the last of those processes is gone, whatever its name or session.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Command:
    """One run of `python -m flows.NAME …` in a session of its own."""

    def __init__(self, flow: str, *arguments: str, cache: Path) -> None:
        self.witness, write_end = os.pipe()
        os.set_inheritable(write_end, True)
        environment = {**os.environ, "MILLRACE_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
        for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_HOME"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"flows.{flow}", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[write_end],
            start_new_session=True,
            text=True,
        )
        os.close(write_end)

    def finish(self, timeout_s: float = 240) -> tuple[int, str]:
        """Wait for its end; (exit code, what it printed)."""
        printed, _ = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, printed

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT to the whole foreground group, as a terminal sends it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """`kill -9` of the flow's process alone."""
        self.process.kill()
        if self.process.stdout:
            self.process.stdout.close()
        self.process.wait()

    def wait_until_nothing_is_left(self, timeout_s: float = 30) -> float:
        """Wait for the end of every process the command started; seconds it took. Fails when some stay."""
        started = time.monotonic()
        readable, _, _ = select.select([self.witness], [], [], timeout_s)
        assert readable, f"processes of the run are still there after {timeout_s} s"
        assert os.read(self.witness, 1) == b""
        os.close(self.witness)
        return time.monotonic() - started


def run(flow: str, *arguments: str, cache: Path, timeout_s: float = 240) -> tuple[int, str]:
    """Run a command to its end; (exit code, what it printed). Nothing may be left running."""
    command = Command(flow, *arguments, cache=cache)
    code, printed = command.finish(timeout_s)
    command.wait_until_nothing_is_left()
    return code, printed
