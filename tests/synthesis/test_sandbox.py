"""Hostile code ends as an error observation, in namespaces and without them, and leaves nothing behind."""

# ruff: noqa: E501 - one attack on a line

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from millrace.synthesis.environments import ToolError
from millrace.synthesis.environments.python import call_filter, interpreter
from millrace.synthesis.environments.python.sandbox import CallLimits, Sandbox

LIMITS = CallLimits(wall_s=4, cpu_s=2)

HOSTILE = {
    "fork bomb": "import os\nwhile True: os.fork()",
    "fork bomb by spawning": "import subprocess\nwhile True: subprocess.Popen(['sleep', '100'])",
    "thread bomb": "import threading, time\nts = [threading.Thread(target=time.sleep, args=(99,)) for _ in range(9999)]\n[t.start() for t in ts]",
    "memory bomb": "x = []\nwhile True: x.append(' ' * 10 ** 7)",
    "memory at once": "[0] * 10 ** 11",
    "endless loop": "while True: pass",
    "endless loop that swallows exceptions": "while True:\n try:\n  while True: pass\n except BaseException: pass",
    "deep recursion": "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): return f()\nf()",
    "huge power": "9 ** 9 ** 9 ** 9",
    "write to /etc": "open('/etc/owned', 'w').write('x')",
    "write to /tmp": "open('/tmp/owned', 'w').write('x')",
    "write through a descriptor": "import os\nos.open('/tmp/owned', os.O_CREAT | os.O_WRONLY)",
    "large file": "open('big', 'w').write('x' * 10 ** 8)",
    "read the password file": "open('/etc/passwd').read()",
    "list the root": "import os\nos.listdir('/')",
    "follow a link out": "import os\nos.symlink('/etc', 'way')\nos.listdir('way')",
    "socket": "import socket\nsocket.socket()",
    "name look-up": "import socket\nsocket.getaddrinfo('localhost', 80)",
    "fetch": "import urllib.request\nurllib.request.urlopen('http://127.0.0.1/')",
    "parent's environment": "import os\nopen(f'/proc/{os.getppid()}/environ').read()",
    "environment of process 1": "open('/proc/1/environ').read()",
    "kill": "import os\nos.kill(os.getppid(), 9)",
    "kill all": "import os\nos.kill(-1, 9)",
    "leave at once": "import os\nos._exit(0)",
    "foreign functions": "import ctypes\nctypes.CDLL(None).system(b'id')",
    "shell": "import os\nos.system('id')",
    "the audit hook's own list": "import gc\n[x for x in gc.get_objects() if x == [True]][0].clear()",
    "class walk to os": "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0].__init__.__globals__['system']('id')",
    "raise the limits": "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (99, 99))",
    "a value that lies about itself": "class A:\n def __repr__(self): raise SystemExit\nA()",
    "forge the answer pipe": "import os\nfor n in range(3, 30):\n try: os.write(n, b'[false, \"forged\", \"\"]\\n' * 9)\n except OSError: pass\nos._exit(0)",
}  # fmt: skip


@pytest.fixture(scope="module", params=[True, False], ids=["namespaces", "limits only"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    opened = Sandbox(LIMITS, namespaces=request.param)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "forge the answer pipe"])
def test_hostile_code_ends_as_an_error_observation(sandbox: Sandbox, name: str) -> None:
    before = {child.pid for child in psutil.Process(sandbox.pid).children(recursive=True)}
    observation = interpreter(sandbox).run({"expressions": [HOSTILE[name]]})
    assert observation.status == "error", observation.text
    assert not Path("/etc/owned").exists()
    assert not Path("/tmp/owned").exists()
    again = interpreter(sandbox).run({"expressions": ["1 + 1"]})
    assert again.text.endswith("1 + 1 = 2")
    deadline = time.monotonic() + 20
    while {child.pid for child in psutil.Process(sandbox.pid).children(recursive=True)} - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {child.pid for child in psutil.Process(sandbox.pid).children(recursive=True)} <= before


def test_code_that_writes_into_the_answer_pipe_deceives_only_itself(sandbox: Sandbox) -> None:
    """It can say what it likes about its own value, as any program can; the next call is not touched."""
    interpreter(sandbox).run({"expressions": [HOSTILE["forge the answer pipe"], "2"]})
    assert interpreter(sandbox).run({"expressions": ["6 * 7"]}).text == "Results:\n6 * 7 = 42"


def test_the_environment_of_the_code_is_empty(sandbox: Sandbox) -> None:
    os.environ["MILLRACE_TEST_SECRET"] = "not for you"
    try:
        answer = sandbox.run(["import os\nsorted(os.environ)"])
    finally:
        del os.environ["MILLRACE_TEST_SECRET"]
    assert answer[0][1] in ("[]", "['LC_CTYPE']")


def test_scratch_files_do_not_reach_the_next_call(sandbox: Sandbox) -> None:
    assert sandbox.run(["open('note', 'w').write('x')"])[0][1] == "1"
    assert sandbox.run(["open('note').read()"])[0][0] is True


def test_what_code_prints_is_captured_and_cut(sandbox: Sandbox) -> None:
    _, value, printed = sandbox.run(["print('hello ' * 10000)\n7"])[0]
    assert value == "7"
    assert printed.startswith("hello hello")
    assert len(printed) <= 20_000


def test_namespaces_hold_without_the_audit_hook() -> None:
    """The kernel's walls alone: no host files, no network, no other processes."""
    opened = Sandbox(CallLimits(wall_s=3, cpu_s=2), namespaces=True, audit_hook=False)
    try:
        assert "audit hook" not in opened.isolation
        if "namespaces" not in opened.isolation:
            assert opened.reason  # this kernel grants no namespaces, and the sandbox says so
            return
        code = [
            "import os, socket",
            "sorted(os.listdir('/'))",
            "os.path.exists('/proc/1')",
            "os.getpid()",
            "socket.create_connection(('127.0.0.1', 22), 1)",
            "open('/usr/owned', 'w')",
            "os.mkdir('/new')",
        ]
        results = opened.run(code)
        assert results[2][1] == "False"
        assert results[3][1] == "1"
        assert [error for error, _, _ in results[4:]] == [True, True, True]
        assert "etc" not in results[1][1]
        assert "home" not in results[1][1]
    finally:
        opened.close()


BOMBS = {
    "forks": "import os\nwhile True:\n try: os.fork()\n except OSError: pass",
    "threads": (
        "import _thread, time\n_thread.stack_size(32768)\nstarted = 0\n"
        "for _ in range(3000):\n try:\n  _thread.start_new_thread(time.sleep, (9,))\n  started += 1\n except RuntimeError: pass\n"
        "started"
    ),
    "programs": "import os\nwhile True:\n try: os.posix_spawn('/bin/sleep', ['sleep', '9'], {})\n except OSError: pass",
}


@pytest.mark.parametrize("namespaces", [True, False])
@pytest.mark.parametrize("bomb", BOMBS)
def test_the_kernel_lets_no_bomb_fill_the_process_table(bomb: str, namespaces: bool) -> None:
    """Without the audit hook, which code can get past, and as any user: the process limit alone does not hold for root."""
    opened = Sandbox(CallLimits(wall_s=2, cpu_s=1), namespaces=namespaces, audit_hook=False)
    try:
        assert "call filter" in opened.isolation
        most, over = 0, threading.Event()

        def count() -> None:
            nonlocal most
            while not over.is_set():
                family = [psutil.Process(opened.pid), *psutil.Process(opened.pid).children(recursive=True)]
                with contextlib.suppress(psutil.NoSuchProcess):
                    most = max(most, sum(process.num_threads() for process in family))

        counting = threading.Thread(target=count)
        counting.start()
        try:
            results = opened.run([BOMBS[bomb]])
        except ToolError:
            results = []
        finally:
            over.set()
            counting.join()
        assert results in ([], [(False, "0", "")])
        assert 1 <= most <= 4, "zygote, the one that waits, the call and its name"
        assert opened.run(["5"])[0][1] == "5"
    finally:
        opened.close()


def test_the_kernel_refuses_programs_sockets_and_signals_without_namespaces_too() -> None:
    opened = Sandbox(LIMITS, namespaces=False, audit_hook=False)
    try:
        attempts = [
            "os.execv('/bin/true', ['true'])",
            "socket.socket()",
            "os.kill(os.getppid(), 9)",
            "signal.pthread_kill(threading.main_thread().ident, 9)",
            "os.fork()",
            "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
            "called('shmget', 0, 4096, 0o1600)",
            "called('msgget', 0, 0o1600)",
            "called('semget', 0, 1, 0o1600)",
        ]
        called = (
            "import ctypes, os, resource, signal, socket, threading\n"
            "library = ctypes.CDLL(None, use_errno=True)\n"
            "def called(name, *arguments):\n"
            " if getattr(library, name)(*arguments) < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))"
        )
        results = opened.run([called, *attempts])
        assert [error for error, _, _ in results[1:]] == [True] * len(attempts)
        assert all("Operation not permitted" in text for _, text, _ in results[1:])
    finally:
        opened.close()


@pytest.mark.parametrize("machine", sorted(call_filter.AUDIT_NUMBERS))
def test_every_jump_of_the_filter_ends_in_its_last_two_instructions(machine: str) -> None:
    program = call_filter.filter_program(machine)
    assert program is not None
    instructions = list(struct.iter_unpack("=HBBI", program))
    refusal = len(instructions) - 1
    for place, (code, then, _, value) in enumerate(instructions):
        if code in (call_filter.BPF_JUMP_EQUAL, call_filter.BPF_JUMP_AT_LEAST) and value != call_filter.AUDIT_NUMBERS[machine]:
            assert place + 1 + then == refusal


def test_an_answer_that_is_none_is_an_error_of_the_call() -> None:
    opened = Sandbox(LIMITS, audit_hook=False)
    try:
        for forged in ("b'x\\n'", "b'7\\n'", "b'[' * 100000 + b'\\n'"):
            code = f"import os\nfor n in range(3, 30):\n try: os.write(n, {forged})\n except OSError: pass\nos._exit(0)"
            with pytest.raises(ToolError):
                opened.run([code])
        assert opened.run(["5"])[0][1] == "5"
    finally:
        opened.close()


@pytest.mark.parametrize("namespaces", [True, False])
def test_folders_that_are_too_deep_to_remove_do_not_break_the_sandbox(namespaces: bool) -> None:
    opened = Sandbox(LIMITS, namespaces=namespaces)
    folder = opened._folder
    try:
        with contextlib.suppress(ToolError):
            opened.run(["import os\nfor _ in range(1500):\n os.mkdir('d')\n os.chdir('d')"])
        for _ in range(2):
            with contextlib.suppress(ToolError):
                opened.run(["1"])
        assert opened.run(["5"])[0][1] == "5"
    finally:
        opened.close()
    assert not Path(folder).exists()


def test_a_machine_without_a_filter_is_known_as_such() -> None:
    assert call_filter.filter_program("riscv64") is None


def test_the_sandbox_ends_with_its_owner_even_when_that_is_killed() -> None:
    program = "import time\nfrom millrace.synthesis.environments.python.sandbox import Sandbox\ns = Sandbox()\nprint(s.pid, flush=True)\ntime.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        zygote = int(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while psutil.pid_exists(zygote) and psutil.Process(zygote).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(zygote) or psutil.Process(zygote).status() == psutil.STATUS_ZOMBIE
