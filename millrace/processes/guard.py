"""The program that stands between a supervisor and its command: it keeps the log, obeys orders, and ends the tree when it must.

    supervisor ──lifeline, orders──▶ outer guard ──orders──▶ inner guard (pid 1 of a namespace, or a subreaper) ──▶ the command
               ◀──status, output───             ◀──report──

Started as `python -I -S -c …` so that it costs tens of milliseconds; standard library only. What it must know comes as JSON
on its stdin. The process that holds the lifeline's other end is its supervisor: when that end closes, or the supervisor's pidfd
says it ended, everything is killed at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

from millrace.processes import containment, janitor, kernel
from millrace.processes import inner_guard as inner
from millrace.processes.log_pump import LogPump

if TYPE_CHECKING:
    from millrace.processes.messages import Ended, Failed, FromInnerGuard, Probed, StartedContained, WiredOrder

DRAIN_LIMIT_S = 5.0
"""How long the last output may take to reach its log and its listener after the last process is dead."""


class OuterGuard:
    """One supervised tree, from its start to the proof that nothing of it is left."""

    def __init__(self, spec: WiredOrder) -> None:
        self.spec = spec
        self.status = spec["status"]
        self.kill_at: float | None = None
        self.give_up_at: float | None = None
        self.stopping = self.killed = False
        self.returncode: int | None = None
        self.main: int | None = None
        self.outlived = 0
        self.failed = False
        self.leftover: list[int] = []
        self.unread = b""
        self.memory_limited_by: str | None = None
        self.cpu_limited_by: str | None = None
        self.rlimit_data = 0
        """Most bytes of data of each process; 0: no such limit."""

    def start(self) -> None:
        """Choose the containment, fork the inner guard into it."""
        spec = self.spec
        self.mode = containment.choose_mode(spec["mode"])
        self.cgroup = containment.make_cgroup(janitor.cgroup_name(spec["token"])) if spec["cgroup"] else None
        self._limit_memory()
        self._limit_cpus()
        output, output_in = os.pipe()
        report, report_in = os.pipe()
        orders, self.orders = os.pipe()
        forward = spec["forward"] if spec["forward"] >= 0 else None
        self.pump = LogPump(output, spec["log"], spec["max_log_bytes"], forward, spec["line_delay_s"])
        self.wakeup, wakeup_in = os.pipe()
        for end in (self.wakeup, wakeup_in, self.orders):
            os.set_blocking(end, False)
        if self.mode in {"pidns", "userns"}:
            kernel.leave_for_new_pid_namespace(as_user=self.mode == "userns")
        elif self.mode == "subreaper":
            kernel.become_subreaper()
        with contextlib.suppress(OSError):
            # A guard that was sent SIGSTOP sees nothing: its supervisor's end continues it, so that it looks.
            # (The end of the thread that started us does so too; there is nothing to see then.)
            kernel.set_parent_death_signal(signal.SIGCONT)
        self.inner = os.fork()
        if self.inner == 0:
            try:
                for end in (output, report, self.orders, self.wakeup, wakeup_in):
                    os.close(end)
                inner.run(
                    spec,
                    mode=self.mode,
                    cgroup=self.cgroup,
                    rlimit_data=self.rlimit_data,
                    orders=orders,
                    report=report_in,
                    output=output_in,
                )
            except BaseException as error:  # noqa: BLE001 (a forked child must end here whatever happens)
                inner.send(report_in, not_contained(error))
                os._exit(70)
        for end in (output_in, report_in, orders):
            os.close(end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stop(spec["grace_s"]))
        signal.set_wakeup_fd(wakeup_in, warn_on_full_buffer=False)
        self.report = report

    def _limit_memory(self) -> None:
        limit = self.spec["memory_bytes"]
        if not limit:
            return
        if self.cgroup:
            with contextlib.suppress(OSError), open(f"{self.cgroup}/memory.max", "r+") as file:  # noqa: PTH123
                file.write(str(limit))
                self.memory_limited_by = "cgroup memory.max (the whole tree)"
                return
        self.rlimit_data = limit
        self.memory_limited_by = "RLIMIT_DATA (each process by itself)"

    def _limit_cpus(self) -> None:
        if self.spec["cpus"]:
            reason = containment.limit_cpus(self.cgroup, self.spec["cpus"])
            self.cpu_limited_by = f"none: {reason}" if reason else "cgroup cpu.max (the whole tree)"

    def run(self) -> None:
        """Serve until the inner guard has ended, then prove that nothing is left and report the figures."""
        alone = False
        while True:
            ready = self._wait(alone)
            if self.spec["lifeline"] in ready or self.spec["supervisor"] in ready:
                alone = True
                self.kill()
            if self.spec["control"] in ready:
                self._obey()
            if self.pump.source in ready:
                self.pump.read()
            self.pump.flush()
            if self.report in ready:
                self._listen()
            if self.wakeup in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wakeup, 4096)
            now = time.monotonic()
            if self.kill_at is not None and now >= self.kill_at:
                self.kill()
            if self.give_up_at is not None and now >= self.give_up_at:
                os.kill(self.inner, signal.SIGKILL)  # unreaped, so the pid is still its own
                if now >= self.give_up_at + inner.KILL_LIMIT_S:
                    self.leftover = [stat.pid for stat in kernel.descendants(os.getpid())]
                    break
            if any(pid == self.inner for pid, _ in kernel.reap()):
                break
        self._finish(alone)

    def stop(self, grace_s: float) -> None:
        """Ask everything to end, and set the time for killing it. A later order can only shorten the time."""
        at = time.monotonic() + max(grace_s, 0.0)
        self.kill_at = at if self.kill_at is None else min(at, self.kill_at)
        if not self.stopping:
            self.stopping = True
            self._order("T")

    def kill(self) -> None:
        """Kill everything now."""
        self.kill_at = None
        if self.killed:
            return
        self.killed = True
        if self.cgroup:
            containment.kill_cgroup(self.cgroup)
        self.give_up_at = time.monotonic() + inner.KILL_LIMIT_S
        if self.mode in {"pidns", "userns"}:
            os.kill(self.inner, signal.SIGKILL)
        else:
            self._order("K")

    def _order(self, letter: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self.orders, letter.encode())

    def _wait(self, alone: bool) -> dict[int, int]:
        poll = select.poll()
        poll.register(self.report, select.POLLIN)
        poll.register(self.wakeup, select.POLLIN)
        if not alone:
            poll.register(self.spec["lifeline"], 0)
            poll.register(self.spec["control"], select.POLLIN)
            if self.spec["supervisor"] >= 0:
                poll.register(self.spec["supervisor"], select.POLLIN)
        if self.pump.wants_input():
            poll.register(self.pump.source, select.POLLIN)
        if self.pump.pending and self.pump.forward is not None:
            poll.register(self.pump.forward, select.POLLOUT)
        deadlines = [at for at in (self.kill_at, self.give_up_at) if at is not None]
        if self.pump.open and self.pump.resume_at > time.monotonic():
            deadlines.append(self.pump.resume_at)
        timeout_ms = max(min(deadlines) - time.monotonic(), 0.001) * 1000 if deadlines else None
        return dict(poll.poll(timeout_ms))

    def _obey(self) -> None:
        data = os.read(self.spec["control"], 4096)
        for line in data.splitlines():
            word, _, value = line.decode().partition(" ")
            if word == "stop":
                self.stop(float(value))
            elif word in {"S", "C"} and not self.stopping:
                self._order(word)

    def _listen(self) -> None:
        data = os.read(self.report, 4096)
        *lines, self.unread = (self.unread + data).split(b"\n")
        for line in lines:
            message: FromInnerGuard = json.loads(line)
            if message["event"] == "exit":
                self.returncode = message["returncode"]
                self.outlived = message["outlived"]
            elif message["event"] == "leftover":
                self.leftover = message["pids"]
            elif message["event"] == "failed":
                self.failed = True
                inner.send(self.status, message)
            else:
                self.main = message["pid"]
                started: StartedContained = {
                    "event": "started",
                    "pid": message["pid"],
                    "mode": self.mode,
                    "cgroup": self.cgroup,
                    "memory_limited_by": self.memory_limited_by,
                    "cpu_limited_by": self.cpu_limited_by,
                    "inner": self.inner,
                }
                inner.send(self.status, started)

    def _finish(self, alone: bool) -> None:
        if self.mode in {"subreaper", "group"}:
            # What the inner guard could not end, because it was killed, is our child now.
            self.leftover = inner.kill_everything(
                self.mode, self.main if self.returncode is None else None, self.cgroup, inner.KILL_LIMIT_S
            )
        os.set_blocking(self.report, False)
        with contextlib.suppress(OSError):
            self._listen()
        deadline = time.monotonic() + DRAIN_LIMIT_S
        while time.monotonic() < deadline and (self.pump.read() or self.pump.open or self.pump.pending):
            if self.pump.pending and alone:
                break
            waiting = select.poll()
            self.pump.resume_at = 0.0
            if self.pump.wants_input():
                waiting.register(self.pump.source, select.POLLIN)
            if self.pump.pending and self.pump.forward is not None:
                waiting.register(self.pump.forward, select.POLLOUT)
            waiting.poll(100)
            self.pump.flush()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s, peak_bytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        out_of_memory = 0
        if self.cgroup:
            cpu_s = self._cgroup_figure("cpu.stat", "usage_usec", cpu_s * 1e6) / 1e6
            peak_bytes = int(self._cgroup_figure("memory.peak", "", peak_bytes))
            out_of_memory = int(self._cgroup_figure("memory.events", "oom_kill", 0))
            containment.remove_cgroup(self.cgroup)
        if not self.failed:
            end: Ended = {
                "event": "end",
                # A command that was killed together with its namespace could not report its own status.
                "returncode": -signal.SIGKILL if self.returncode is None else self.returncode,
                "guard_lost": self.returncode is None and not self.killed,
                "stopped": self.stopping,
                "killed": self.killed,
                "cpu_s": cpu_s,
                "peak_bytes": peak_bytes,
                "oom_kills": out_of_memory,
                "log_bytes": self.pump.total,
                "log_bytes_lost": self.pump.lost,
                "leftover": self.leftover,
                "outlived": self.outlived,
            }
            inner.send(self.status, end)

    def _cgroup_figure(self, file_name: str, key: str, otherwise: float) -> float:
        with contextlib.suppress(OSError, ValueError), open(f"{self.cgroup}/{file_name}") as file:  # noqa: PTH123
            for line in file:
                name, _, value = line.strip().rpartition(" ")
                if name == key:
                    return float(value)
        return otherwise


def not_contained(error: BaseException) -> Failed:
    """The message about a containment that could not be made."""
    return {"event": "failed", "errno": 0, "filename": "", "message": f"containment: {error}"}


def main() -> None:
    """Read the order from stdin and guard its command."""
    if sys.argv[-1] == "--probe":
        found: Probed = {"modes": containment.reasons_against(), "cgroup": containment.cgroup_folder()}
        sys.stdout.write(json.dumps(found))
        return
    spec: WiredOrder = json.loads(sys.stdin.buffer.read())
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for end in (spec["lifeline"], spec["control"], spec["status"], spec["forward"], spec["supervisor"]):
        if end >= 0:
            os.set_inheritable(end, False)
    guard = OuterGuard(spec)
    try:
        guard.start()
    except OSError as error:
        inner.send(spec["status"], not_contained(error))
        return
    guard.run()


if __name__ == "__main__":
    main()
