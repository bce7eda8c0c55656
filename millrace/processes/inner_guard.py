"""The inner of the two guards: pid 1 of the new namespace, or the nearer of two nested subreapers. It starts the command.

It watches the outer guard, the supervisor and the command by itself, so that killing or stopping the outer guard frees nothing.
Standard library only and quick to import.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import signal
import time
from typing import TYPE_CHECKING, NoReturn

from millrace.processes import containment, janitor, kernel

if TYPE_CHECKING:
    from millrace.processes.messages import Exited, Failed, FromGuard, FromInnerGuard, LeftOver, Started, WiredOrder

KILL_LIMIT_S = 5.0
"""How long to wait for killed processes to go before they are reported as left over (a process in the kernel's D state)."""


def run(spec: WiredOrder, *, mode: str, cgroup: str | None, rlimit_data: int, orders: int, report: int, output: int) -> NoReturn:
    """Start the command, watch the tree until the command, the outer guard or the supervisor ends, then end all of it."""
    namespace = mode in {"pidns", "userns"}
    wakeup, wakeup_in = os.pipe()
    for end in (wakeup, wakeup_in):
        os.set_blocking(end, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup_in, warn_on_full_buffer=False)
    with contextlib.suppress(OSError):
        kernel.set_parent_death_signal(signal.SIGKILL if namespace else signal.SIGCONT)  # SIGCONT: also if it was stopped
    outside_proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY) if os.path.isdir("/proc") else None  # noqa: PTH112
    if namespace:
        kernel.mount_private_proc()
    elif mode == "subreaper":
        kernel.become_subreaper()

    if not namespace:
        spec["env"][janitor.VARIABLE] = janitor.token_for(spec["token"], [os.getppid(), os.getpid()])
    main, started = _spawn(spec, rlimit_data, output, cgroup, outside_proc)
    os.close(output)
    send(report, started)
    if started["event"] == "failed":
        os._exit(0)

    _serve(spec, mode, main, orders, report, wakeup)
    if not namespace:
        leftover = kill_everything(mode, main, cgroup, KILL_LIMIT_S)
        left: LeftOver = {"event": "leftover", "pids": leftover}
        send(report, left)
    os._exit(0)  # as pid 1 of a namespace this kills everything in it


ORDERS = {"T": (signal.SIGTERM, signal.SIGCONT), "S": (signal.SIGSTOP,), "C": (signal.SIGCONT,)}
"""What the outer guard writes: stop (a paused process must wake up to obey), pause, continue; `K` means kill everything now."""


def _serve(spec: WiredOrder, mode: str, main: int, orders: int, report: int, wakeup: int) -> None:
    """Wait until the command, the outer guard or the supervisor has ended, obeying orders meanwhile."""
    stopping = False
    while True:
        poll = select.poll()
        poll.register(orders, select.POLLIN)
        poll.register(wakeup, select.POLLIN)
        poll.register(spec["lifeline"], 0)
        if spec["supervisor"] >= 0:
            poll.register(spec["supervisor"], select.POLLIN)
        ready = dict(poll.poll())
        if spec["lifeline"] in ready or spec["supervisor"] in ready:
            return
        if wakeup in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wakeup, 4096)
        ended = empty = False
        for pid, status in kernel.reap():
            if pid == main:
                ended = True
                outlived = 0 if stopping else _living(mode)
                message: Exited = {"event": "exit", "returncode": os.waitstatus_to_exitcode(status), "outlived": outlived}
                send(report, message)
            empty = empty or pid == 0
        if empty or (ended and not stopping):
            return
        if orders in ready:
            line = os.read(orders, 4096)
            if not line or b"K" in line:
                return
            stopping = stopping or b"T" in line
            for letter in line:
                for number in ORDERS.get(chr(letter), ()):
                    broadcast(mode, main, number)


def _living(mode: str) -> int:
    """How many processes of the tree are left when its command has ended; a plain process group is not looked through."""
    return 0 if mode == "group" else sum(stat.state not in "ZX" for stat in kernel.descendants(os.getpid()))


def send(pipe: int, message: FromInnerGuard | FromGuard) -> None:
    """Write one JSON line; a reader that is gone is fine."""
    with contextlib.suppress(OSError):
        os.write(pipe, json.dumps(message).encode() + b"\n")


def broadcast(mode: str, main: int, number: int) -> None:
    """Send a signal to the whole tree."""
    with contextlib.suppress(OSError):
        if mode in {"pidns", "userns"}:
            os.kill(-1, number)
        elif mode == "group":
            os.killpg(main, number)
        else:
            for stat in kernel.descendants(os.getpid()):
                kernel.send_signal(stat, number)


def kill_everything(mode: str, main: int | None, cgroup: str | None, limit_s: float) -> list[int]:
    """Kill the tree below this process until nothing is left; the pids that would not go within `limit_s`.

    All are stopped before any is killed: no process can fork meanwhile, no parent can reap a pid that is about to be signalled.
    """
    deadline = time.monotonic() + limit_s
    while True:
        if cgroup:
            containment.kill_cgroup(cgroup)
        if mode == "group" and main:
            with contextlib.suppress(OSError):
                os.killpg(main, signal.SIGKILL)
        living: list[kernel.ProcessStat] = []
        if mode != "group":
            seen: set[int] = set()
            while True:
                living = [stat for stat in kernel.descendants(os.getpid()) if stat.state not in "ZX"]
                fresh = [stat for stat in living if stat.pid not in seen]
                for stat in fresh:
                    kernel.send_signal(stat, signal.SIGSTOP)
                seen |= {stat.pid for stat in fresh}
                if not fresh:
                    break
            for stat in living:
                kernel.send_signal(stat, signal.SIGKILL)
        if any(pid == 0 for pid, _ in kernel.reap()):
            return []
        if time.monotonic() > deadline:
            return [stat.pid for stat in living]
        time.sleep(0.001)


def _spawn(
    spec: WiredOrder, rlimit_data: int, output: int, cgroup: str | None, outside_proc: int | None
) -> tuple[int, Started | Failed]:
    read_end, write_end = os.pipe()
    main = os.fork()
    if main == 0:
        doing = "preparing the command"
        try:
            pid = int(os.readlink("self", dir_fd=outside_proc)) if outside_proc is not None else os.getpid()
            os.write(write_end, f"{pid}\n".encode())
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                with contextlib.suppress(OSError):
                    signal.signal(number, signal.SIG_DFL)
            if spec["nice"]:
                os.nice(spec["nice"])
            if spec["affinity"]:
                os.sched_setaffinity(0, spec["affinity"])
            if cgroup:
                with open(f"{cgroup}/cgroup.procs", "w") as file:  # noqa: PTH123 (pathlib costs start-up time here)
                    file.write("0")
            if rlimit_data:
                resource.setrlimit(resource.RLIMIT_DATA, (rlimit_data, rlimit_data))
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            if spec["cwd"]:
                doing = spec["cwd"]
                os.chdir(spec["cwd"])
            doing = spec["command"][0]
            os.execvpe(spec["command"][0], spec["command"], spec["env"])  # noqa: S606 (an argv list and no shell: that is the point)
        except BaseException as error:  # noqa: BLE001 (a forked child must end here whatever happens)
            code = getattr(error, "errno", None) or errno.EINVAL
            os.write(write_end, json.dumps(_failed(code, doing, str(error))).encode())
        os._exit(127)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        pid_line, _, failure = pipe.read().partition(b"\n")
    if failure:
        failed: Failed = json.loads(failure)
        return main, failed
    if not pid_line:
        return main, _failed(errno.ECHILD, spec["command"][0], "killed while it started")
    return main, {"event": "started", "pid": int(pid_line)}


def _failed(number: int, doing: str, text: str) -> Failed:
    return {"event": "failed", "errno": number, "filename": doing, "message": text}
