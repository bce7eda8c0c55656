"""Which cluster a run uses, and what is found out about it before any work. Real schedulers and worker processes, all tiny."""

from __future__ import annotations

import multiprocessing.forkserver
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, KilledWorker, LocalCluster

from millrace.config import load_config
from millrace.errors import RunFailed, UsageError
from millrace.orchestration.clusters.cluster import (
    ClusterSettings,
    check_cluster,
    dask_cluster,
    placed,
    start_ahead,
)
from millrace.orchestration.clusters.worker_check import code_folders
from millrace.run.cluster_settings import StageShape

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def unchanged_environment() -> Iterator[None]:
    """A nanny sets its workers' variables in its own process too, where they would reach whatever is tested next."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@contextmanager
def scheduler() -> Iterator[str]:
    """A scheduler in this process, without workers."""
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0", host="127.0.0.1", protocol="tcp://") as cluster:
        yield cluster.scheduler_address


@contextmanager
def worker(address: str, folder: Path, *options: str, code: Path = ROOT, **environment: str) -> Iterator[None]:
    """A worker process with one thread, at home in `folder`, that has joined when the block begins."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        address,
        "--no-nanny",
        "--no-dashboard",
        "--nthreads=1",
        *options,
    ]
    log = (folder / "worker.log").open("wb")
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(code), **environment}, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        with Client(address, set_as_default=False) as client:
            before = time.monotonic()
            client.wait_for_workers(1, timeout=120)
        assert time.monotonic() - before < 120
        yield
    finally:
        process.terminate()
        process.wait(30)
        log.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"address": "tcp://10.0.0.5:8786", "class_path": "slurm"}, "keep one"),
        ({"address": "tcp://10.0.0.5:8786", "maximum_workers": 8}, "scaled where it was started"),
        ({"arguments": {"queue": "short"}}, "set class_path"),
        ({"minimum_workers": 5, "maximum_workers": 4}, "minimum_workers is above maximum_workers"),
        ({"resources": {"GPU": 0}}, "greater than 0"),
        ({"adress": "tcp://10.0.0.5:8786"}, "did you mean 'address'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_in_one_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_config(ClusterSettings, None, [f"{name}={value!r}" for name, value in changes.items()])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("slurmm", "did you mean 'slurm'"),
        ("no_such_package.Cluster", "no_such_package.Cluster cannot be imported"),
        ("distributed.NoCluster", "there is no distributed.NoCluster"),
        ("distributed.Client", "is not a Dask cluster class"),
        ("gpus", "shows no GPU"),
    ],
)
def test_a_cluster_class_that_cannot_be_used_is_named(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UsageError, match=said), dask_cluster(ClusterSettings(class_path=name), tmp_path):
        pass


def test_a_batch_system_without_its_package_names_the_extra_to_install(tmp_path: Path) -> None:
    if shutil.which("sbatch") or _importable("dask_jobqueue"):
        pytest.skip("dask-jobqueue is installed")
    with pytest.raises(UsageError, match=r"pip install 'millrace\[jobqueue\]'"):
        check_cluster(ClusterSettings(class_path="slurm"), tmp_path)


def test_arguments_that_a_class_does_not_take_are_one_sentence(tmp_path: Path) -> None:
    settings = ClusterSettings(class_path="gpus", arguments={"devices": [0], "no_such_argument": 1})
    with pytest.raises(UsageError, match=r"does not start with them.*no_such_argument"), dask_cluster(settings, tmp_path):
        pass


def test_a_scheduler_that_nobody_answers_at_and_one_without_workers_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 "):
        check_cluster(ClusterSettings(address="tcp://127.0.0.1:9"), tmp_path)
    with scheduler() as address, pytest.raises(RunFailed, match="has no workers"):
        check_cluster(ClusterSettings(address=address), tmp_path)


def test_the_code_that_workers_must_have_is_all_of_it_installed_or_in_a_checkout(tmp_path: Path) -> None:
    assert {path.name for path in code_folders(ROOT / "millrace")} == {"millrace", "tasks", "flows"}
    assert all(path.is_dir() for path in code_folders(ROOT / "millrace"))
    installed = tmp_path / "site-packages"
    for name in ("millrace/flows", "millrace/tasks", "flows"):  # the last one is somebody else's
        (installed / name).mkdir(parents=True)
    assert code_folders(installed / "millrace") == [installed / "millrace"]


@pytest.mark.slow
def test_a_worker_that_does_not_fit_the_run_is_found_before_any_work(tmp_path: Path) -> None:
    other = tmp_path / "other commit"
    for name in ("millrace", "tasks", "flows"):
        shutil.copytree(ROOT / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "millrace" / "errors.py").open("a") as file:
        file.write("# another commit\n")
    with scheduler() as address:
        settings = ClusterSettings(address=address)
        with (
            worker(address, tmp_path / "a", code=other),
            pytest.raises(UsageError, match=r"differs from the flow.*Millrace's code"),
        ):
            check_cluster(settings, tmp_path / "run")
        with worker(address, tmp_path / "b", "--resources=GPU=1"):
            with pytest.raises(UsageError, match=r"offers GPU=2.*offered: GPU=1"):
                check_cluster(settings.model_copy(update={"resources": {"GPU": 2.0}}), tmp_path / "run")
            of_a_stage = {"qa": StageShape(resources={"MEMORY": 1.0})}
            with pytest.raises(UsageError, match=r"offers MEMORY=1.*offered: GPU=1"):
                check_cluster(settings.model_copy(update={"stages": of_a_stage}), tmp_path / "run")
            with pytest.raises(UsageError, match="does not see the run folder"):
                check_cluster(settings, Path("/proc/self/cwd/run of the flow"))  # the worker has another working folder
            with pytest.raises(UsageError, match=r"torchrun.nnodes is 2, but the Dask workers are on 1 host \(127.0.0.1\)"):
                check_cluster(settings, tmp_path / "run", hosts=2)
            check_cluster(settings.model_copy(update={"resources": {"GPU": 1.0}}), tmp_path / "run")
        other_cache = {"MILLRACE_CACHE": str(tmp_path / "other cache")}
        with worker(address, tmp_path / "c", **other_cache), pytest.raises(UsageError, match="set MILLRACE_CACHE"):
            check_cluster(settings, tmp_path / "run")
        without = _preload(tmp_path, "sys.modules['millrace.orchestration.clusters.worker_check'] = None")
        with (
            worker(address, tmp_path / "d", f"--preload={without}"),
            pytest.raises(UsageError, match="cannot run this project's"),
        ):
            check_cluster(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not Path("run of the flow").exists()


@pytest.mark.slow
def test_tasks_placed_on_a_resource_run_only_where_it_is(tmp_path: Path) -> None:
    with (
        scheduler() as address,
        worker(address, tmp_path / "gpu", "--name=gpu", "--resources=GPU=1"),
        worker(address, tmp_path / "cpu", "--name=cpu"),
        Client(address, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        with placed({"GPU": 1}):
            on_gpus = [client.submit(_name_of_worker, number, pure=False) for number in range(8)]
        with placed({}):
            anywhere = [client.submit(_name_of_worker, number, pure=False) for number in range(8)]
        assert set(client.gather(on_gpus)) == {"gpu"}
        assert "cpu" in client.gather(anywhere)


@pytest.mark.slow
def test_an_adaptive_cluster_grows_with_the_load_and_shrinks_again(tmp_path: Path) -> None:
    settings = ClusterSettings(
        class_path="distributed.LocalCluster",
        arguments={"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0", "protocol": "tcp://"},
        minimum_workers=1,
        maximum_workers=3,
    )
    with dask_cluster(settings, tmp_path) as address, Client(address, set_as_default=False) as client:
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 1
        busy = [client.submit(time.sleep, 1.5, pure=False) for _ in range(12)]
        client.wait_for_workers(3, timeout=60)
        client.gather(busy)
        deadline = time.monotonic() + 60
        while len(client.scheduler_info(n_workers=-1)["workers"]) > 1 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 1


def _name_of_worker(number: int) -> str:
    from distributed import get_worker

    time.sleep(0.05)
    return str(get_worker().name)


def _preload(folder: Path, line: str) -> Path:
    path = folder / "preload.py"
    path.write_text(f"import sys\n{line}\n")
    return path


def _importable(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def _workers_below_this_process() -> list[psutil.Process]:
    """Without what they are forked from, which ends with this process."""
    family = {process.pid: process for process in psutil.Process().children(recursive=True)}
    family.pop(multiprocessing.forkserver._forkserver._forkserver_pid or 0, None)
    started = {process: " ".join(process.cmdline()) for process in family.values()}
    return [process for process, line in started.items() if "spawn_main" in line or "forkserver" in line]


def test_workers_of_a_cluster_started_ahead_are_forked_and_have_the_environment_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import Client

    multiprocessing.forkserver._forkserver._stop()  # an earlier test's has other modules imported, and none is told anything new
    monkeypatch.setenv("SET_AFTER_A_FORK_SERVER_STARTED", "yes")
    before = set(_workers_below_this_process())
    begun = start_ahead(ClusterSettings(workers=1), ["tasks.filtering"])
    assert begun is not None
    with Client(begun.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        (seen,) = client.run(_environment_and_modules).values()
    assert seen == {"SET_AFTER_A_FORK_SERVER_STARTED": "yes", "OMP_NUM_THREADS": "1", "prefect_dask": "imported"}
    workers = set(_workers_below_this_process()) - before
    assert workers
    begun.close()
    assert not {process for process in workers if process.is_running()}


def _environment_and_modules() -> dict[str, str | None]:
    """What a worker has."""
    names = ("SET_AFTER_A_FORK_SERVER_STARTED", "OMP_NUM_THREADS")
    return {name: os.environ.get(name) for name in names} | {
        "prefect_dask": "imported" if "prefect_dask" in sys.modules else None
    }


def test_a_cluster_started_ahead_ends_when_it_is_closed_also_before_it_is_up() -> None:
    before = set(_workers_below_this_process())
    begun = start_ahead(ClusterSettings(workers=1))
    assert begun is not None
    begun.close()
    begun.close()
    assert not {process for process in set(_workers_below_this_process()) - before if process.is_running()}


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "tcp://127.0.0.1:1"},
        {"class_path": "no.such"},
        {"resources": {"GPU": 1}},
        {"stages": {"qa": {"resources": {"GPU": 1}}}},
    ],
)
def test_only_a_local_cluster_is_started_ahead(changes: dict[str, Any]) -> None:
    before = set(threading.enumerate())
    assert start_ahead(ClusterSettings(**changes)) is None
    assert set(threading.enumerate()) <= before


def _leave() -> None:
    os._exit(9)


def test_a_worker_that_dask_has_given_up_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask closes the nanny of a worker that takes longer to come back than this, and opens none in its place."""
    monkeypatch.setattr("millrace.orchestration.clusters.cluster.LOST_WORKER_TIMEOUT", "0.1 s")
    with dask_cluster(ClusterSettings(workers=1)) as address, Client(address, set_as_default=False) as client:
        dying = client.submit(_leave, pure=False)
        with pytest.raises(KilledWorker):
            dying.result(timeout=90)
        assert client.submit(os.getpid, pure=False).result(timeout=90) != os.getpid()


def test_none_stands_for_a_run_without_a_cluster_and_merges_with_single_settings(tmp_path: Path) -> None:
    from flows.full import FullConfig

    file = tmp_path / "file.yaml"
    for text, more in (
        ("cluster: none", []),
        ("cluster: {workers: 3}", ["cluster=none"]),
        ("cluster: none", ["cluster.workers=3"]),
    ):
        file.write_text(text)
        cluster = load_config(FullConfig, file, more).cluster
        assert cluster.is_none
        assert cluster.workers == (3 if "3" in f"{text}{more}" else ClusterSettings().workers)
    assert FullConfig.model_validate({"cluster": "none"}).cluster.is_none
    assert not FullConfig().cluster.is_none
    with pytest.raises(UsageError, match="cluster"):
        load_config(FullConfig, None, ["cluster=nothing"])


def test_none_starts_nothing_whatever_scheduler_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    settings = ClusterSettings(class_path="none")
    assert settings.scheduler is None
    assert start_ahead(settings) is None
