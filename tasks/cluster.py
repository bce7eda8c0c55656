"""The Dask cluster that a run's shards go to: a local one that ends with the run, or any scheduler by its address."""

from __future__ import annotations

import importlib
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from pydantic import Field, PositiveInt

from tasks.config import OPERATIONAL, Settings
from tasks.errors import RunFailed, UsageError

CONNECT_TIMEOUT_S = 20


class ClusterSettings(Settings):
    """Where shards are worked on. Nothing here changes a result."""

    address: str | None = None
    """An existing Dask scheduler, e.g. `tcp://10.0.0.5:8786`; empty takes `$DASK_SCHEDULER_ADDRESS`, and without that starts a
    local cluster for the run."""
    workers: PositiveInt = Field(default_factory=lambda: min(4, os.cpu_count() or 1))
    """Worker processes of the local cluster."""
    class_path: str | None = None
    """A cluster class by dotted path, e.g. `dask_jobqueue.SLURMCluster`, used instead of a local cluster."""
    arguments: dict[str, Any] = {}
    """Keyword arguments for the cluster class."""


def cluster_field() -> Any:
    """The field for a `ClusterSettings` in a flow's config: operational, so a run may be resumed on another cluster."""
    return Field(default_factory=ClusterSettings, json_schema_extra=OPERATIONAL)


@contextmanager
def dask_cluster(settings: ClusterSettings) -> Iterator[str]:
    """Yield the address of a Dask scheduler; one that was started here ends with the block.

    A task that kills its worker is tried once more on another one, then it fails alone: with Dask's defaults it would be tried
    four times and take queued neighbours with it.

    Raises:
        UsageError: no scheduler answers at the address, or the class can't be found.
    """
    import dask.config
    import distributed.config  # noqa: F401 - puts distributed's defaults into dask.config

    logging.getLogger("distributed").setLevel(logging.ERROR)
    environment = dask.config.get("distributed.nanny.pre-spawn-environ")
    settings_of_dask = {
        "distributed.scheduler.allowed-failures": 1,
        "distributed.scheduler.worker-saturation": 1.0,
        # 60 lines of start-up talk otherwise go to the terminal; errors still show
        "distributed.nanny.pre-spawn-environ": {**environment, "DASK_LOGGING__DISTRIBUTED": "error"},
    }
    with dask.config.set(settings_of_dask):
        address = settings.address or (None if settings.class_path else os.environ.get("DASK_SCHEDULER_ADDRESS"))
        if address:
            _check_answers(address)
            yield address
            return
        with _deaf_to_ctrl_c():
            starting = _started(settings)
        with starting as cluster:
            yield str(cluster.scheduler_address)


def task_runner(address: str) -> Any:
    """A Prefect task runner for the scheduler at `address`."""
    from prefect_dask.task_runners import DaskTaskRunner

    return DaskTaskRunner(address=address, client_kwargs={"set_as_default": False})


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
    if settings.class_path:
        module, _, name = settings.class_path.rpartition(".")
        try:
            kind = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise UsageError(f"cluster.class_path: there is no {settings.class_path} ({error})") from error
        return kind(**settings.arguments)
    from distributed import LocalCluster

    return LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=settings.workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=logging.ERROR,
        host="127.0.0.1",
    )


def _check_answers(address: str) -> None:
    from distributed import Client

    try:
        with Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            workers = len(client.scheduler_info()["workers"])
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(f"cluster.address: no Dask scheduler answers at {address} ({error})") from error
    if workers == 0:
        raise RunFailed(f"the Dask scheduler at {address} has no workers; start some, then run the same command again")
