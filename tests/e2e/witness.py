"""A witness of every process that comes of a command, whatever its name, session, environment or open files.

    python tests/e2e/witness.py STATUS_FD LIFELINE_FD PROGRAM ARGUMENT…

The witness is inherited by all of them: it makes itself a child subreaper (prctl(2)), so each descendant whose parent ends
becomes its own child, and the kernel says ECHILD to its `wait` only when the last one is gone. A pipe or an environment variable
would not do: the guards of millrace/processes/ close what they inherit, and the sandboxes of synthesis have an empty environment.

It writes JSON lines to STATUS_FD: the command's pid, then how it ended; it ends when nothing is left. When LIFELINE_FD closes,
because the tests were killed, it kills what is there.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def descendants(root: int) -> dict[int, str]:
    """Every living process below `root`: pid → command line. In nested PID namespaces too, by their pids here."""
    parents: dict[int, int] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    parents[int(process.name)] = int(fields[1])
    found: dict[int, str] = {}
    queue = [root]
    while queue:
        parent = queue.pop()
        below = [pid for pid, of in parents.items() if of == parent]
        queue += below
        for pid in below:
            with contextlib.suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    return found


def kill_all() -> None:
    """Kill everything below us until nothing is left."""
    while True:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        select.select([], [], [], 0.01)


def main() -> None:
    """Start the command, tell how it ends, stay until nothing is left."""
    status, lifeline, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    wakeup, wakeup_in = os.pipe()
    os.set_blocking(wakeup_in, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup_in, warn_on_full_buffer=False)
    for descriptor in (status, lifeline):
        os.set_inheritable(descriptor, False)
    main_pid = os.fork()
    if main_pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.execvp(command[0], command)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # whoever reads the command's output must not wait for us
        os.dup2(null, standard)
    os.write(status, json.dumps({"pid": main_pid}).encode() + b"\n")
    while True:
        try:
            pid, how = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == main_pid:
            os.write(status, json.dumps({"exit": os.waitstatus_to_exitcode(how)}).encode() + b"\n")
        if pid == 0:
            ready, _, _ = select.select([wakeup, lifeline], [], [])
            if lifeline in ready:
                kill_all()
                return
            os.read(wakeup, 4096)


if __name__ == "__main__":
    main()
