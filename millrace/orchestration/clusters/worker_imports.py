"""What every Dask worker of a local cluster imports, for the process that they are forked from (cluster.py)."""

from __future__ import annotations

import importlib

from millrace.imports import uncollected

with uncollected():
    for name in ("distributed.nanny", "distributed.worker", "prefect.main", "prefect.task_engine", "prefect_dask.task_runners"):
        importlib.import_module(name)
