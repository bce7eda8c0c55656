"""The Dask cluster that a run's shards go to: a local one that ends with the run, any cluster class, or any scheduler.

Nothing here changes a result: what a run writes is the same for any cluster, and a run may be resumed on another one.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from millrace.errors import RunFailed, UsageError
from millrace.run.cluster_settings import ClusterSettings

CONNECT_TIMEOUT_S = 20
LOST_WORKER_TIMEOUT = "300 s"
"""After which a worker that died and did not come back is given up; within Dask's 15 s a busy machine does not start one."""

HASH_SEED = "6640"
"""Dask's own (distributed 2026.8, `Nanny`): all workers see strings hashed alike."""


def check_cluster(settings: ClusterSettings, run_dir: Path, *, hosts: int = 1) -> None:
    """See, before anything is started, that the cluster can be used: the class is there, or the scheduler's workers fit the run.

    Args:
        settings: of the run.
        run_dir: the run's folder, which all workers must see.
        hosts: machines that torchrun wants (`nnodes`).

    Raises:
        UsageError: what is wrong, in one sentence. See worker_check.py.
    """
    if settings.class_path and not settings.is_none:
        from millrace.orchestration.clusters.cluster_classes import cluster_class

        cluster_class(settings.class_path)
    if settings.scheduler is None:
        if hosts > 1 and (settings.is_none or not settings.class_path):
            raise UsageError(
                f"torchrun.nnodes is {hosts}, but without cluster.address the only Dask workers are on this machine; "
                "start a Dask scheduler and a worker on each machine, and name it (docs/cluster.md)"
            )
        return
    _check(settings.scheduler, settings, run_dir, hosts, api=None)


class ClusterStart:
    """A cluster that is being started in the background, while its owner does something else.

    Args:
        settings: where.
        run_dir, preload: as for `dask_cluster`.
    """

    def __init__(self, settings: ClusterSettings, run_dir: Path | None, preload: Sequence[str] | None = None) -> None:
        self.settings = settings
        self._preload = preload
        self._run_dir = run_dir
        self._address: str | None = None
        self._trouble: BaseException | None = None
        self._stack = ExitStack()
        self._thread = threading.Thread(target=self._start, name="cluster", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """The scheduler's address; waits for it, and raises what `dask_cluster` raised."""
        self._thread.join()
        if self._trouble is not None:
            raise self._trouble
        assert self._address is not None
        return self._address

    def close(self) -> None:
        """Stop the cluster."""
        self._thread.join()
        self._stack.close()

    def _start(self) -> None:
        try:
            self._address = self._stack.enter_context(dask_cluster(self.settings, self._run_dir, self._preload))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asks for the address
            self._trouble = error


def start_ahead(settings: ClusterSettings, preload: Sequence[str] = ()) -> ClusterStart | None:
    """Begin to start a run's local cluster before its flow. None for any other kind: that is checked against the run first.

    Args:
        settings: where.
        preload: modules of the tasks; see `dask_cluster`.
    """
    if settings.scheduler is None and not settings.class_path and not settings.reserved:
        return ClusterStart(settings, None, preload)
    return None


@contextmanager
def dask_cluster(settings: ClusterSettings, run_dir: Path | None = None, preload: Sequence[str] | None = None) -> Iterator[str]:
    """Yield the address of a Dask scheduler; one that was started here ends with the block.

    A task that kills its worker is tried once more on another one, then it fails alone: with Dask's defaults it would be tried
    four times and take queued neighbours with it.

    Args:
        settings: where.
        run_dir: the run's folder; None does not check whether the workers see it.
        preload: fork the workers of a local cluster from one process that has imported Dask, Prefect and these modules, for a
            process whose Prefect settings do not change any more. None: each worker is a new Python, which imports them again.

    Raises:
        UsageError: no scheduler answers at the address, the class can't be found or started, or the workers do not fit the run.
        RunFailed: no worker came within `wait_s`.
    """
    import dask.config
    import distributed.config  # noqa: F401 - puts distributed's defaults into dask.config

    logging.getLogger("distributed").setLevel(logging.ERROR)
    environment = dask.config.get("distributed.nanny.pre-spawn-environ")
    settings_of_dask = {
        "distributed.scheduler.allowed-failures": 1,
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.deploy.lost-worker-timeout": LOST_WORKER_TIMEOUT,
        # statistics for a dashboard that is not there: stacks of all threads every 10 ms, the loop's delays every 20 ms, the
        # machine's load every 0.5 s: together 0.09 of a core where nothing runs
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.tick.cycle": "10s",
        "distributed.admin.system-monitor.interval": "10s",
        # 60 lines of start-up messages otherwise go to the terminal; errors still show
        "distributed.nanny.pre-spawn-environ": {**environment, "DASK_LOGGING__DISTRIBUTED": "error"},
    }
    forked = preload is not None and settings.scheduler is None and not settings.class_path
    if forked:
        _start_what_workers_are_forked_from(preload or ())
        settings_of_dask["distributed.worker.multiprocessing-method"] = "forkserver"
    with dask.config.set(settings_of_dask):
        if settings.scheduler:
            if run_dir is not None:
                _check(settings.scheduler, settings, run_dir, 1, api=os.environ.get("PREFECT_API_URL"))
            yield settings.scheduler
            return
        with _deaf_to_ctrl_c():
            starting = _started(settings, os.environ if forked else None)
        with starting as cluster:
            address = str(cluster.scheduler_address)
            if run_dir is not None and (settings.class_path or settings.reserved):
                _check(address, settings, run_dir, 1, api=os.environ.get("PREFECT_API_URL"))
            yield address


def own_address(settings: ClusterSettings | None) -> str:
    """This machine's address as the scheduler sees it, which its workers can reach; loopback where the run starts the cluster."""
    place = _place(settings.scheduler) if settings and settings.scheduler else None
    if place is None:
        return "127.0.0.1"
    with socket.create_connection(place, CONNECT_TIMEOUT_S) as connection:
        return str(connection.getsockname()[0])


def dashboard_link(settings: ClusterSettings) -> str | None:
    """Where the dashboard of an existing scheduler is; None for a cluster of the run's own, which has none."""
    if settings.scheduler is None:
        return None
    from distributed import Client

    with Client(settings.scheduler, timeout=CONNECT_TIMEOUT_S, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        return str(client.dashboard_link) if client.scheduler_info()["services"].get("dashboard") else None


def task_runner(address: str) -> Any:
    """A Prefect task runner for the scheduler at `address`."""
    from prefect_dask.task_runners import DaskTaskRunner

    return DaskTaskRunner(address=address, client_kwargs={"set_as_default": False})


def placed(resources: Mapping[str, float]) -> AbstractContextManager[Any]:
    """Tasks mapped in the block go only to workers that offer `resources`, and reserve them while they run."""
    if not resources:
        return nullcontext()
    from dask.base import annotate

    return annotate(resources=dict(resources))


@contextmanager
def shaped(resources: Mapping[str, float], more: Mapping[str, Any]) -> Iterator[None]:
    """As `placed`, with `more` annotations, which the task finds on its worker."""
    with placed(resources):
        if not more:
            yield
            return
        from dask.base import annotate

        with annotate(**more):
            yield


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Block SIGINT for processes that are started in the block (and by threads started in it).

    Ctrl-C in a terminal goes to every process of the run at once. The flow alone answers it and stops its workers in order; a
    worker that answered too would end in a traceback in the middle of that. A blocked signal is inherited across exec.
    """
    resource_tracker.ensure_running()  # when it starts it unblocks SIGINT in the thread that needed it first
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _start_what_workers_are_forked_from(modules: Sequence[str]) -> None:
    """Two workers so take 3 CPU seconds less; where nothing is imported twice, the second one comes at once."""
    import distributed.utils

    from millrace.run.pool import start_fork_server

    # else Dask imports pandas and others here to find out what there is to preload; what runs already is not told anything new
    distributed.utils._forkserver_preload_set = True  # type: ignore[attr-defined]
    environment = {"DASK_LOGGING__DISTRIBUTED": "error", "PYTHONHASHSEED": HASH_SEED}
    start_fork_server(["millrace.orchestration.clusters.worker_imports", *modules], environment)


def _started(settings: ClusterSettings, env: Mapping[str, str] | None) -> Any:
    from millrace.orchestration.clusters.cluster_classes import start_class, start_local

    if settings.class_path:
        return start_class(settings.class_path, settings.arguments, workers=settings.workers, adapt=settings.adapt)
    return start_local(workers=settings.workers, adapt=settings.adapt, env=env)


def _check(address: str, settings: ClusterSettings, run_dir: Path, hosts: int, api: str | None) -> None:
    """The checks of worker_check.py."""
    from distributed import Client

    from millrace.orchestration.clusters.worker_check import check_hosts, check_workers

    logging.getLogger("distributed").setLevel(logging.ERROR)
    try:
        _knock(address)
        client = Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(f"cluster.address: no Dask scheduler answers at {address} ({error})") from error
    with client:
        _wait_for_a_worker(client, 0.0 if settings.scheduler else settings.wait_s)
        check_workers(client, run_dir, settings.reserved, api)
        check_hosts(client, hosts, settings.resources)


def _knock(address: str) -> None:
    """Fail at once where nobody listens; a client would go on trying for its whole time."""
    place = _place(address)
    if place:
        socket.create_connection(place, CONNECT_TIMEOUT_S).close()


def _place(address: str) -> tuple[str, int] | None:
    """Host and port of a scheduler; None for a protocol without them."""
    parts = urlsplit(address if "//" in address else f"tcp://{address}")
    return (parts.hostname, parts.port) if parts.scheme in {"tcp", "tls"} and parts.hostname and parts.port else None


def _wait_for_a_worker(client: Any, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while not client.scheduler_info(n_workers=-1)["workers"]:
        if time.monotonic() >= deadline:
            empty = f"the Dask scheduler at {client.scheduler.address} has no workers"
            raise RunFailed(
                f"{empty}{f' after {wait_s:g} s (cluster.wait_s)' if wait_s else ''}; start some, then run the same command again"
            )
        time.sleep(0.5)
