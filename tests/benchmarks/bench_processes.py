"""What supervision costs, and how fast it ends things: against a bare Popen and a plain killpg, in turn in one process.

    python -m tests.benchmarks.bench_processes --cycles 200

`start` is from the call until all four processes of the nasty background are up; its floor is the same with a bare Popen.
`dead` is from the stop (no grace time) until the last holder of the witness FIFO is dead. `guards` are the two guard processes of
one command that does nothing for the time given, and of one that prints 1,000 lines a second; PSS counts shared pages by shares.
The background and the witness are those of tests/processes.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from millrace.processes import janitor, kernel
from millrace.processes.supervised import available_containment, supervised

PRINTING = """
import sys, time
while True:
    sys.stdout.write('a line of forty characters, or nearly so\\n' * 10)
    sys.stdout.flush()
    time.sleep(0.01)
"""
NASTY = Path(__file__).parent.parent / "processes" / "programs" / "nasty.py"


class Witness:
    """The FIFO that tells when processes are up and when the last one is dead."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "witness"
        os.mkfifo(self.path)
        self.end = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def ready(self, count: int = 4) -> None:
        while count > 0:
            try:
                data = os.read(self.end, 100)
            except BlockingIOError:
                data = b""
            count -= len(data)
            if not data:
                time.sleep(0.0005)

    def dead(self, limit_s: float = 10.0) -> float | None:
        began = time.perf_counter()
        poll = select.poll()
        poll.register(self.end, 0)
        while time.perf_counter() - began < limit_s:
            if any(event & select.POLLHUP for _, event in poll.poll(50)):
                return time.perf_counter() - began
        return None


def supervised_cycle(witness: Witness, mode: str, cgroup: bool) -> tuple[float, float | None, float]:
    command = [sys.executable, "-I", "-S", str(NASTY), str(witness.path)]
    began = time.perf_counter()
    with supervised(command, grace_s=0.0, containment_mode=mode, cgroup=cgroup) as process:
        witness.ready()
        up = time.perf_counter() - began
        asked = time.perf_counter()
        process._tell("stop 0\n")
        dead = witness.dead()
        dead = None if dead is None else time.perf_counter() - asked
        process.wait(10)
        reaped = time.perf_counter() - asked
    return up, dead, reaped


def killpg_cycle(witness: Witness) -> tuple[float, float | None, float]:
    """The peer: a bare Popen in a session of its own, ended by killpg. What survives is swept by supervising the whole thing."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-I", "-S", str(NASTY), str(witness.path)], start_new_session=True)
    witness.ready()
    up = time.perf_counter() - began
    asked = time.perf_counter()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    reaped = time.perf_counter() - asked
    return up, witness.dead(limit_s=0.05), reaped


def killpg_cycles(cycles: int) -> None:
    """Runs inside a cage (see main), because its survivors would otherwise be left on the machine."""
    survivors, ups = 0, []
    for _ in range(cycles):
        with tempfile.TemporaryDirectory() as folder:
            witness = Witness(Path(folder))
            up, dead, _ = killpg_cycle(witness)
            survivors += dead is None
            ups.append(up)
            os.close(witness.end)
    print(f"{'killpg':18} start {ms(ups)}   cycles with survivors: {survivors} of {cycles}")


def ms(values: list[float]) -> str:
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return f"median {1000 * statistics.median(values):6.1f}  p95 {1000 * p95:6.1f}  max {1000 * max(values):6.1f} ms"


def pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def own_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def guard_cost(mode: str, seconds: float, command: list[str], log: Path) -> str:
    with supervised(command, containment_mode=mode, log=log) as process:
        time.sleep(1.0)
        pids = [process.guard_pid, process._inner]
        before = sum(map(own_ticks, pids))
        own_before = time.process_time()
        time.sleep(seconds)
        ticks = sum(map(own_ticks, pids)) - before
        ours = time.process_time() - own_before
        memory = sum(map(pss_kib, pids))
    share = 100 * ticks / kernel.TICKS_PER_S / seconds
    ours_share = 100 * ours / seconds
    return f"guards {share:5.2f} % of a core, supervisor {ours_share:5.2f} %, {memory / 1024:4.1f} MiB (PSS of both guards)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--idle-s", type=float, default=10.0)
    parser.add_argument("--killpg-only", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.killpg_only:
        killpg_cycles(options.killpg_only)
        return
    reasons = available_containment()
    modes: list[tuple[str, bool]] = [(mode, False) for mode in ("pidns", "userns", "subreaper") if reasons[mode] is None]
    if reasons["cgroup"] is None:
        modes.append((modes[0][0], True))
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {options.cycles} cycles each, in turn\n")
    names: dict[tuple[str, bool], str] = {(mode, cgroup): f"{'cgroup+' if cgroup else ''}{mode}" for mode, cgroup in modes}
    found: dict[str, list[tuple[float, float | None, float]]] = {name: [] for name in names.values()}
    for _ in range(options.cycles):
        for (mode, cgroup), name in names.items():
            with tempfile.TemporaryDirectory() as folder:
                witness = Witness(Path(folder))
                found[name].append(supervised_cycle(witness, mode, cgroup))
                os.close(witness.end)
    for name, rows in found.items():
        dead = [row[1] for row in rows if row[1] is not None]
        print(f"{name:18} start {ms([row[0] for row in rows])}   survivors in {len(rows) - len(dead)} of {len(rows)} cycles")
        print(f"{'':18} dead  {ms(dead)}")
        print(f"{'':18} reaped{ms([row[2] for row in rows])}")
    floor: list[float] = []
    lines: Callable[[str], None] = lambda line: print(line) if line.strip() else None  # noqa: E731
    again = [sys.executable, "-m", "tests.benchmarks.bench_processes", "--killpg-only", str(min(options.cycles, 50))]
    with supervised(again, on_line=lines, grace_s=1.0) as process:
        process.wait(600)
    for _ in range(min(options.cycles, 50)):
        began = time.perf_counter()
        subprocess.run(["true"], check=True)
        floor.append(time.perf_counter() - began)
    whole = []
    for _ in range(min(options.cycles, 50)):
        began = time.perf_counter()
        with supervised(["true"]) as process:
            process.wait(60)
        whole.append(time.perf_counter() - began)
    print(f"\n{'true, bare':18}       {ms(floor)}\n{'true, supervised':18}       {ms(whole)}\n")
    with tempfile.TemporaryDirectory() as folder:
        for (mode, cgroup), name in names.items():
            if cgroup:
                continue
            log = Path(folder) / "log"
            idle = guard_cost(mode, options.idle_s, ["sleep", "3600"], log)
            busy = guard_cost(mode, options.idle_s, [sys.executable, "-c", PRINTING], log)
            print(f"{name:18} idle:          {idle}\n{'':18} 1,000 lines/s: {busy}")
    began = time.perf_counter()
    janitor.sweep()
    print(f"\njanitor: one sweep over {len(kernel.all_pids())} processes {1000 * (time.perf_counter() - began):.1f} ms")


if __name__ == "__main__":
    main()
