"""The Linux calls that Python 3.11 has no function for, and the process table as /proc shows it.

Standard library only and quick to import: every supervised process starts a guard that loads this file.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections import namedtuple
from collections.abc import Callable, Iterator

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x0002_0000, 0x1000_0000, 0x2000_0000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_SLAVE = 0x2, 0x4, 0x8, 0x4000, 0x8_0000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

ProcessStat = namedtuple("ProcessStat", "pid parent state start_ticks cpu_ticks rss_pages")
"""One line of the process table. `cpu_ticks` includes the children it has waited for; with `start_ticks` a pid is unique.

A collections.namedtuple, because importing typing would cost every guard start-up time."""


def _call(name: str, *args: object) -> None:
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except AttributeError as error:
        raise OSError(f"this system has no {name}(2)") from error
    if function(*args) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def set_parent_death_signal(number: int) -> None:
    """Ask for signal `number` when the thread that forked us ends (the guard has one thread)."""
    _call("prctl", PR_SET_PDEATHSIG, number, 0, 0, 0)


def become_subreaper() -> None:
    """From now on orphans among our descendants become our children."""
    _call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def leave_for_new_pid_namespace(*, as_user: bool) -> None:
    """The next child forked is pid 1 of a new PID namespace; `as_user` first makes a user namespace, which needs no root."""
    if not as_user:
        _call("unshare", CLONE_NEWPID)
        return
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", CLONE_NEWUSER | CLONE_NEWPID)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 (pathlib costs start-up time here)
            file.write(text)


def mount_private_proc() -> None:
    """Give pid 1 of a new namespace a /proc of its own; the rest of the system does not see the mount.

    Mounts made outside later still arrive (slave, not private), as network file systems and automounters need it.
    """
    _call("unshare", CLONE_NEWNS)
    _call("mount", b"none", b"/", None, MS_REC | MS_SLAVE, None)
    _call("mount", b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)


def why_not(attempt: Callable[[], None]) -> str | None:
    """Try something irreversible in a throw-away child: None if it works, else the reason."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            attempt()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 (a forked child must end here whatever happens)
            os.write(write_end, str(error).encode()[:1000] or b"failed")
            os._exit(1)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        reason = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return None if status == 0 else reason or "the attempt was killed"


def read_stat(pid: int) -> ProcessStat | None:
    """The process table's line for `pid`, None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 (pathlib costs start-up time here)
            text = file.read()
    except OSError:
        return None
    fields = text[text.rfind(b")") + 2 :].split()
    return ProcessStat(
        pid, int(fields[1]), fields[0].decode(), int(fields[19]), sum(int(ticks) for ticks in fields[11:15]), int(fields[21])
    )


def all_pids() -> list[int]:
    """Every process this /proc shows us."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 (pathlib costs start-up time here)


def descendants(root: int) -> list[ProcessStat]:
    """Children, grandchildren and so on of `root`, parents before their children, zombies included."""
    children: dict[int, list[ProcessStat]] = {}
    for pid in all_pids():
        stat = read_stat(pid)
        if stat:
            children.setdefault(stat.parent, []).append(stat)
    found: list[ProcessStat] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += [stat.pid for stat in below]
    return found


def send_signal(target: ProcessStat, number: int) -> bool:
    """Signal exactly the process `target` describes, never another one that got its pid since; False if it is gone."""
    try:
        handle = os.pidfd_open(target.pid)
    except (OSError, AttributeError):
        handle = None
    try:
        now = read_stat(target.pid)
        if now is None or now.start_ticks != target.start_ticks:
            return False
        if handle is None:
            os.kill(target.pid, number)
        else:
            signal.pidfd_send_signal(handle, number)
    except OSError:
        return False
    finally:
        if handle is not None:
            os.close(handle)
    return True


def reap() -> Iterator[tuple[int, int]]:
    """Collect every child that has ended: (pid, wait status). Ends with (0, 0) when no child at all is left."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            yield 0, 0
            return
        if pid == 0:
            return
        yield pid, status


def boot_id() -> str:
    """Names this boot of the machine; empty where the system does not say."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123
        return file.read().strip()
    return ""
