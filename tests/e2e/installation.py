"""One installation for a module of tests, and small runs for it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millrace.processes.supervised import SupervisedProcess
from tests.e2e.commands import Witnessed
from tests.e2e.services import Postgres, Server, dask, postgres_programs, start_worker
from tests.training.conftest import GOOD, PARAMETERS

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass
class Installation:
    """What runs, and where."""

    folder: Path
    cache: Path
    server: Server
    postgres: SupervisedProcess
    scheduler: str
    dask_workers: list[SupervisedProcess]
    workers: list[Witnessed] = field(default_factory=list)

    @property
    def worker(self) -> Witnessed:
        """A process worker that takes runs; started when there is none."""
        if not self.workers:
            place = self.folder / f"worker-{len(list(self.folder.glob('worker-*')))}"
            place.mkdir()
            self.workers.append(start_worker(self.server, place, self.cache))
        return self.workers[0]

    def runs_left(self) -> dict[int, str]:
        """Every process that came of the worker and is not its own: pid → command line."""
        return self.worker.children()

    def close_worker(self) -> None:
        """End the worker and all that came of it."""
        while self.workers:
            self.workers.pop().close()


@contextlib.contextmanager
def installed(folder: Path, cache: Path) -> Iterator[Installation]:
    """PostgreSQL, a Prefect server with all deployments, a Dask scheduler with two workers."""
    programs = postgres_programs()
    assert programs is not None
    with contextlib.ExitStack() as stack:
        postgres = Postgres(programs, stack)
        server = Server(postgres.url, folder / "server")
        stack.callback(server.stop)
        server.start()
        server.deploy()
        scheduler, workers, _ = stack.enter_context(dask(server, folder, cache))
        made = Installation(folder, cache, server, postgres.process, scheduler, workers)
        stack.callback(made.close_worker)
        yield made


def full_config(scheduler: str) -> dict[str, Any]:
    """A main job in small: 60 images, a baseline that tosses coins and takes its time, shards on the Dask cluster."""
    return {
        "probing": {
            "baseline": {"name": "tests.probing.coin_baseline", "slow_s": 0.15},
            "lake": {"images": 60},
            "target_failure_count": 120,
            "failure_batch_size": 8,
        },
        "filtering": {"failures_per_image": None, "quota": 8, "shard_size": 15},
        "cluster": {"address": scheduler},
    }


def synthesis_config(scheduler: str) -> dict[str, Any]:
    """12 mathematical seeds in 4 shards on the Dask cluster."""
    return {
        "environment_mode": "math",
        "number_of_seed": 12,
        "seeds_per_shard": 3,
        "max_depth": 4,
        "branching_factor": 2,
        "depth_threshold": 2,
        "max_workers": 2,
        "cluster": {"address": scheduler},
    }


def training_config(folder: Path) -> dict[str, Any]:
    """One small training alone, and one beside a supervised background that would go on for ever."""
    program = folder / "training.py"
    program.write_text(GOOD)
    workload = {
        "command": [sys.executable, "-I", "-S", str(program)],
        "parameters": PARAMETERS,
        "adapter": "jsonl",
        "metrics": {"score": "score"},
        "epochs_parameter": "epochs",
    }
    forever = {**workload, "command": [*workload["command"], "--forever", "1"]}
    background = {"workload": "forever", "id": "load", "grace_s": 0.2}
    return {
        "mode": "default",
        "external": {"good": workload, "forever": forever},
        "experiments": [{"workload": "good"}, {"workload": "good", "mode": "parallel", "backgrounds": [background]}],
        "energy": {"idle_s": 0.1},
        "cool_down": {"max_s": 0},
    }
