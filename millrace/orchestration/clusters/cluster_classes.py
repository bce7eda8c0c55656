"""Dask clusters that a run starts for itself: local processes, a worker per GPU, a batch system, Kubernetes, any class.

A cluster class is named by a short name of the table below or by the dotted path of any class that Dask's documentation calls a
cluster. It is started with `cluster.arguments`, scaled, and ends with the run.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import time
from collections.abc import Mapping
from typing import Any

from millrace.errors import MillraceError, UsageError, did_you_mean

SHORT_NAMES: dict[str, tuple[str, str]] = {
    "gpus": ("millrace.orchestration.clusters.gpu_cluster.GpuCluster", ""),
    "slurm": ("dask_jobqueue.SLURMCluster", "jobqueue"),
    "pbs": ("dask_jobqueue.PBSCluster", "jobqueue"),
    "sge": ("dask_jobqueue.SGECluster", "jobqueue"),
    "lsf": ("dask_jobqueue.LSFCluster", "jobqueue"),
    "htcondor": ("dask_jobqueue.HTCondorCluster", "jobqueue"),
    "oar": ("dask_jobqueue.OARCluster", "jobqueue"),
    "kubernetes": ("dask_kubernetes.operator.KubeCluster", "kubernetes"),
}
"""Name in a config → (class, the extra of this project that installs it; empty: it comes with Millrace)."""
LONGEST_PAUSE_S = 30.0
"""Between two attempts to open workers again that Dask has given up; the first waits a second."""


def cluster_class(name: str) -> type[Any]:
    """The class that `cluster.class_path` names.

    Raises:
        UsageError: there is no such class, or its package is not installed; the message says how to install it.
    """
    path, extra = SHORT_NAMES.get(name, (name, ""))
    module, _, attribute = path.rpartition(".")
    if not module:
        raise UsageError(
            f"cluster.class_path: no cluster class named '{name}'{did_you_mean(name, SHORT_NAMES)}, or a dotted path"
        )
    package = module.partition(".")[0]
    extra = extra or next((known for known_path, known in SHORT_NAMES.values() if known and known_path.startswith(package)), "")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        hint = f"; pip install 'millrace[{extra}]' brings it" if extra and error.name == package else f" ({error})"
        raise UsageError(f"cluster.class_path: {path} cannot be imported{hint}") from error
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"cluster.class_path: there is no {path} ({error})") from error
    if not (inspect.isclass(found) and callable(getattr(found, "scale", None))):
        raise UsageError(f"cluster.class_path: {path} is not a Dask cluster class")
    return found


def start_class(name: str, arguments: Mapping[str, Any], *, workers: int, adapt: tuple[int, int] | None) -> Any:
    """Start a cluster of the class `name` and ask it for workers; use the result as a context manager.

    Args:
        name: see `cluster_class`.
        arguments: the class's own keyword arguments. With `n_workers` among them the class decides how many it starts.
        workers: how many to ask for.
        adapt: (minimum, maximum): Dask starts and ends workers with the load between these instead.

    Raises:
        UsageError: the class does not start with these arguments.
    """
    kind = cluster_class(name)
    try:
        cluster = kind(**arguments)
    except MillraceError:
        raise
    except Exception as error:  # a class of anybody's, which may raise anything; Dask wraps it once more
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise UsageError(
            f"cluster.arguments: {kind.__module__}.{kind.__qualname__} does not start with them: {type(cause).__name__}: {cause}"
        ) from error
    if adapt is not None:
        cluster.adapt(minimum=adapt[0], maximum=adapt[1])
    elif "n_workers" not in arguments:
        cluster.scale(workers)
    keep_workers(cluster)
    return cluster


def start_local(*, workers: int, adapt: tuple[int, int] | None, env: Mapping[str, str] | None = None) -> Any:
    """Start a scheduler and worker processes on loopback, one thread each; use the result as a context manager.

    Args:
        workers: how many.
        adapt: see `start_class`.
        env: the workers' environment, where it is not what they inherit.
    """
    from distributed import LocalCluster

    cluster = LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=adapt[0] if adapt else workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",  # None takes 8787, a dashboard of the user's, and warns if it is taken
        scheduler_kwargs={"dashboard": False},
        silence_logs=logging.ERROR,
        host="127.0.0.1",
        env=dict(env or {}),
    )
    if adapt is not None:
        cluster.adapt(minimum=adapt[0], maximum=adapt[1])  # type: ignore[no-untyped-call]
    keep_workers(cluster)
    return cluster


def keep_workers(cluster: Any) -> None:
    """Open a local worker again after Dask has given it up.

    A nanny restarts its worker, but the cluster closes a nanny for good when its worker is not there at the end of
    `distributed.deploy.lost-worker-timeout` after a death, also when it is only on its way back from another one. Shards that
    kill their workers one after another could so cost a cluster all of them, and its run would wait for ever (distributed
    2026.8: `SpecCluster._update_worker_status`). Does nothing for clusters whose workers are not processes of this machine.
    """
    from distributed import Nanny, SpecCluster
    from distributed.core import Status
    from tornado.ioloop import PeriodicCallback

    kind = (cluster.new_spec or {}).get("cls") if isinstance(cluster, SpecCluster) else None
    if not (isinstance(kind, type) and issubclass(kind, Nanny)):
        return
    tries, next_try = 0, 0.0

    async def look() -> None:
        nonlocal tries, next_try
        if cluster.status != Status.running:
            looking.stop()
            return
        if getattr(getattr(cluster, "_adaptive", None), "_adapting", False):
            return  # it closes workers first and takes them from the list of wanted ones after
        closed = (Status.closed, Status.failed)
        given_up = [name for name, nanny in cluster.workers.items() if isinstance(nanny, Nanny) and nanny.status in closed]
        if not given_up and set(cluster.worker_spec) <= set(cluster.workers):
            tries = 0 if time.monotonic() > next_try + LONGEST_PAUSE_S else tries
        elif time.monotonic() >= next_try:
            tries += 1
            next_try = time.monotonic() + min(LONGEST_PAUSE_S, 2.0 ** (tries - 1))
            for name in given_up:
                del cluster.workers[name]
            await cluster._correct_state()  # type: ignore[no-untyped-call]

    looking = PeriodicCallback(look, 1000)
    loop: Any = cluster.loop
    loop.add_callback(looking.start)
