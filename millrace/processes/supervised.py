"""Start a program so that nothing of it can outlive us.

    with supervised(["torchrun", …], log=run_dir / "torchrun.log") as process:
        process.wait(timeout_s=3600)

A small guard program (millrace/processes/) stands between us and the command. It holds the command and all of its descendants in
the strongest containment this system has, and ends them when the block is left, on `stop`, and when this process ends in any way.

Covers: normal end, exceptions, Ctrl-C, SIGTERM and SIGKILL of this process, of a guard, of both; descendants that ignore SIGTERM,
double-fork, start sessions of their own (torchrun's ranks do), or change their pid all the time. Works in any thread and in
Dask's daemonic workers. In the weakest modes one hole remains, and `Containment.guarantee` says so; `sweep` of
millrace/processes/janitor.py removes at the next start what was left over.
Does not cover: a process in the kernel's uninterruptible sleep (it is reported in `ending.leftover`), work handed to a daemon
that runs anyway (dockerd, at, systemd), other machines.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from millrace.errors import RunFailed
from millrace.processes import containment, janitor, kernel
from millrace.processes.guard_launch import Wires, call_for_each_line, guard_command, launch_guard, pidfd
from millrace.processes.log_pump import PAUSE_S
from millrace.processes.messages import Failed, FromGuard, Order, Probed

GRACE_S = 10.0
"""Seconds between TERM and KILL unless the caller says otherwise: what supervisord and Docker give as well."""

MAX_LOG_BYTES = 64 << 20
"""A log and its predecessor `NAME.1` together stay below this unless the caller says otherwise."""

START_LIMIT_S = 60.0
"""A guard that has not started its command after this long (usual: 0.05 s) never will."""


@dataclass(frozen=True)
class Limits:
    """What a command and its descendants may use; None or 0 is no limit."""

    nice: int = 0
    cpu_affinity: tuple[int, ...] | None = None
    memory_bytes: int | None = None
    cpus: float | None = None
    """Most CPUs that all of them together keep busy."""


@dataclass(frozen=True)
class Containment:
    """How a command is contained: to be written into every result that depends on nothing being left running."""

    name: str
    guarantee: str
    cgroup: bool = False
    memory_limited_by: str | None = None
    cpu_limited_by: str | None = None


@dataclass(frozen=True)
class Usage:
    """What a tree has used so far. `cpu_s` covers ended descendants too; `rss_bytes` is now, shared pages counted each time."""

    cpu_s: float
    rss_bytes: int
    processes: int


@dataclass(frozen=True)
class Ending:
    """How a supervised tree ended.

    `returncode` is the command's own (-N: killed by signal N). `killed`: the grace time was not enough. `guard_lost`: the guard
    itself was killed, and with it the tree. `peak_bytes` is the largest resident size of a single process, or of the whole tree
    where a memory cgroup counts it. `leftover`: pids that could not be killed. `outlived`: how many processes were left when the
    command ended by itself (they were ended too): one that goes into the background by itself leaves some. None is unknown.
    """

    returncode: int
    stopped: bool = False
    killed: bool = False
    guard_lost: bool = False
    cpu_s: float | None = None
    peak_bytes: int | None = None
    oom_kills: int | None = None
    log_bytes: int | None = None
    log_bytes_lost: int | None = None
    leftover: list[int] = field(default_factory=list)
    outlived: int = 0


class SupervisedProcess:
    """A running, contained command. Made by `supervised`; every method may be called from any thread."""

    def __init__(self, wires: Wires, spec: Order, log: Path | None, on_line: Callable[[str], None] | None) -> None:
        self.command = spec["command"]
        self.log = log
        self.grace_s = spec["grace_s"]
        self.pid = 0
        """The command's pid as this process sees it; inside its PID namespace it has another one."""
        self.containment = Containment("unknown", "the command has not started")
        self.ending: Ending | None = None
        """How it ended; None while it runs."""
        self._wires: Wires | None = wires
        self._guard, self._token = wires.guard, spec["token"]
        self._inner = 0
        self._lock = threading.Lock()
        self._began, self._ended = threading.Event(), threading.Event()
        self._failure: Failed | None = None
        self._listener: threading.Thread | None = None
        if on_line is not None:
            self._listener = threading.Thread(target=call_for_each_line, args=(wires.lines, on_line), daemon=True, name="lines")
            self._listener.start()
        threading.Thread(target=self._watch, args=(wires.status,), daemon=True, name="guard-status").start()

    @property
    def guard_pid(self) -> int:
        """The outer guard's pid: the root of the tree in a process viewer."""
        return self._guard.pid

    def poll(self) -> int | None:
        """The command's exit code (-N: killed by signal N), None while it runs. After it is set, nothing of the tree is left."""
        return self.ending.returncode if self.ending else None

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end of the whole tree; None if it still runs after `timeout_s`."""
        self._ended.wait(timeout_s)
        return self.poll()

    def stop(self, grace_s: float | None = None) -> int:
        """TERM to all, at most `grace_s` for a clean end, KILL for the rest. Returns when nothing is left, with the exit code."""
        grace_s = self.grace_s if grace_s is None else grace_s
        self._tell(f"stop {max(grace_s, 0.0)}\n")
        if not self._ended.wait(max(grace_s, 0.0) + 15.0):
            # The guard does not answer (it was sent SIGSTOP?): its death is the other way to end the tree.
            self._guard.kill()
            self._ended.wait(15.0)
        if self.ending is None:
            raise RunFailed(f"{self.command[0]}: neither the command nor its guard (pid {self.guard_pid}) can be ended")
        return self.ending.returncode

    def pause(self) -> None:
        """Pause the tree (SIGSTOP to all); memory stays taken. `resume` goes on; `stop` works on a paused tree."""
        self._tell("S\n")

    def resume(self) -> None:
        """Let a paused tree go on."""
        self._tell("C\n")

    def usage(self) -> Usage:
        """CPU time and memory of the tree up to now; after the end its final CPU time. Costs one look at the process table."""
        if self.ending is not None:
            return Usage(self.ending.cpu_s or 0.0, 0, 0)
        guard = kernel.read_stat(self.guard_pid)
        tree = [stat for stat in kernel.descendants(self.guard_pid) if stat.pid != self._inner] if guard else []
        inner = kernel.read_stat(self._inner) if self._inner else None
        ticks = sum(stat.cpu_ticks for stat in tree) + (inner.cpu_ticks if inner else 0)
        return Usage(ticks / kernel.TICKS_PER_S, sum(stat.rss_pages for stat in tree) * kernel.PAGE_BYTES, len(tree))

    def tail(self, max_bytes: int = 4096) -> str:
        """The last lines of the log, for an error message."""
        if self.log is None:
            return ""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - max_bytes))
            return file.read().decode(errors="replace")
        return ""

    def _tell(self, order: str) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._wires is not None:
                os.write(self._wires.control, order.encode())

    def _let_go(self) -> None:
        with self._lock:
            if self._wires is not None:
                os.close(self._wires.lifeline)
                os.close(self._wires.control)
            self._wires = None
        if not sys.is_finalizing() and not self._ended.wait(15.0):
            self._guard.kill()

    def _wait_for_start(self) -> None:
        self._began.wait(START_LIMIT_S)
        failure, program = self._failure, self.command[0]
        if failure is None and self.pid:
            return
        if failure is None:
            raise RunFailed(f"{program}: its guard did not start it (is {sys.executable} a working Python?)")
        if failure["errno"] and not failure["message"].startswith("containment:"):
            raise OSError(failure["errno"], os.strerror(failure["errno"]), failure["filename"])
        raise RunFailed(f"{program}: {failure['message']}")

    def _watch(self, status: int) -> None:
        ending: Ending | None = None
        inner = -1
        with os.fdopen(status, "rb") as lines:
            for line in lines:
                message: FromGuard = json.loads(line)
                if message["event"] == "started":
                    self.pid, self._inner = message["pid"], message["inner"]
                    name = f"cgroup+{message['mode']}" if message["cgroup"] else message["mode"]
                    guarantee = containment.GUARANTEES[message["mode"]]
                    self.containment = Containment(
                        name, guarantee, bool(message["cgroup"]), message["memory_limited_by"], message["cpu_limited_by"]
                    )
                    inner = pidfd(message["inner"])
                    self._began.set()
                elif message["event"] == "failed":
                    self._failure = message
                else:
                    ending = Ending(
                        returncode=message["returncode"],
                        stopped=message["stopped"],
                        killed=message["killed"],
                        guard_lost=message["guard_lost"],
                        cpu_s=message["cpu_s"],
                        peak_bytes=message["peak_bytes"],
                        oom_kills=message["oom_kills"],
                        log_bytes=message["log_bytes"],
                        log_bytes_lost=message["log_bytes_lost"],
                        leftover=message["leftover"],
                        outlived=message["outlived"],
                    )
        self._guard.wait()
        if ending is None and self.pid:
            # The outer guard was killed. The inner one ends the tree; its end is the proof.
            if inner >= 0:
                select.select([inner], [], [], 10.0)
            janitor.sweep(self._token)
            ending = Ending(returncode=-9, guard_lost=True, killed=True)
        if inner >= 0:
            os.close(inner)
        if self._listener is not None:
            self._listener.join(10.0)
        self.ending = ending
        self._ended.set()
        self._began.set()


@contextlib.contextmanager
def supervised(
    command: Sequence[str],
    *,
    log: Path | None = None,
    grace_s: float = GRACE_S,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    line_delay_s: float = PAUSE_S,
    max_log_bytes: int = MAX_LOG_BYTES,
    limits: Limits | None = None,
    containment_mode: str = "auto",
    cgroup: bool = True,
) -> Iterator[SupervisedProcess]:
    """Run `command` (an argv list, no shell; stdin is empty) for as long as the block lasts, and not a moment longer.

    Args:
        command: program and arguments; the program is looked up in `env`'s PATH.
        log: stdout and stderr go here, appended, as bytes. When full it becomes `NAME.1` and a new one begins. None discards.
        grace_s: seconds between TERM and KILL when the block is left.
        env: the whole environment; None is ours.
        cwd: the working directory; None is ours.
        on_line: called in a thread of its own with every line of output, without its end (line feed or carriage return),
            undecodable bytes replaced.
            A slow callback makes the command wait; one that raises is logged and not called again.
        line_delay_s: a line may reach `on_line` this much late when others came just before it. Short costs the guard CPU time,
            which is part of what is measured beside the command; for times that are taken when a line arrives.
        max_log_bytes: the log and `NAME.1` together.
        limits: nice value, CPUs, memory. How memory and CPUs are limited is in `containment.memory_limited_by`
            and `cpu_limited_by`.
        containment_mode: `auto` is the strongest that works; or one of `containment.MODES`.
        cgroup: also use a cgroup where one can be made.

    Raises:
        FileNotFoundError, PermissionError, OSError: the command could not be started; nothing is running.
        RunFailed: the guard could not be started.
    """
    if isinstance(command, str) or not command:
        raise ValueError(f"a command is a list of a program and its arguments, got {command!r}")
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    limits = limits or Limits()
    spec: Order = {
        "command": [os.fspath(part) for part in command],
        "env": dict(os.environ if env is None else env),
        "cwd": str(cwd) if cwd else "",
        "log": str(log.absolute()) if log else None,
        "max_log_bytes": max_log_bytes,
        "line_delay_s": line_delay_s,
        "grace_s": grace_s,
        "mode": containment_mode,
        "cgroup": cgroup,
        "nice": limits.nice,
        "affinity": sorted(limits.cpu_affinity) if limits.cpu_affinity else None,
        "memory_bytes": limits.memory_bytes or 0,
        "cpus": limits.cpus or 0.0,
        "token": uuid.uuid4().hex[:12],
    }
    process = SupervisedProcess(launch_guard(spec, listen=on_line is not None), spec, log, on_line)
    try:
        process._wait_for_start()
        yield process
    finally:
        try:
            if process.pid and not sys.is_finalizing():  # a finalizing interpreter has no threads left
                process.stop()
        finally:
            # Also after a second Ctrl-C during the grace time: the closed lifeline ends everything at once.
            process._let_go()


def available_containment(timeout_s: float = START_LIMIT_S) -> dict[str, str | None]:
    """Each containment mode and why it cannot be used here; None is available. `cgroup` is an addition to the others."""
    answer = subprocess.run(
        guard_command("--probe"), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=True
    )
    found: Probed = json.loads(answer.stdout)
    reasons = dict(found["modes"])
    reasons["cgroup"] = None if found["cgroup"] else "no cgroup-2 folder that this user may write to"
    return reasons
