"""What `supervised` promises about an ordinary command: its status, its output, its limits, and where it may be used."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from millrace.processes import containment, kernel
from millrace.processes.guard_launch import whole_lines
from millrace.processes.log_pump import LogPump
from millrace.processes.supervised import Limits, SupervisedProcess, supervised
from millrace.training.launch import loopback_interface
from millrace.training.programs import MEET_ON_LOOPBACK

ROOT = str(Path(__file__).resolve().parents[2])
PYTHON = [sys.executable, "-I", "-S", "-c"]


def run(command: list[str], limit_s: float = 60.0, **options) -> SupervisedProcess:
    with supervised(command, **options) as process:
        process.wait(limit_s)
    return process


def wait_for(condition, limit_s: float = 60.0, saying: object = "") -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"waited too long {saying}"
        time.sleep(0.01)


@pytest.mark.parametrize("code", [0, 1, 3, 137, 255])
def test_the_exit_code_is_the_commands_own(code):
    assert run(["sh", "-c", f"exit {code}"]).poll() == code


def test_death_by_a_signal_is_told_as_its_negative_number():
    assert run(["sh", "-c", "kill -SEGV $$"]).poll() == -signal.SIGSEGV


def test_the_exit_code_is_told_in_every_mode(mode):
    name, _, cgroup = mode.partition("+")
    process = run(["sh", "-c", "exit 7"], containment_mode=name, cgroup=bool(cgroup))
    assert process.poll() == 7
    assert name in process.containment.name
    assert process.containment.guarantee


def test_a_command_that_is_not_there_is_a_file_not_found_error_naming_it():
    with pytest.raises(FileNotFoundError, match="no-such-program"), supervised(["no-such-program"]):
        pytest.fail("the block must not be entered")


def test_a_working_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), supervised(["true"], cwd=tmp_path / "nowhere"):
        pytest.fail("the block must not be entered")


def test_a_file_that_may_not_be_executed_is_a_permission_error(tmp_path):
    (tmp_path / "script").write_text("echo no")
    with pytest.raises(PermissionError), supervised([str(tmp_path / "script")]):
        pytest.fail("the block must not be entered")


def test_a_string_is_not_a_command():
    with pytest.raises(ValueError, match="list"), supervised("echo hi"):  # type: ignore[arg-type]
        pytest.fail("the block must not be entered")


def test_the_environment_and_directory_are_those_given(tmp_path):
    lines: list[str] = []
    run(
        ["sh", "-c", 'echo "$NAME $(pwd) ${HOME-none}"'],
        env={"NAME": "wörld", "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        on_line=lines.append,
    )
    assert lines == [f"wörld {tmp_path} none"]


def test_stdin_is_empty():
    lines: list[str] = []
    run(["sh", "-c", "cat; echo done"], on_line=lines.append)
    assert lines == ["done"]


def test_no_descriptor_but_the_standard_three_reaches_the_command():
    lines: list[str] = []
    run([*PYTHON, "import os; print(sorted(os.listdir('/proc/self/fd')))"], on_line=lines.append)
    assert lines == ["['0', '1', '2', '3']"]  # 3 is the listing itself


def test_signals_are_at_their_defaults_in_the_command():
    lines: list[str] = []
    run(["grep", "-E", "SigIgn|SigBlk", "/proc/self/status"], on_line=lines.append)
    # Bit 31 is signal 32, which the C library keeps for itself and lets no program set; what started the tests may ignore it.
    assert [int(line.split()[1], 16) & ~(1 << 31) for line in lines] == [0, 0]


def test_a_command_finds_itself_in_proc(mode):
    name, _, cgroup = mode.partition("+")
    lines: list[str] = []
    process = run(
        [*PYTHON, "import os; print(os.getpid() == int(os.readlink('/proc/self')))"],
        on_line=lines.append,
        containment_mode=name,
        cgroup=bool(cgroup),
    )
    assert lines == ["True"]
    assert process.poll() == 0


def test_the_pid_is_the_one_we_can_use_outside(mode):
    name, _, cgroup = mode.partition("+")
    with supervised(["sleep", "987654"], containment_mode=name, cgroup=bool(cgroup)) as process:
        assert b"987654" in Path(f"/proc/{process.pid}/cmdline").read_bytes()


def test_a_clean_end_within_the_grace_time_is_not_a_kill(tmp_path):
    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(143)); print('up', flush=True); time.sleep(60)"
    up = threading.Event()
    with supervised([*PYTHON, code], on_line=lambda _: up.set(), grace_s=30) as process:
        assert up.wait(60)
    assert process.poll() == 143
    assert process.ending.stopped
    assert not process.ending.killed


def test_a_command_that_ignores_term_is_killed_after_the_grace_time():
    up = threading.Event()
    with supervised(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"], on_line=lambda _: up.set()) as process:
        assert up.wait(60)
        began = time.monotonic()
        assert process.stop(grace_s=0.4) == -signal.SIGKILL
        assert time.monotonic() - began >= 0.4
    assert process.ending.killed


def test_children_keep_the_grace_time_when_the_command_itself_ends_at_once(tmp_path, mode):
    name, _, cgroup = mode.partition("+")
    saver = (
        "import os, signal, time\n"
        "def save(*_): time.sleep(0.3); os.write(1, b'saved\\n'); os._exit(0)\n"
        "signal.signal(15, save); os.write(1, b'up\\n'); time.sleep(60)"
    )
    lines: list[str] = []
    with supervised(
        ["bash", "-c", '"$@" & wait', "bash", *PYTHON, saver],
        on_line=lines.append,
        grace_s=30,
        containment_mode=name,
        cgroup=bool(cgroup),
    ) as process:
        wait_for(lambda: "up" in lines)
    assert lines == ["up", "saved"]
    assert not process.ending.killed


def test_a_daemon_ends_with_the_command_that_left_it(witness, nasty):
    with supervised(["bash", "-c", '"$@" & sleep 0.5', "bash", *nasty]) as process:
        assert process.wait(60) == 0
    assert witness.seconds_until_all_dead() is not None


def test_an_exception_in_the_block_ends_the_command(witness, nasty):
    def work() -> None:
        with supervised(nasty, grace_s=0.0):
            witness.wait_for_ready(4)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert witness.seconds_until_all_dead() is not None


def test_a_command_outlives_the_thread_that_started_it():
    held = []

    def start() -> None:
        block = supervised(["sleep", "60"])
        held.append((block, block.__enter__()))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    block, process = held[0]
    assert process.wait(0.3) is None
    block.__exit__(None, None, None)
    assert process.poll() == -signal.SIGTERM


def _run_in_a_daemonic_process(queue) -> None:
    queue.put(run(["sh", "-c", "exit 5"]).poll())


def test_it_works_in_a_daemonic_process_as_dask_workers_are():
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    worker = context.Process(target=_run_in_a_daemonic_process, args=(queue,), daemon=True)
    worker.start()
    assert queue.get() == 5
    worker.join()


def test_a_supervised_command_can_supervise(mode):
    name, _, cgroup = mode.partition("+")
    code = (
        f"import sys; sys.path.insert(0, {ROOT!r})\n"
        "from millrace.processes.supervised import supervised\n"
        "from millrace.processes import janitor\n"
        "with supervised(['sh', '-c', 'exit 4']) as process:\n"
        "    janitor.sweep()\n"
        "    print(process.wait(60), process.pid > 0)\n"
    )
    lines: list[str] = []
    run([sys.executable, "-I", "-c", code], on_line=lines.append, containment_mode=name, cgroup=bool(cgroup))
    assert lines == ["4 True"]


@pytest.mark.parametrize("how", ["in_the_block", "at_exit"])
def test_a_supervisor_interrupted_by_ctrl_c_leaves_nothing(how, witness, nasty):
    code = (
        f"import sys, time; sys.path.insert(0, {ROOT!r})\n"
        "from millrace.processes.supervised import supervised\n"
        "block = supervised(sys.argv[1:], grace_s=0.1)\n"
        + ("with block: time.sleep(600)\n" if how == "in_the_block" else "block.__enter__(); time.sleep(600)\n")
    )
    supervisor = subprocess.Popen([sys.executable, "-I", "-c", code, *nasty], stderr=subprocess.DEVNULL)
    witness.wait_for_ready(4)
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(60) != 0
    assert witness.seconds_until_all_dead() is not None


def test_a_paused_command_uses_no_cpu_and_goes_on_when_resumed(mode):
    name, _, cgroup = mode.partition("+")
    lines: list[str] = []
    command = ["bash", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done"]
    with supervised(command, on_line=lines.append, containment_mode=name, cgroup=bool(cgroup)) as process:
        wait_for(lambda: len(lines) > 3)
        process.pause()
        wait_for(lambda: kernel.read_stat(process.pid).state == "T")
        time.sleep(0.1)
        seen = len(lines)
        time.sleep(0.3)
        assert len(lines) == seen
        process.resume()
        wait_for(lambda: len(lines) > seen)
        process.pause()
    assert process.poll() == -signal.SIGTERM  # a paused command can still be stopped in an orderly way


def test_the_cpu_time_of_ended_grandchildren_is_counted(mode):
    name, _, cgroup = mode.partition("+")
    burn = "import time\nwhile time.process_time() < 0.4: pass"
    command = ["bash", "-c", 'for i in 1 2; do "$@"; done; echo burnt; sleep 60', "bash", *PYTHON, burn]
    lines: list[str] = []
    with supervised(command, on_line=lines.append, containment_mode=name, cgroup=bool(cgroup)) as process:
        wait_for(lambda: "burnt" in lines)
        assert 0.7 < process.usage().cpu_s < 2.0
        assert process.usage().rss_bytes > 0
    assert 0.7 < process.ending.cpu_s < 2.0
    assert process.ending.peak_bytes > 1 << 20


def test_nice_and_cpus_are_those_asked_for():
    lines: list[str] = []
    cpu = min(os.sched_getaffinity(0))
    code = "import os; print(os.nice(0), os.sched_getaffinity(0))"
    run([*PYTHON, code], on_line=lines.append, limits=Limits(nice=3, cpu_affinity=(cpu,)))
    assert lines == [f"{os.nice(0) + 3} {{{cpu}}}"]


def test_a_command_over_its_memory_limit_fails_alone_and_the_limit_in_force_is_named():
    process = run([*PYTHON, "held = bytearray(300 << 20); print(len(held))"], limits=Limits(memory_bytes=100 << 20))
    assert process.poll() not in {0, None}
    assert process.containment.memory_limited_by


def test_cpus_are_limited_by_the_file_of_the_cgroup_in_the_kernels_own_words(tmp_path):
    file = tmp_path / "cpu.max"
    for cpus, words in ((0.5, "50000 100000"), (2.25, "225000 100000"), (0.001, "1000 100000")):
        file.write_text("max 100000\n")
        assert containment.limit_cpus(str(tmp_path), cpus) is None
        assert file.read_text().startswith(words)


def test_cpus_that_cannot_be_limited_are_said_with_the_reason_and_no_file_is_made(tmp_path):
    assert containment.limit_cpus(None, 0.5) == "no cgroup can be made here"
    assert containment.limit_cpus(str(tmp_path), 0.5) == "the cgroup has no cpu controller"
    assert list(tmp_path.iterdir()) == []
    process = run([*PYTHON, "pass"], limits=Limits(cpus=0.5), cgroup=False)
    assert process.containment.cpu_limited_by == "none: no cgroup can be made here"
    assert run([*PYTHON, "pass"]).containment.cpu_limited_by is None


def test_a_command_that_may_use_a_fifth_of_a_cpu_uses_no_more():
    busy = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass"
    process = run([*PYTHON, busy], limits=Limits(cpus=0.2))
    limited_by = process.containment.cpu_limited_by
    if limited_by != "cgroup cpu.max (the whole tree)":
        pytest.skip(f"CPUs cannot be limited on this machine: {limited_by}")
    assert process.ending.cpu_s < 0.2 * 2 + 0.3  # two seconds, and what starting costs


def test_a_log_stays_below_its_limit_and_keeps_the_last_lines(tmp_path):
    log = tmp_path / "out.log"
    process = run(["sh", "-c", "seq 1 200000"], log=log, max_log_bytes=100_000)
    assert log.stat().st_size + (tmp_path / "out.log.1").stat().st_size <= 100_000
    assert process.tail().splitlines()[-1] == "200000"
    assert process.ending.log_bytes == 1_288_895


def test_a_log_is_appended_to_by_the_next_command(tmp_path):
    for word in ("first", "second"):
        run(["echo", word], log=tmp_path / "out.log")
    assert (tmp_path / "out.log").read_text() == "first\nsecond\n"


def test_output_that_is_not_utf8_reaches_the_log_unchanged_and_the_listener_replaced(tmp_path):
    lines: list[str] = []
    run(["printf", "caf\\351\\r\\nend"], log=tmp_path / "out.log", on_line=lines.append)
    assert (tmp_path / "out.log").read_bytes() == b"caf\xe9\r\nend"
    assert lines == ["caf\ufffd", "end"]


def test_a_log_that_cannot_be_written_costs_the_log_and_not_the_command():
    process = run(["sh", "-c", "seq 1 100000; exit 2"], log=Path("/dev/full"))
    assert process.poll() == 2
    assert process.ending.log_bytes_lost == 588_895


def test_every_line_has_been_handed_over_when_wait_returns():
    lines: list[str] = []
    with supervised(["seq", "1", "50000"], on_line=lines.append) as process:
        process.wait(60)
        assert lines == [str(number) for number in range(1, 50001)]


def test_a_callback_that_fails_does_not_stall_the_command():
    def fail(_: str) -> None:
        raise ZeroDivisionError

    assert run(["sh", "-c", "seq 1 500000; exit 9"], on_line=fail).poll() == 9


def test_torchrun_with_two_ranks_works_inside_and_is_gone_after_a_stop(tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, time, torch, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "one = torch.ones(1)\n"
        "dist.all_reduce(one)\n"
        # One write for the whole line: both ranks share a pipe, and unbuffered `print` writes the line's end by itself.
        "os.write(1, f'sum {int(one.item())}\\n'.encode())\n"
        "time.sleep(600)\n"
    )
    lines: list[str] = []
    torchrun = [sys.executable, "-m", "torch.distributed.run", *MEET_ON_LOOPBACK, "--nproc-per-node=2", str(worker)]
    env = os.environ | ({"GLOO_SOCKET_IFNAME": loopback} if (loopback := loopback_interface()) else {})
    with supervised(torchrun, on_line=lines.append, grace_s=20.0, env=env) as process:
        wait_for(lambda: lines.count("sum 2") == 2, limit_s=150, saying=lines)
        ranks = [stat for stat in kernel.descendants(process.pid) if stat.state != "Z"]
        assert len(ranks) >= 2
    assert process.ending.leftover == []
    assert all(kernel.read_stat(rank.pid) is None for rank in ranks)


def test_what_a_command_left_behind_when_it_ended_by_itself_is_counted(mode):
    leaves = ["sh", "-c", "sleep 60 & sleep 60 & exit 0"]
    with supervised(leaves, containment_mode=mode.partition("+")[0], cgroup="+" in mode, grace_s=0.0) as process:
        assert process.wait(30) == 0
    assert process.ending.outlived == 2
    with supervised(["sh", "-c", "exit 0"], containment_mode=mode.partition("+")[0]) as process:
        assert process.wait(30) == 0
    assert process.ending.outlived == 0


@pytest.mark.parametrize("delay_s", [0.005, 5.0])
def test_a_line_that_follows_another_one_waits_no_longer_than_asked(delay_s, tmp_path):
    """The guard wakes up for a line at once or after the delay: a time that is taken when a line arrives is that sharp."""
    source, end = os.pipe()
    pump = LogPump(source, str(tmp_path / "log"), 1 << 20, None, delay_s)
    before = time.monotonic()
    os.write(end, b"epoch 1\n")
    assert pump.read()
    assert before + delay_s <= pump.resume_at <= time.monotonic() + delay_s
    assert pump.wants_input() == (pump.resume_at <= time.monotonic())
    os.close(end)
    os.close(source)


def test_a_carriage_return_ends_a_line_as_a_progress_bar_draws_it():
    code = "import sys, time\nfor part in ('10 %\\r', '20 %\\r', 'done\\r\\n', 'bye'): sys.stdout.write(part); sys.stdout.flush()"
    lines: list[str] = []
    with supervised([sys.executable, "-c", code], on_line=lines.append) as process:
        process.wait(60)
    assert lines == ["10 %", "20 %", "done", "bye"]


def test_lines_are_the_same_however_their_bytes_come_in_pieces():
    text = b"one\r\ntwo\n\r\nthree\rfour\r\r\nfive\r"
    for size in range(1, len(text) + 1):
        lines: list[bytes] = []
        rest = b""
        for start in range(0, len(text), size):
            ended, rest = whole_lines(rest + text[start : start + size])
            lines += ended
        assert [*lines, rest] == [b"one", b"two", b"", b"three", b"four", b"", b"five\r"], size
