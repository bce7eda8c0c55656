"""A run in this process: what `RunContext.map` and `RunContext.do` promise."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil
import pytest
from msgspec import UNSET, UnsetType

from millrace.config import Settings
from millrace.errors import InputError, RunFailed, UsageError
from millrace.records.summaries import StageSummary
from millrace.run.cluster_settings import ClusterSettings, StageShape
from millrace.run.context import RunContext, Same, per_shard
from millrace.run.folder import RunFolder
from millrace.run.journal import read_json
from millrace.run.local import local_run_in, open_local_run
from millrace.run.stage import Stage


class CountSettings(Settings):
    """How far to count."""

    numbers: int = 5
    """Up to this."""
    target: int = 0
    """What the sum should reach."""


class Counted(StageSummary, frozen=True, kw_only=True):
    SCHEMA: ClassVar[str] = "tests.counted/1"
    sum: int
    found: list[int]
    processes: int
    seconds: float | UnsetType = UNSET
    work_seconds: float | UnsetType = UNSET


@dataclass(frozen=True)
class Count(Stage):
    config: CountSettings
    name = "count"

    summary_type = Counted

    def run(self, run: RunContext, folder: Path) -> Counted:
        done: list[int] = []
        found = run.map(square, range(self.config.numbers), Same(folder), on_done=done.append)
        assert sorted(done) == sorted(found)
        return Counted(sum=sum(found), found=found, processes=len(list(folder.glob("process-*"))))

    def is_short(self, summary: Counted) -> bool:
        return summary.sum < self.config.target


def square(number: int, folder: Path) -> int:
    (folder / f"process-{os.getpid()}").touch()
    return number * number


def fail_at_two(number: int) -> int:
    if number == 2:
        raise ValueError("two")
    return number


def refuse(number: int) -> int:
    raise InputError(f"{number} is not there")


def die(number: int) -> int:
    os._exit(9)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_shards_for_any_number_of_workers(tmp_path: Path, workers: int) -> None:
    stage = Count(CountSettings())
    with open_local_run("count", {"count": stage.config}, tmp_path, workers) as run:
        summary = run.do(stage)
        run.finish([stage])
    assert summary.found == [0, 1, 4, 9, 16]
    assert summary.processes >= 1
    assert read_json(tmp_path / "manifest.json")["flows"]["count"]["state"] == "finished"


def test_a_stage_that_is_complete_is_only_read(tmp_path: Path) -> None:
    stage = Count(CountSettings(target=100))
    for attempt in range(2):
        with open_local_run("count", {"count": stage.config}, tmp_path) as run:
            summary = run.do(stage)
            assert run.status == "short"
            run.finish([stage])
        if attempt == 0:
            for mark in (tmp_path / "count").glob("process-*"):
                mark.unlink()
    assert summary.sum == 30
    assert not list((tmp_path / "count").glob("process-*"))
    assert read_json(tmp_path / "manifest.json")["flows"]["count"]["state"] == "short"


@pytest.mark.parametrize("workers", [1, 2])
def test_all_shards_are_worked_on_before_a_failure_is_raised(tmp_path: Path, workers: int) -> None:
    done: list[int] = []
    with open_local_run("x", {}, tmp_path, workers) as run:
        with pytest.raises(RunFailed, match="1 of 4 shards of x failed, the first with ValueError: two"):
            run.map(fail_at_two, range(4), on_done=done.append)
        assert sorted(done) == [0, 1, 3]
        with pytest.raises(InputError, match="is not there"):
            run.map(refuse, range(2))


def test_a_worker_that_dies_fails_the_run_and_hangs_nobody(tmp_path: Path) -> None:
    with open_local_run("x", {}, tmp_path, 2) as run, pytest.raises(RunFailed, match="ended in the middle of a shard"):
        run.map(die, range(2))


def test_what_fails_is_noted_in_the_manifest(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="no"), open_local_run("count", {"count": CountSettings()}, tmp_path):
        raise RunFailed("no")
    assert (
        read_json(tmp_path / "manifest.json")["flows"]["count"] | {"error": "no", "state": "failed"}
        == read_json(tmp_path / "manifest.json")["flows"]["count"]
    )


def test_shards_arguments_of_different_lengths_are_refused() -> None:
    assert per_shard(([1, 2], Same("x"), (3, 4))) == [(1, "x", 3), (2, "x", 4)]
    assert per_shard(([], Same("x"))) == []
    with pytest.raises(ValueError, match=r"\[1, 2\] values"):
        per_shard(([1, 2], [1]))
    with pytest.raises(ValueError, match=r"\[\] values"):
        per_shard((Same(1),))


@dataclass(frozen=True)
class Wait(Stage):
    config: CountSettings
    name = "wait"
    summary_type = Counted

    def run(self, run: RunContext, folder: Path) -> Counted:
        assert run.map(square, range(1), Same(folder)) == [0]
        run.map(wait_for_ever, range(2), Same(folder))
        raise AssertionError("it waits for ever")


def wait_for_ever(number: int, folder: Path) -> None:
    (folder / f"waits-{number}").write_text(str(os.getpid()))
    while True:
        with contextlib.suppress(Exception):  # an item's failure: a limit must not take this way
            time.sleep(600)


@pytest.mark.parametrize("in_processes", [True, None])
def test_a_stage_past_its_limit_is_ended_with_its_workers_and_the_manifest_says_so(
    tmp_path: Path, in_processes: bool | None
) -> None:
    stage = Wait(CountSettings())
    shapes = {"wait": StageShape(timeout_s=2.0)}
    message = r"wait took longer than cluster.stages.wait.timeout_s = 2 s and was ended"
    with (
        RunFolder.open(tmp_path, {"wait": stage.config}) as folder,
        pytest.raises(RunFailed, match=message),
        local_run_in(folder, "wait", 1, in_processes=in_processes, shapes=shapes) as run,
    ):
        run.do(stage)
    noted = read_json(tmp_path / "manifest.json")["flows"]["wait"]
    assert (noted["state"], noted["error"].startswith("wait took longer than")) == ("failed", True)
    assert list((tmp_path / "wait").glob("process-*"))
    worker = int((tmp_path / "wait" / "waits-0").read_text())
    assert worker == os.getpid() if in_processes is None else not psutil.pid_exists(worker)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_shard_past_its_limit_fails_the_run_and_the_others_are_done(tmp_path: Path) -> None:
    done: list[int] = []
    shapes = {"x": StageShape(shard_timeout_s=1.0)}
    with (
        RunFolder.open(tmp_path, {}) as folder,
        pytest.raises(RunFailed, match="a shard took longer than shard_timeout_s = 1 s"),
        local_run_in(folder, "x", 2, in_processes=True, shapes=shapes) as run,
    ):
        run.map(late_at_two, range(5), on_done=done.append)
    assert sorted(done) == [0, 1, 3, 4]


def late_at_two(number: int) -> int:
    if number == 2:
        time.sleep(600)
    return number


def test_a_limit_off_the_main_thread_is_refused_and_not_forgotten(tmp_path: Path) -> None:
    stage = Count(CountSettings())

    def work() -> None:
        with (
            RunFolder.open(tmp_path, {"count": stage.config}) as folder,
            local_run_in(folder, "count", 1, shapes={"count": StageShape(timeout_s=2.0)}) as run,
        ):
            run.do(stage)

    with ThreadPoolExecutor(1) as threads, pytest.raises(UsageError, match="timeout_s needs the main thread"):
        threads.submit(work).result()


def test_nothing_can_be_reserved_without_a_cluster() -> None:
    with pytest.raises(ValueError, match=r"stages.probing.resources is Dask's"):
        ClusterSettings.model_validate({"class_path": "none", "stages": {"probing": {"resources": {"GPU": 1}}}})
    assert ClusterSettings(stages={"qa": StageShape(workers=1)}).shape("probing") == StageShape()
