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
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from millrace.config import OPERATIONAL, Settings
from millrace.errors import RunFailed, UsageError

CONNECT_TIMEOUT_S = 20
LOST_WORKER_TIMEOUT = "300 s"
"""After which a worker that died and did not come back is given up; within Dask's 15 s a busy machine does not start one."""


class ClusterSettings(Settings):
    """Where shards are worked on. Nothing here changes a result."""

    address: str | None = None
    """An existing Dask scheduler, e.g. `tcp://10.0.0.5:8786`; empty takes `$DASK_SCHEDULER_ADDRESS`, and without that starts a
    local cluster for the run."""
    workers: PositiveInt = Field(default_factory=lambda: min(4, os.cpu_count() or 1))
    """Worker processes of the cluster that the run starts."""
    minimum_workers: PositiveInt = 1
    """Adaptive scaling: never fewer workers than this."""
    maximum_workers: PositiveInt | None = None
    """Adaptive scaling: Dask starts and ends workers with the load, up to this many; empty keeps `workers` all the time."""
    class_path: str | None = None
    """A cluster class instead of a local cluster: `gpus` (a worker per GPU here), `slurm`, `pbs`, `sge`, `lsf`, `htcondor`,
    `oar`, `kubernetes`, or a dotted path such as `dask_jobqueue.SLURMCluster`."""
    arguments: dict[str, Any] = {}
    """Keyword arguments for the cluster class."""
    resources: dict[str, PositiveFloat] = {}
    """What a step that computes on a GPU reserves of its worker, e.g. `{GPU: 1}`; workers offer it with
    `dask worker … --resources "GPU=1"`. Empty reserves nothing."""
    wait_s: PositiveFloat = 300.0
    """How long to wait for the first worker of a cluster that the run starts."""

    @model_validator(mode="after")
    def _scales_what_it_starts(self) -> ClusterSettings:
        if self.address and (self.class_path or self.arguments):
            raise ValueError("address names a cluster that runs already; class_path and arguments would start another: keep one")
        if self.address and self.maximum_workers is not None:
            raise ValueError("a cluster that runs already (address) is scaled where it was started, not by maximum_workers")
        if self.arguments and not self.class_path:
            raise ValueError("arguments belong to a cluster class; set class_path")
        if self.maximum_workers is not None and self.minimum_workers > self.maximum_workers:
            raise ValueError("minimum_workers is above maximum_workers")
        return self

    @property
    def scheduler(self) -> str | None:
        """The scheduler that is there already; None: the run starts a cluster."""
        return self.address or (None if self.class_path else os.environ.get("DASK_SCHEDULER_ADDRESS") or None)

    @property
    def adapt(self) -> tuple[int, int] | None:
        """(minimum, maximum) of adaptive scaling."""
        return None if self.maximum_workers is None else (self.minimum_workers, self.maximum_workers)


def cluster_field() -> Any:
    """The field for a `ClusterSettings` in a flow's config: operational, so a run may be resumed on another cluster."""
    return Field(default_factory=ClusterSettings, json_schema_extra=OPERATIONAL)


_passed: set[tuple[Any, ...]] = set()
"""Checks that this process has passed: the command line makes them before the flow does."""


def check_cluster(settings: ClusterSettings, run_dir: Path, *, hosts: int = 1) -> None:
    """See, before anything is started, that the cluster can be used: the class is there, or the scheduler's workers fit the run.

    Args:
        settings: of the run.
        run_dir: the run's folder, which all workers must see.
        hosts: machines that torchrun wants (`nnodes`).

    Raises:
        UsageError: what is wrong, in one sentence. See millrace/orchestration/clusters/worker_check.py.
    """
    if settings.class_path:
        from millrace.orchestration.clusters.cluster_classes import cluster_class

        cluster_class(settings.class_path)
    if settings.scheduler is None:
        if hosts > 1 and not settings.class_path:
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
        run_dir: as for `dask_cluster`.
    """

    def __init__(self, settings: ClusterSettings, run_dir: Path | None) -> None:
        self.settings = settings
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
            self._address = self._stack.enter_context(dask_cluster(self.settings, self._run_dir))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asks for the address
            self._trouble = error


_ahead: ClusterStart | None = None
"""Started by the command line before the flow, for the run's session to take."""


@contextmanager
def started_ahead(settings: ClusterSettings) -> Iterator[None]:
    """Begin to start the run's local cluster for the session that is opened in the block; stop it if none took it.

    Any other kind of cluster is checked against the run first, which is the session's.
    """
    global _ahead  # noqa: PLW0603 - one run per process; the flow between the command and the session is Prefect's to call
    if settings.scheduler is None and not settings.class_path and not settings.resources:
        _ahead = ClusterStart(settings, None)
    try:
        yield
    finally:
        left, _ahead = _ahead, None
        if left is not None:
            left.close()


def begin_cluster(settings: ClusterSettings, run_dir: Path) -> ClusterStart:
    """The cluster that was started ahead with the same settings, or a new start. The caller closes it."""
    global _ahead
    if _ahead is not None and _ahead.settings == settings:
        taken, _ahead = _ahead, None
        return taken
    return ClusterStart(settings, run_dir)


@contextmanager
def dask_cluster(settings: ClusterSettings, run_dir: Path | None = None) -> Iterator[str]:
    """Yield the address of a Dask scheduler; one that was started here ends with the block.

    A task that kills its worker is tried once more on another one, then it fails alone: with Dask's defaults it would be tried
    four times and take queued neighbours with it.

    Args:
        settings: where.
        run_dir: the run's folder; None does not check whether the workers see it.

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
        # 60 lines of start-up talk otherwise go to the terminal; errors still show
        "distributed.nanny.pre-spawn-environ": {**environment, "DASK_LOGGING__DISTRIBUTED": "error"},
    }
    with dask.config.set(settings_of_dask):
        if settings.scheduler:
            if run_dir is not None:
                _check(settings.scheduler, settings, run_dir, 1, api=os.environ.get("PREFECT_API_URL"))
            yield settings.scheduler
            return
        with _deaf_to_ctrl_c():
            starting = _started(settings)
        with starting as cluster:
            address = str(cluster.scheduler_address)
            if run_dir is not None and (settings.class_path or settings.resources):
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
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Have processes that are started in the block (and by threads started in it) not hear SIGINT.

    Ctrl-C in a terminal goes to every process of the run at once. The flow alone answers it and stops its workers in order; a
    worker that answered too would end in a traceback in the middle of that. A blocked signal is inherited across exec.
    """
    resource_tracker.ensure_running()  # when it starts it unblocks SIGINT in the thread that needed it first
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _started(settings: ClusterSettings) -> Any:
    from millrace.orchestration.clusters.cluster_classes import start_class, start_local

    if settings.class_path:
        return start_class(settings.class_path, settings.arguments, workers=settings.workers, adapt=settings.adapt)
    return start_local(workers=settings.workers, adapt=settings.adapt)


def _check(address: str, settings: ClusterSettings, run_dir: Path, hosts: int, api: str | None) -> None:
    """The checks of millrace/orchestration/clusters/worker_check.py, once for the same question."""
    question = (address, str(run_dir), tuple(sorted(settings.resources.items())), hosts, api)
    if question in _passed:
        return
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
        check_workers(client, run_dir, settings.resources, api)
        check_hosts(client, hosts, settings.resources)
    _passed.add(question)


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
            said = f"the Dask scheduler at {client.scheduler.address} has no workers"
            raise RunFailed(
                f"{said}{f' after {wait_s:g} s (cluster.wait_s)' if wait_s else ''}; start some, then run the same command again"
            )
        time.sleep(0.5)
