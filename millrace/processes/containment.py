"""Which ways to contain a process tree this system offers, from the strongest to the weakest, and what each one guarantees.

`cgroup` comes on top of any of them where a cgroup-2 folder can be made: an atomic kill and exact CPU time.
Standard library only and quick to import: the guard loads this file.
"""

from __future__ import annotations

import contextlib
import os

from millrace.processes import kernel

MODES = ("pidns", "userns", "subreaper", "group")
"""Strongest first. `pidns`: PID namespace; `userns`: the same made inside a user namespace, without root; `subreaper`: two nested
guards that adopt orphans; `group`: a plain process group, for systems without Linux' means."""

CPU_PERIOD_US = 100_000
"""The kernel's default period of cpu.max (Documentation/admin-guide/cgroup-v2.rst)."""

LEAST_QUOTA_US = 1_000
"""The kernel refuses less."""

GUARANTEES = {
    "pidns": "the kernel kills everything when the namespace's pid 1 ends; holds when supervisor, guard or both are killed",
    "userns": "the kernel kills everything when the namespace's pid 1 ends; holds when supervisor, guard or both are killed",
    "subreaper": "nothing survives while the supervisor or one of its two guards lives; if all three are killed at once, "
    "what is left is removed by the next run's janitor",
    "group": "only processes that stay in the command's process group are sure to be stopped",
}


def reasons_against() -> dict[str, str | None]:
    """Try each mode for real: None if it works here, else why not. Takes a few milliseconds and leaves nothing behind."""
    return {mode: reason_against(mode) for mode in MODES}


def reason_against(mode: str) -> str | None:
    """None if `mode` works here, else why not."""
    if mode in {"pidns", "userns"}:
        return kernel.why_not(lambda: _try_pid_namespace(as_user=mode == "userns"))
    if mode == "subreaper":
        return kernel.why_not(_try_subreaper)
    return None


def choose_mode(wanted: str) -> str:
    """`wanted` if it is a mode's name, else (`auto`) the strongest that works."""
    if wanted in MODES:
        return wanted
    return next(mode for mode in MODES if reason_against(mode) is None)


def _try_pid_namespace(*, as_user: bool) -> None:
    kernel.leave_for_new_pid_namespace(as_user=as_user)
    # A namespace without its own /proc is refused: commands that look themselves up there would find another process.
    reason = kernel.why_not(kernel.mount_private_proc)
    if reason:
        raise OSError(reason)


def _try_subreaper() -> None:
    kernel.become_subreaper()
    if not any(stat.pid == os.getpid() for stat in kernel.descendants(os.getppid())):
        raise OSError("/proc does not show our own processes")


def cgroup_folder() -> str | None:
    """The folder in which this process may make cgroups, None without cgroup 2, on a kernel before 5.14, or without the right."""
    try:
        with open("/proc/self/cgroup") as file:  # noqa: PTH123 (pathlib costs start-up time here)
            own = next((line.strip()[3:] for line in file if line.startswith("0::")), None)
        with open("/proc/self/mountinfo") as file:  # noqa: PTH123
            mounts = [line.split() for line in file if " - cgroup2 " in line]
    except OSError:
        return None
    for fields in mounts:
        root, mount_point = fields[3], fields[4]
        if own is None or not own.startswith(root.rstrip("/")):
            continue
        folder = mount_point + own[len(root.rstrip("/")) :]
        if os.access(folder, os.W_OK):
            return folder.rstrip("/")
    return None


def memory_controller() -> bool:
    """Whether a cgroup made there can limit memory: its parent has to hand the controller down."""
    try:
        with open(f"{cgroup_folder()}/cgroup.subtree_control") as file:  # noqa: PTH123
            return "memory" in file.read().split()
    except OSError:
        return False


def make_cgroup(name: str) -> str | None:
    """Make the cgroup `name` below ours and return its path, None where that is not possible."""
    folder = cgroup_folder()
    if folder is None:
        return None
    path = f"{folder}/{name}"
    try:
        os.mkdir(path)  # noqa: PTH102 (pathlib costs start-up time here)
    except OSError:
        return None
    if os.path.exists(f"{path}/cgroup.kill") and os.access(f"{path}/cgroup.procs", os.W_OK):  # noqa: PTH110
        return path
    os.rmdir(path)  # noqa: PTH106
    return None


def limit_cpus(path: str | None, cpus: float) -> str | None:
    """Let the cgroup keep at most so many CPUs busy, on average over a tenth of a second; None, or why that is not possible."""
    if path is None:
        return "no cgroup can be made here"
    try:
        # Not "w": a cgroup without the controller has no such file, and none may be made.
        with open(f"{path}/cpu.max", "r+") as file:  # noqa: PTH123
            file.write(f"{max(LEAST_QUOTA_US, round(cpus * CPU_PERIOD_US))} {CPU_PERIOD_US}")
    except FileNotFoundError:
        return "the cgroup has no cpu controller"
    except OSError as error:
        return f"cpu.max could not be set: {error.strerror}"
    return None


def kill_cgroup(path: str) -> None:
    """Kill everything in the cgroup, atomically against forks; a cgroup that is gone is fine."""
    try:
        with open(f"{path}/cgroup.kill", "w") as file:  # noqa: PTH123
            file.write("1")
    except OSError:
        return


def remove_cgroup(path: str) -> None:
    """Remove the cgroup and those below it, if they are empty."""
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # noqa: PTH106 (pathlib costs start-up time here)
