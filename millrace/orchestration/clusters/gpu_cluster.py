"""A local Dask cluster with one worker per GPU: what `cluster.class_path: gpus` starts.

Each worker sees one device (`CUDA_VISIBLE_DEVICES`), so `cuda:0` is another GPU in each, and offers `GPU: 1`, so with
`cluster.resources: {GPU: 1}` a GPU computes one step at a time. dask-cuda's `LocalCUDACluster` does more (memory pools, UCX) but
pins another Dask than Prefect's runner was measured with.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Any, TypedDict

from distributed import Nanny, Scheduler, SpecCluster

from millrace.errors import UsageError


class WorkerOptions(TypedDict):
    """Arguments of `distributed.Nanny`."""

    nthreads: int
    host: str
    env: dict[str, str]
    resources: dict[str, float]
    dashboard: bool


class WorkerSpec(TypedDict):
    """A worker, as `distributed.SpecCluster` takes it."""

    cls: type[Nanny]
    options: WorkerOptions


class GpuCluster(SpecCluster):  # type: ignore[misc]
    """One worker process for each GPU, and CPU workers beside them.

    Args:
        devices: the GPUs, as `CUDA_VISIBLE_DEVICES` names them (`[0, 1]`, `["GPU-8f6…"]`); None takes all that are visible here.
        cpu_workers: workers without a GPU, for the steps that need none.
        host: the address to listen on; another machine's worker can join only where it is not loopback.

    Raises:
        UsageError: there is no GPU here.
    """

    def __init__(self, devices: Sequence[int | str] | None = None, cpu_workers: int = 0, host: str = "127.0.0.1", **more: Any):
        names = [str(name) for name in (visible_devices() if devices is None else devices)]
        if not names:
            raise UsageError("cluster.class_path is 'gpus', but this machine shows no GPU (nvidia-smi lists none)")
        spec = {f"gpu-{name}": _worker(host, {"CUDA_VISIBLE_DEVICES": name}, {"GPU": 1}) for name in names}
        spec |= {f"cpu-{number}": _worker(host, {"CUDA_VISIBLE_DEVICES": ""}, {}) for number in range(cpu_workers)}
        scheduler = {"cls": Scheduler, "options": {"host": host, "dashboard": False}}
        more["worker"] = _worker(host, {"CUDA_VISIBLE_DEVICES": ""}, {})
        super().__init__(workers=spec, scheduler=scheduler, **more)  # type: ignore[no-untyped-call]

    def scale(self, n: int = 0, memory: Any = None, cores: Any = None) -> None:
        """Stays as it is: the machine has the GPUs that it has."""


def visible_devices() -> list[str]:
    """The GPUs of this machine that this process may use; empty without a driver."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in listed.stdout.splitlines() if line.strip().isdigit()]


def _worker(host: str, environment: dict[str, str], resources: dict[str, float]) -> WorkerSpec:
    return {
        "cls": Nanny,
        "options": {"nthreads": 1, "host": host, "env": environment, "resources": resources, "dashboard": False},
    }
