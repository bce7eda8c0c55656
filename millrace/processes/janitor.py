"""Removes what an earlier crash left behind: processes and cgroups whose guards are dead.

Every contained process carries, in its environment, who guards it: boot, PID namespace, and pid with start time of both guards.
Nothing else stops a process whose guards are all gone.

Covers: the one hole of the weaker modes (supervisor and both guards killed at once), and cgroups left empty or not.
Does not cover: a process that escaped in such a crash *and* has cleared its environment; other users' processes.
"""

from __future__ import annotations

import os
import signal
import time

from millrace.processes import containment, kernel

VARIABLE = "MILLRACE_GUARD"
"""The environment variable of contained processes; its value is `token_for`."""


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 (pathlib costs start-up time here)
    except OSError:
        return 0


def token_for(name: str, guards: list[int]) -> str:
    """The identity of the tree `name`'s guards: unique, also after pids are used again."""
    described = [f"{stat.pid}.{stat.start_ticks}" for stat in map(kernel.read_stat, guards) if stat]
    return ":".join([name, kernel.boot_id(), str(_pid_namespace()), *described])


def cgroup_name(name: str) -> str:
    """The name of the cgroup that the calling guard makes for the tree `name`."""
    own = kernel.read_stat(os.getpid())
    return f"millrace-{_pid_namespace()}-{os.getpid()}-{own.start_ticks if own else 0}-{name}"


def sweep(name: str | None = None) -> list[int]:
    """Kill every process whose guards are all dead; `name` looks at one tree only. The pids killed.

    Safe at any time and beside other runs: trees with a living guard are never touched, nor are the caller and its ancestors.
    """
    seen = _self_and_ancestors()
    killed: set[int] = set()
    # Until a listing shows only processes that were looked at, newest first: then no process can have got away by forking.
    while fresh := sorted(set(kernel.all_pids()) - seen, reverse=True):
        for pid in fresh:
            stat = kernel.read_stat(pid)
            if stat and _is_orphan(stat, name):
                kernel.send_signal(stat, signal.SIGSTOP)
                kernel.send_signal(stat, signal.SIGKILL)
                killed.add(pid)
        seen |= set(fresh)
    _sweep_cgroups(name)
    return sorted(killed)


def _is_orphan(stat: kernel.ProcessStat, name: str | None) -> bool:
    if stat.state in "ZX":
        return False
    try:
        with open(f"/proc/{stat.pid}/environ", "rb") as file:  # noqa: PTH123 (pathlib costs start-up time here)
            environment = file.read()
    except OSError:
        return False
    mark = VARIABLE.encode() + b"="
    value = next((entry[len(mark) :] for entry in environment.split(b"\0") if entry.startswith(mark)), None)
    if value is None:
        return False
    tree, _, rest = value.decode(errors="replace").partition(":")
    boot, _, rest = rest.partition(":")
    namespace, _, guards = rest.partition(":")
    # In another PID namespace these pids mean other processes: leave it alone.
    if boot != kernel.boot_id() or namespace != str(_pid_namespace()) or (name is not None and tree != name):
        return False
    return bool(guards) and not any(_lives(guard) for guard in guards.split(":"))


def _lives(guard: str) -> bool:
    pid, _, start = guard.partition(".")
    if not pid.isdigit():
        return True  # not written by us: leave it alone
    stat = kernel.read_stat(int(pid))
    return stat is not None and str(stat.start_ticks) == start and stat.state not in "ZX"


def _self_and_ancestors() -> set[int]:
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        stat = kernel.read_stat(pid)
        pid = stat.parent if stat else 0
    return found


def _sweep_cgroups(name: str | None) -> None:
    folder = containment.cgroup_folder()
    if folder is None:
        return
    for entry in os.listdir(folder):  # noqa: PTH208
        parts = entry.split("-")
        if parts[0] != "millrace" or len(parts) != 5 or parts[1] != str(_pid_namespace()):
            continue
        if name is not None and parts[4] != name:
            continue
        if not _lives(f"{parts[2]}.{parts[3]}"):
            containment.kill_cgroup(f"{folder}/{entry}")
            time.sleep(0.005)
            containment.remove_cgroup(f"{folder}/{entry}")
