"""Worker processes without Dask: what dies costs only itself, and nothing outlives its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest

from millrace.errors import RunFailed
from millrace.run.pool import TRIES, WorkerPool
from millrace.run.timeline import Timed

ROOT = Path(__file__).parents[2]


def die_at(number: int, folder: Path, victim: int) -> int:
    with (folder / f"{number}").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if number == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once(number: int, folder: Path) -> int:
    first = not (folder / "died").exists()
    (folder / "died").touch()
    if first:
        os._exit(1)
    return number


def threads(number: int) -> tuple[int, str]:
    return len(list(Path(f"/proc/{os.getppid()}/task").iterdir())), os.environ["OMP_NUM_THREADS"]


def unpicklable(number: int) -> object:
    return lambda: number


class TwoArguments(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def fail_in_a_strange_way(number: int) -> int:
    raise TwoArguments("this", "that")


def work_for_long(number: int, folder: Path) -> None:
    (folder / f"{number}").write_text(str(os.getpid()))
    time.sleep(600)


def test_a_shard_that_kills_its_workers_fails_alone_after_its_tries(tmp_path: Path) -> None:
    with WorkerPool(2) as pool:
        found = dict(pool.map(die_at, [(number, tmp_path, 2) for number in range(6)]))
    assert isinstance(found.pop(2), BrokenProcessPool)
    assert {place: one.value for place, one in found.items() if isinstance(one, Timed)} == {0: 0, 1: 1, 3: 3, 4: 4, 5: 5}
    tried = {number: len((tmp_path / str(number)).read_text().split()) for number in range(6)}
    assert tried == {0: 1, 1: 1, 2: TRIES, 3: 1, 4: 1, 5: 1}, "no neighbour is begun twice"


def hang_at(number: int, folder: Path, victim: int) -> int:
    (folder / f"{number}").write_text(str(os.getpid()))
    if number == victim:
        sum(range(10**12))  # one call into C, which no exception in Python ends
    return number


def test_a_shard_past_its_limit_is_killed_alone_also_in_one_long_call_into_c(tmp_path: Path) -> None:
    with WorkerPool(1) as pool:
        found = dict(pool.map(hang_at, [(number, tmp_path, 1) for number in range(4)], limit_s=1.0))
    late = found.pop(1)
    assert isinstance(late, RunFailed)
    assert "longer than shard_timeout_s = 1 s" in str(late)
    assert {place: one.value for place, one in found.items() if isinstance(one, Timed)} == {0: 0, 2: 2, 3: 3}
    assert not psutil.pid_exists(int((tmp_path / "1").read_text()))


def at_the_same_time(number: int, folder: Path) -> int:
    mark = folder / f"{number}"
    mark.touch()
    time.sleep(0.05)
    together = len(list(folder.iterdir()))
    mark.unlink()
    return together


def test_no_more_shards_are_at_work_at_the_same_time_than_wanted(tmp_path: Path) -> None:
    with WorkerPool(3) as pool:
        outcomes = [outcome for _, outcome in pool.map(at_the_same_time, [(number, tmp_path) for number in range(6)], at_once=1)]
    assert [one.value for one in outcomes if isinstance(one, Timed)] == [1] * 6


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path) -> None:
    with WorkerPool(1) as pool:
        [(_, first)] = pool.map(die_once, [(7, tmp_path)])
    assert isinstance(first, Timed)
    assert first.value == 7


def test_workers_come_of_a_process_with_one_thread_and_compute_with_one() -> None:
    """A fork of a process with threads can hang."""
    with WorkerPool(1) as pool:
        [(_, found)] = pool.map(threads, [(0,)])
    assert isinstance(found, Timed)
    assert found.value == (1, "1")


@pytest.mark.parametrize("function", [unpicklable, fail_in_a_strange_way])
def test_what_cannot_be_pickled_fails_its_shard_and_not_the_worker(function: object) -> None:
    with WorkerPool(1) as pool:
        [(_, found)] = pool.map(function, [(0,)])  # type: ignore[arg-type]
        assert isinstance(found, RunFailed)
        assert len(pool._workers) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_workers_end_with_their_owner_and_with_the_fork_server(tmp_path: Path, number: int) -> None:
    """Killed in any order: the owner alone, or the owner after its fork server was stopped."""
    program = (
        "from pathlib import Path; from millrace.run.pool import WorkerPool; from tests.run.test_pool import work_for_long\n"
        f"list(WorkerPool(2).map(work_for_long, [(n, Path({str(tmp_path)!r})) for n in range(2)]))"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 60
    while len([path for path in tmp_path.iterdir() if path.read_text()]) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [psutil.Process(int(path.read_text())) for path in tmp_path.iterdir()]
    assert len(workers) == 2
    if number == signal.SIGSTOP:
        workers[0].parent().send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
    server = workers[0].parent()
    owner.kill()
    owner.wait()
    _, left = psutil.wait_procs(workers, 5)
    left = [one for one in left if one.status() != psutil.STATUS_ZOMBIE]
    if server is not None and server.is_running():
        server.send_signal(signal.SIGCONT)
    assert not left
