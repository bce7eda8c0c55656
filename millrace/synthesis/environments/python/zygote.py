"""The far side of the python sandbox: a process that imports once, shuts itself in, and forks a child for every call.

Run as `python -I -S zygote.py` with an empty environment by `sandbox.py`; it must not import anything of this project. Requests
and answers are JSON lines on stdin and stdout. It ends when stdin ends, so it cannot outlive its owner, not even one that was
killed.

In namespaces (when the kernel grants them): own user, mount, network, IPC, host-name namespaces, a root file system that holds
nothing but a read-only Python and one small scratch folder, no /proc, no capabilities, and a new process namespace per call:
when the call's first process ends, the kernel ends all that it started. Where the kernel filters system calls (seccomp): no new
process or thread, no program, no socket, no kill, whoever runs this. Always: resource limits and an audit hook that refuses
sockets, processes, signals, ctypes and files outside the scratch folder. The hook alone is a weaker guarantee; `ready` says what
is in force.
"""

# Running foreign code is this file's work, os calls are what it confines, and pathlib is not among what it loads:
# ruff: noqa: BLE001, S102, S307, SIM105, PTH103, PTH106, PTH108, PTH110, PTH112, PTH114, PTH115, PTH118, PTH123, PTH208, PTH211

from __future__ import annotations

import ast
import ctypes
import json
import os
import resource
import select
import signal
import struct
import sys
import time

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 22, 24, 38
MNT_DETACH, AT_RECURSIVE = 2, 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
SECCOMP_MODE_FILTER = 2
PRELOADED = [
    "base64", "bisect", "calendar", "collections", "csv", "datetime", "decimal", "difflib", "fractions", "functools", "graphlib",
    "hashlib", "heapq", "html", "io", "ipaddress", "itertools", "json", "math", "operator", "random", "re", "statistics",
    "string", "textwrap", "unicodedata", "zlib",
]  # fmt: skip
FORBIDDEN_EVENTS = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "os.putenv",
    "ctypes.", "pty.",
    "signal.", "mmap.", "fcntl.", "resource.setrlimit", "resource.prlimit", "shutil.", "os.chmod", "os.chown", "os.link",
    "os.symlink",
    "os.rename", "os.truncate", "sys.addaudithook", "os.setxattr", "sys.setprofile", "sys.settrace", "gc.", "sys._current_frames",
    "winreg.", "syslog.", "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.",
)  # fmt: skip


class Refused(Exception):
    """What the audit hook raises: this sandbox doesn't do that."""


def check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def shut_in(libc: ctypes.CDLL, root: str) -> None:
    """Leave the host: new namespaces, and a root with nothing in it but Python and /scratch."""
    outer_uid, outer_gid = os.getuid(), os.getgid()
    check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"65534 {outer_uid} 1"), ("gid_map", f"65534 {outer_gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)

    def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
        arguments = [text.encode() if text is not None else None for text in (source, target, kind)]
        check(libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() if data else None), f"mount {target}")

    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=755")
    places = {os.path.realpath(path) for path in (sys.base_prefix, "/usr", "/lib", "/lib64") if os.path.isdir(path)}
    kept = [path for path in sorted(places) if not any(path.startswith(other + "/") for other in places)]
    for path in kept:
        os.makedirs(root + path, exist_ok=True)
        mount(path, root + path, None, MS_BIND | MS_REC)
        mount("none", root + path, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
        # what is mounted below it too, where the kernel (5.12) can: mount_setattr(2), the same number on every machine
        attributes = struct.pack("=QQQQ", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, 0, 0)
        libc.syscall(442, -100, (root + path).encode(), AT_RECURSIVE, attributes, len(attributes))
    for link in ("/lib", "/lib64"):
        if os.path.islink(link) and not os.path.lexists(root + link):
            os.symlink(os.readlink(link), root + link)
    os.makedirs(root + "/scratch", exist_ok=True)
    mount("tmpfs", root + "/scratch", "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,mode=777")
    os.makedirs(root + "/old", exist_ok=True)
    pivot_root = 155 if os.uname().machine == "x86_64" else 41  # the system call has no wrapper in the C library
    check(libc.syscall(pivot_root, root.encode(), (root + "/old").encode()), "pivot_root")
    os.chdir("/")
    check(libc.umount2(b"/old", MNT_DETACH), "umount")
    os.rmdir("/old")
    mount("none", "/", None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir("/scratch")


def drop_privileges(libc: ctypes.CDLL) -> None:
    """No capability now or after any exec."""
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    libc.capset(header, (ctypes.c_uint32 * 6)())


def refuse_calls(libc: ctypes.CDLL, program: bytes) -> None:
    """Install the filter (call_filter.py); it cannot be taken out again. Needs PR_SET_NO_NEW_PRIVS before it."""
    held = ctypes.create_string_buffer(program, len(program))
    pointer = ctypes.create_string_buffer(struct.pack("HP", len(program) // 8, ctypes.addressof(held)))
    check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, pointer, 0, 0), "seccomp")


def installable(libc: ctypes.CDLL, program: bytes) -> bool:
    """Whether the kernel takes the filter, tried in a child."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            refuse_calls(libc, program)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def limit(limits: dict[str, int]) -> None:
    for name, amount in (
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_DATA, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(name, (amount, amount))


def watch(scratch: str) -> None:
    """Install the audit hook; it cannot be taken out again."""
    readable = tuple(os.path.realpath(path) for path in (sys.base_prefix, "/usr/lib", "/usr/share/zoneinfo"))
    armed = [True]

    def hook(event: str, args: tuple[object, ...]) -> None:
        if not armed:
            return
        if event.startswith(FORBIDDEN_EVENTS):
            raise Refused(f"{event} is not allowed here")
        if event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rmdir", "os.chdir", "os.utime"):
            place = args[0]
            if isinstance(place, int) or place is None:
                raise Refused(f"{event} of a file descriptor is not allowed here")
            path = os.path.realpath(os.fsdecode(place))  # type: ignore[arg-type]
            if path == scratch or path.startswith(scratch + "/"):
                return
            mode = args[1] if len(args) > 1 else None
            flags = args[2] if event == "open" and len(args) > 2 and isinstance(args[2], int) else 0
            reading = event in ("open", "os.listdir", "os.scandir") and not (isinstance(mode, str) and set(mode) & set("wax+"))
            if not reading or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or not path.startswith(readable):
                raise Refused(f"{event} of {path} is not allowed here")

    sys.addaudithook(hook)


def evaluate(expressions: list[str], write: int) -> None:
    """Run the expressions one after another in one name space; write one JSON line each: [is_error, text, printed]."""
    import io

    names: dict[str, object] = {"__name__": "__sandbox__", "__builtins__": __builtins__}
    names.update((name, sys.modules[name]) for name in PRELOADED)
    for expression in expressions:
        printed = io.StringIO()
        sys.stdout = sys.stderr = printed
        try:
            tree = ast.parse(expression)
            value: object = None
            last = tree.body[-1] if tree.body else None
            if isinstance(last, ast.Expr):
                tree.body.pop()
            exec(compile(tree, "<code>", "exec"), names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), "<code>", "eval"), names)
            answer = (False, repr(value), printed.getvalue())
        except MemoryError:
            answer = (True, "MemoryError: out of the memory allowed here", "")
        except BaseException as error:
            try:
                answer = (True, f"{type(error).__name__}: {error}", printed.getvalue()[:1000])
            except BaseException:
                answer = (True, "an error that cannot be shown", "")
        try:
            line = json.dumps([answer[0], answer[1][:20000], answer[2][:20000]]).encode() + b"\n"
        except BaseException as error:
            line = json.dumps([True, f"{type(error).__name__} while writing the result", ""]).encode() + b"\n"
        while line:
            line = line[os.write(write, line) :]


def serve_one(
    request: dict[str, object], libc: ctypes.CDLL, confined: bool, call_filter: bytes, hooked: bool, scratch: str
) -> dict[str, object]:
    """Fork, run, collect within the wall-clock limit, and leave nothing of it behind."""
    limits: dict[str, int] = request["limits"]  # type: ignore[assignment]
    expressions: list[str] = request["expressions"]  # type: ignore[assignment]
    read, write = os.pipe()
    lifeline, held = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            os.close(read)
            os.close(held)
            run_child(expressions, limits, libc, confined, call_filter, hooked, scratch, write, lifeline)
        finally:
            os._exit(0)
    os.close(write)
    os.close(lifeline)
    received, why = collect(read, limits, len(expressions))
    os.close(held)  # the middle process ends the first one, and the kernel the rest of its namespace
    if not confined:
        try:
            os.killpg(middle, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    os.close(read)
    os.waitpid(middle, 0)
    clean(scratch)
    return {"lines": received.decode("utf-8", "replace").splitlines(), "why": why}


def run_child(
    expressions: list[str],
    limits: dict[str, int],
    libc: ctypes.CDLL,
    confined: bool,
    call_filter: bytes,
    hooked: bool,
    scratch: str,
    write: int,
    lifeline: int,
) -> None:
    """In the forked child: leave the zygote's session, become the first process of a new namespace, shed every right, run."""
    os.setsid()
    if confined:
        check(libc.unshare(CLONE_NEWPID), "unshare pid")
        first = os.fork()
        if first:
            os.close(write)
            while not select.select([lifeline], [], [], 0.5)[0]:
                if os.waitpid(first, os.WNOHANG)[0]:
                    return
            os.kill(first, signal.SIGKILL)
            os.waitpid(first, 0)
            return
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for descriptor in (0, 1, 2, lifeline):
        os.close(descriptor)
    for _ in range(3):  # so that no file that is opened later becomes a standard stream
        if os.path.exists("/dev/null"):
            os.open("/dev/null", os.O_RDWR)
        else:
            os.dup(write)
    drop_privileges(libc)
    limit(limits)
    if call_filter:
        refuse_calls(libc, call_filter)
    if hooked:
        watch(scratch)
    evaluate(expressions, write)


def collect(read: int, limits: dict[str, int], wanted: int) -> tuple[bytes, str]:
    """The result lines that come within the limits, and why there are no more."""
    deadline = time.monotonic() + limits["wall_s"]
    received = b""
    while received.count(b"\n") < wanted:
        left = deadline - time.monotonic()
        if left <= 0:
            return received, f"no result within {limits['wall_s']} s"
        if select.select([read], [], [], left)[0]:
            data = os.read(read, 65536)
            if not data:
                return received, ""
            received += data
            if len(received) > limits["output_bytes"]:
                return received, "too much output"
    return received, ""


def clean(folder: str) -> None:
    """Empty the scratch folder between calls."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            clean(path)
            os.rmdir(path)
        else:
            os.unlink(path)


def main() -> None:
    settings = json.loads(sys.argv[1])
    sys.stdin.close()
    libc = ctypes.CDLL(None, use_errno=True)
    for name in PRELOADED:
        __import__(name)
    confined, why = False, "not asked for"
    scratch = settings["scratch"]
    if settings["namespaces"]:
        try:
            shut_in(libc, scratch)
            confined, why, scratch = True, "", "/scratch"
        except OSError as error:
            why = str(error)
    os.chdir(scratch)
    call_filter = bytes.fromhex(settings["call_filter"])
    if call_filter and not installable(libc, call_filter):
        call_filter = b""
    requests = b""
    ready = {"confined": confined, "why": why, "filtered": bool(call_filter), "python": sys.version.split()[0]}
    os.write(1, json.dumps(ready).encode() + b"\n")
    while True:
        while b"\n" not in requests:
            data = os.read(0, 65536)
            if not data:
                return
            requests += data
        line, _, requests = requests.partition(b"\n")
        answer = serve_one(json.loads(line), libc, confined, call_filter, settings["audit_hook"], scratch)
        os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
