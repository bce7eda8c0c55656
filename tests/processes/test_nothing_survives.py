"""The chaos suite: whatever is killed, in whatever order, nothing of a supervised tree is left. The witness FIFO is the judge."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from millrace.processes import containment, janitor, kernel
from millrace.processes.supervised import supervised

pytestmark = pytest.mark.chaos

ROOT = Path(__file__).resolve().parents[2]
CYCLES = int(os.environ.get("MILLRACE_CHAOS_CYCLES", "40"))
"""200 is the proof of a release."""
KILLS = max(CYCLES // 20, 1)
"""Rounds of each way of killing, in each cage."""
NASTY_PROCESSES = 4


def start_supervisor(mode: str, command: list[str], python: str = sys.executable, root: Path = ROOT, user: int | None = None):
    """A supervisor in a process of its own, and the pids of its guards."""
    supervisor = subprocess.Popen(
        [python, "-I", str(Path(__file__).parent / "programs" / "supervisor.py"), str(root), mode, *command],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        user=user,
    )
    return supervisor, json.loads(supervisor.stdout.readline())


def kill_and_reap(supervisor: subprocess.Popen, pids: list[int], number: int = signal.SIGKILL) -> None:
    for pid in pids:
        os.kill(pid, number)
    if number == signal.SIGKILL and supervisor.pid in pids:
        supervisor.wait()


def wait_for_death(*pids: int) -> None:
    while any((stat := kernel.read_stat(pid)) and stat.state not in "ZX" for pid in pids):
        time.sleep(0.005)


def finish(supervisor: subprocess.Popen) -> None:
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()


@pytest.mark.timeout(600)
def test_no_process_survives_a_stop(mode, nasty, witness):
    name, _, cgroup = mode.partition("+")
    cycles = CYCLES if not cgroup else CYCLES // 4  # the cgroup comes on top: the bare cages have to hold by themselves
    for cycle in range(cycles):
        with supervised(nasty, grace_s=0.0, containment_mode=name, cgroup=bool(cgroup)) as process:
            witness.wait_for_ready(NASTY_PROCESSES)
        assert witness.seconds_until_all_dead() is not None, f"survivors in cycle {cycle}"
        assert process.poll() == -signal.SIGKILL
        assert process.ending.leftover == []


@pytest.mark.parametrize(
    "victims",
    [("supervisor",), ("guard",), ("inner",), ("guard", "supervisor"), ("supervisor", "guard"), ("inner", "supervisor")],
    ids="+".join,
)
def test_no_process_survives_the_sigkill_of(victims, mode, nasty, witness):
    for _ in range(KILLS):
        supervisor, pids = start_supervisor(mode, nasty)
        witness.wait_for_ready(NASTY_PROCESSES)
        pids["supervisor"] = supervisor.pid
        kill_and_reap(supervisor, [pids[victim] for victim in victims])
        survived = witness.seconds_until_all_dead() is None
        finish(supervisor)
        assert not survived


def test_no_process_survives_when_a_guard_is_stopped_before_its_supervisor_is_killed(mode, nasty, witness):
    for _ in range(KILLS):
        supervisor, pids = start_supervisor(mode, nasty)
        witness.wait_for_ready(NASTY_PROCESSES)
        os.kill(pids["guard"], signal.SIGSTOP)
        kill_and_reap(supervisor, [supervisor.pid])
        dead = witness.seconds_until_all_dead()
        os.kill(pids["guard"], signal.SIGKILL)
        finish(supervisor)
        assert dead is not None


@pytest.mark.parametrize("stopped", [("guard", "inner"), ("inner", "guard"), ("inner",)], ids="+".join)
def test_no_process_survives_when_guards_are_stopped_before_their_supervisor_is_killed(stopped, mode, nasty, witness):
    for _ in range(KILLS):
        supervisor, pids = start_supervisor(mode, nasty)
        witness.wait_for_ready(NASTY_PROCESSES)
        for name in stopped:
            os.kill(pids[name], signal.SIGSTOP)
        kill_and_reap(supervisor, [supervisor.pid])
        dead = witness.seconds_until_all_dead()
        for name in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[name], signal.SIGKILL)
        finish(supervisor)
        assert dead is not None


def test_both_guards_and_the_supervisor_killed_at_once_leave_only_what_the_janitor_removes(mode, nasty, witness):
    for _ in range(KILLS):
        supervisor, pids = start_supervisor(mode, nasty)
        witness.wait_for_ready(NASTY_PROCESSES)
        # Stopped first, so that none of the three can do anything about the death of another.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            kill_and_reap(supervisor, [pids["guard"], pids["inner"], supervisor.pid], number)
        wait_for_death(pids["guard"], pids["inner"])  # as at the next start; a dying guard still counts as a living one
        if mode.startswith("subreaper"):
            janitor.sweep()
        dead = witness.seconds_until_all_dead()
        finish(supervisor)
        assert dead is not None


def test_both_guards_killed_under_a_living_supervisor_leave_nothing(mode, nasty, witness):
    name, _, cgroup = mode.partition("+")
    for _ in range(KILLS):
        with supervised(nasty, grace_s=0.0, containment_mode=name, cgroup=bool(cgroup)) as process:
            witness.wait_for_ready(NASTY_PROCESSES)
            for number in (signal.SIGSTOP, signal.SIGKILL):
                os.kill(process.guard_pid, number)
                os.kill(process._inner, number)
            assert process.wait(30) == -signal.SIGKILL
            assert process.ending.guard_lost
        assert witness.seconds_until_all_dead() is not None


def test_the_janitor_leaves_trees_with_a_living_guard_alone(mode, nasty, witness):
    name, _, cgroup = mode.partition("+")
    with supervised(nasty, grace_s=0.0, containment_mode=name, cgroup=bool(cgroup)) as process:
        witness.wait_for_ready(NASTY_PROCESSES)
        janitor.sweep()
        assert process.wait(0.3) is None
        assert process.usage().processes >= NASTY_PROCESSES
    assert witness.seconds_until_all_dead() is not None


def test_a_cgroup_is_gone_when_its_command_is(modes_here):
    if modes_here["cgroup"] is not None:
        pytest.skip(f"no cgroup can be made on this machine: {modes_here['cgroup']}")
    with supervised(["sleep", "60"]) as process:
        token = process._token
        assert any(folder.name.endswith(token) for folder in Path(containment.cgroup_folder()).iterdir())
    assert not any(folder.name.endswith(token) for folder in Path(containment.cgroup_folder()).iterdir())


def _python_for_nobody() -> str | None:
    for candidate in ("/usr/bin/python3", "/usr/local/bin/python3", sys.executable):
        command = [candidate, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            if subprocess.run(command, user=65534, group=65534, capture_output=True, check=False).returncode == 0:
                return candidate
        except OSError:
            continue
    return None


@pytest.mark.parametrize("unprivileged_mode", ["auto", "userns", "subreaper"])
def test_no_process_of_an_unprivileged_user_survives_its_supervisor(unprivileged_mode, request, make_witness, modes_here):
    if os.getuid() != 0:
        pytest.skip("the whole suite already runs without privileges")
    if modes_here.get(unprivileged_mode) is not None:
        pytest.skip(f"{unprivileged_mode} cannot be used on this machine: {modes_here[unprivileged_mode]}")
    python = _python_for_nobody()
    if python is None:
        pytest.skip("no Python 3.11 that the user nobody may execute")
    # A copy that `nobody` may read, wherever the checkout and pytest's own folders lie.
    open_folder = Path(tempfile.mkdtemp())
    request.addfinalizer(lambda: shutil.rmtree(open_folder))
    open_folder.chmod(0o755)
    witness = make_witness(open_folder / "witness")
    shutil.copytree(ROOT / "millrace" / "processes", open_folder / "copy" / "millrace" / "processes")
    for name in ("__init__.py", "errors.py"):
        shutil.copy(ROOT / "millrace" / name, open_folder / "copy" / "millrace" / name)
    programs = shutil.copytree(Path(__file__).parent / "programs", open_folder / "programs")
    nasty = [python, "-I", "-S", str(programs / "nasty.py"), str(witness.path)]
    for victims in (("supervisor",), ("guard",), ("guard", "supervisor"), ("inner",)) * 5:
        supervisor = subprocess.Popen(
            [python, "-I", str(programs / "supervisor.py"), str(open_folder / "copy"), unprivileged_mode, *nasty],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            user=65534,
            group=65534,
            extra_groups=[],
            cwd="/",
        )
        pids = json.loads(supervisor.stdout.readline())
        assert pids["mode"] != "pidns"
        witness.wait_for_ready(NASTY_PROCESSES)
        pids["supervisor"] = supervisor.pid
        kill_and_reap(supervisor, [pids[victim] for victim in victims])
        dead = witness.seconds_until_all_dead()
        finish(supervisor)
        assert dead is not None


def test_the_witness_sees_what_a_plain_killpg_leaves_behind(nasty, witness):
    """The control: without it, "no survivors" could mean that the judge is blind."""
    group_of_its_own = ["bash", "-c", 'set -m; "$@" & sleep 60; true', "bash", *nasty]
    with supervised(group_of_its_own, grace_s=0.0) as process:
        witness.wait_for_ready(NASTY_PROCESSES)
        leader = next(stat.pid for stat in kernel.descendants(process.pid) if os.getpgid(stat.pid) == stat.pid)
        os.killpg(leader, signal.SIGKILL)
        assert witness.seconds_until_all_dead(limit_s=0.3) is None
    assert witness.seconds_until_all_dead() is not None


def test_a_signal_is_never_sent_to_another_process_that_got_the_pid():
    with supervised(["sleep", "60"]) as process:
        stat = kernel.read_stat(process.pid)
        assert not kernel.send_signal(stat._replace(start_ticks=stat.start_ticks - 1), signal.SIGKILL)
        assert process.wait(0.2) is None
        assert kernel.send_signal(stat, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
