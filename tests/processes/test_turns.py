"""How many of a run's workers work at once follows what is measured on the machine, while they work."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from millrace.processes.machine_load import CpuPressure, idle_cores, most_workers, usable_cores
from millrace.processes.turns import Turns


class Machine:
    """A machine whose pressure a test sets."""

    def __init__(self, pressure: float) -> None:
        self.pressure, self.memory_short = pressure, False

    def turns(self, folder: Path, *, most: int = 4, first: int = 4) -> Turns:
        return Turns(
            folder, lambda: self.pressure, most=most, first=first, memory_short=lambda: self.memory_short, every_s=0
        )  # each look measures


async def _in_time(turns: Turns) -> bool:
    try:
        await asyncio.wait_for(turns.wait(), 0.1)
    except TimeoutError:
        return False
    return True


def may_work(turns: Turns) -> bool:
    return asyncio.run(_in_time(turns))


def test_while_the_machine_is_crowded_one_worker_after_the_other_waits_and_the_first_never(tmp_path: Path) -> None:
    machine = Machine(0.9)
    workers = [machine.turns(tmp_path) for _ in range(4)]
    assert [worker.place for worker in workers] == [0, 1, 2, 3]
    at_work = []
    for _ in range(5):
        assert may_work(workers[0])
        at_work.append(sum(may_work(worker) for worker in workers[1:]) + 1)
    assert at_work == [3, 2, 1, 1, 1]


def test_when_the_machine_is_free_again_all_of_them_work(tmp_path: Path) -> None:
    machine = Machine(0.9)
    workers = [machine.turns(tmp_path, first=1) for _ in range(4)]
    assert may_work(workers[0])
    assert not may_work(workers[1])
    machine.pressure = 0.05
    for _ in range(3):
        assert may_work(workers[0])
    assert all(may_work(worker) for worker in workers)
    assert workers[0].width() == 4


def test_pressure_in_between_changes_nothing(tmp_path: Path) -> None:
    worker = Machine(0.35).turns(tmp_path, first=2)
    assert [worker.width() for _ in range(5)] == [2] * 5


def test_fewer_work_where_memory_runs_short(tmp_path: Path) -> None:
    machine = Machine(0.0)
    machine.memory_short = True
    worker = machine.turns(tmp_path)
    assert [worker.width() for _ in range(4)] == [3, 2, 1, 1]


def test_a_worker_that_waits_takes_the_place_of_one_that_is_gone(tmp_path: Path) -> None:
    machine = Machine(0.9)
    first, second = machine.turns(tmp_path, first=1), machine.turns(tmp_path, first=1)
    assert not may_work(second)
    first.close()
    first.close()
    assert may_work(second)
    assert second.place == 0


def test_a_killed_process_leaves_its_place_free(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from millrace.processes.turns import Turns;"
        f"turns = Turns(Path({str(tmp_path)!r})); print(turns.place, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"0\n"
        beside = Machine(0.9).turns(tmp_path, first=1)
        assert beside.place == 1
        process.kill()
        process.wait()
    assert may_work(beside)


def test_pressure_is_what_was_waited_since_the_last_call(tmp_path: Path) -> None:
    source = tmp_path / "cpu"
    source.write_text("some avg10=40.00 avg60=1.00 avg300=1.00 total=1000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
    pressure = CpuPressure(source)
    assert pressure.since_last() == 0.4
    assert pressure.since_last() == 0.0
    source.write_text("some avg10=40.00 avg60=1.00 avg300=1.00 total=9000000000\n")
    assert pressure.since_last() == 1.0


def test_a_machine_without_pressure_is_judged_by_its_load(tmp_path: Path) -> None:
    assert 0.0 <= CpuPressure(tmp_path / "missing").since_last() <= 1.0
    assert 1 <= idle_cores() <= usable_cores()
    assert 1 <= most_workers() <= usable_cores()
