"""A shard on somebody else's Dask worker ends with the run that asked for it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import dask
import pytest
from distributed import Client, KilledWorker, LocalCluster

from millrace.errors import RunFailed
from millrace.orchestration import abandoned
from millrace.orchestration.abandoned import timed


@timed
def tick(path: Path, seconds: float) -> str:
    """Say every 0.1 s that it is still at work."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            time.sleep(0.1)
        except Exception:  # an item's failure: an abandoned shard must not take this way
            path.with_suffix(".failures").write_text("1")
        with path.open("a") as file:
            file.write(".")
    return "done"


@pytest.mark.slow
def test_a_shard_ends_soon_after_its_run_is_gone_and_one_that_is_waited_for_does_not(tmp_path: Path) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None, host="127.0.0.1") as cluster:
        address = cluster.scheduler_address
        left, kept = tmp_path / "left", tmp_path / "kept"
        with Client(address, set_as_default=False) as staying:
            waited_for = staying.submit(tick, kept, 12.0, pure=False)
            with Client(address, set_as_default=False) as leaving:
                abandoned = leaving.submit(tick, left, 300.0, pure=False)
                deadline = time.monotonic() + 60
                while not (left.exists() and kept.exists()) and time.monotonic() < deadline:
                    time.sleep(0.1)
                del abandoned
            size = -1
            while size != left.stat().st_size:
                assert time.monotonic() < deadline + 60, "the abandoned shard goes on"
                size = left.stat().st_size
                time.sleep(2.0)
            assert not left.with_suffix(".failures").exists()
            assert waited_for.result().value == "done"


@timed
def stubborn(in_c: bool) -> None:
    if in_c:
        sum(range(10**12))
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.1)


def test_a_shard_past_its_limit_fails_with_it_and_one_that_does_not_stop_ends_with_its_worker() -> None:
    settings = {"distributed.scheduler.allowed-failures": 0}
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.run(setattr, abandoned, "GRACE_S", 2.0)  # what does stop has time to, on a busy machine
        with dask.annotate(shard_timeout_s=0.5):
            waits = client.submit(stubborn, False, pure=False)
            with pytest.raises(RunFailed, match="a shard took longer than its shard_timeout_s and was ended after"):
                waits.result(timeout=30)
            # only now: it holds Python's lock, and the worker could not send what the one before it ended with
            computes = client.submit(stubborn, True, pure=False)
            with pytest.raises(KilledWorker):
                computes.result(timeout=30)
