"""What running shards under Prefect costs, with the settings of `deployments/*.env` and with Prefect's own.

    python -m tests.benchmarks.bench_operate start   [--repeats 5]             from the trigger to the first shard
    python -m tests.benchmarks.bench_operate shards  --shards 100 [--defaults] CPU per shard, how far the UI is behind
    python -m tests.benchmarks.bench_operate memory  --shards 10000            the flow process, as its shards get more
    python -m tests.benchmarks.bench_operate cancel  [--repeats 10]            from a cancel to the last process gone

A real installation each time (tests/e2e/services.py): PostgreSQL (`--sqlite`: SQLite), Prefect server, process worker, Dask
scheduler and two workers. The shards have no work, and go the way of every flow's shards (`RunContext.do`, `RunContext.map`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from millrace.processes.supervised import SupervisedProcess
from millrace.run.journal import read_json
from tests.e2e.commands import ROOT, Witnessed
from tests.e2e.installation import full_config
from tests.e2e.services import Postgres, Server, dask, postgres_programs, settings_file, start_worker, wait_for

OFFLINE = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
"""The only settings that differ from Prefect's defaults in a run with `--defaults`."""


class Bench:
    """One installation to measure on."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, *, defaults: bool, sqlite: bool) -> None:
        self.folder, self.cache = folder, folder / "cache"
        programs = postgres_programs()
        database = f"sqlite+aiosqlite:///{folder / 'prefect.db'}"
        self.database: SupervisedProcess | None = None
        if not sqlite:
            if programs is None:
                raise SystemExit("PostgreSQL is not installed; --sqlite measures with SQLite")
            postgres = Postgres(programs, stack)
            self.database, database = postgres.process, postgres.url
        self.server = Server(database, folder / "server", OFFLINE if defaults else None)
        stack.callback(self.server.stop)
        self.server.start()
        self.server.deploy()
        os.environ["PREFECT_API_URL"] = self.server.api
        asyncio.run(_deploy_bench())
        self.scheduler, self.dask_workers, self.dask_scheduler = stack.enter_context(dask(self.server, folder, self.cache))
        query = "10" if defaults else settings_file("worker")["PREFECT_WORKER_QUERY_SECONDS"]
        (folder / "worker").mkdir()
        self.worker: Witnessed = start_worker(self.server, folder / "worker", self.cache, PREFECT_WORKER_QUERY_SECONDS=query)
        stack.callback(self.worker.close)
        wait_for(lambda: "started!" in (folder / "worker" / "worker.log").read_text(), "worker", 60)

    def run(self, name: str, shards: int) -> dict[str, Any]:
        """Trigger one run of shards without work: what it used, and when what happened."""
        run_dir = self.folder / name
        shown = {"config": {"shards": shards, "cluster": {"address": self.scheduler}}, "run_dir": str(run_dir)}
        used = self._used()
        triggered = time.time()
        made = self.server.http.post(f"/deployments/{self._deployment()}/create_flow_run", json={"parameters": shown})
        flow_run = UUID(made.raise_for_status().json()["id"])
        wait_for((run_dir / "summary.json").exists, "summary", 3000)
        summary: dict[str, Any] = read_json(run_dir / "summary.json")
        of_run = {"parent_flow_run_id": {"any_": [str(flow_run)]}}
        asked = {"flow_runs": of_run, "task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        wait_for(lambda: self.server.http.post("/task_runs/count", json=asked).json() >= shards, "task runs in the UI", 600)
        behind = time.time() - summary["done_at"]
        wait_for(lambda: self.server.state(flow_run) == "COMPLETED", "end of the flow run", 120)
        now = self._used()
        return {
            **summary,
            "triggered_at": triggered,
            "first_at": read_json(run_dir / "shards" / "first.json"),
            "behind_s": behind,
            **{name: now[name] - used[name] for name in now},
        }

    def _deployment(self) -> str:
        return str(self.server.http.get("/deployments/name/operate/operate").raise_for_status().json()["id"])

    def _used(self) -> dict[str, float]:
        assert self.server.process is not None
        parts = {"server": [self.server.process], "scheduler": [self.dask_scheduler], "dask": self.dask_workers}
        if self.database:
            parts["database"] = [self.database]
        return {f"{name}_cpu_s": sum(part.usage().cpu_s for part in processes) for name, processes in parts.items()}


async def _deploy_bench() -> None:
    from prefect.client.orchestration import get_client
    from prefect.utilities.callables import parameter_schema

    from tests.benchmarks.operate_flow import operate

    async with get_client() as client:
        flow = await client.create_flow(operate)
        await client.create_deployment(
            flow_id=flow,
            name="operate",
            entrypoint="tests.benchmarks.operate_flow.operate",
            path=str(ROOT),
            work_pool_name="millrace",
            parameter_openapi_schema=parameter_schema(operate).model_dump(),
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
        )


@contextlib.contextmanager
def installation(options: argparse.Namespace) -> Iterator[Bench]:
    """Everything that runs, for the block."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="millrace-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield Bench(folder, stack, defaults=options.defaults, sqlite=options.sqlite)


def start(options: argparse.Namespace) -> None:
    """From the trigger to the first shard."""
    with installation(options) as bench:
        runs = [bench.run(f"run-{number}", 4) for number in range(options.repeats)]
    rows = {
        "trigger to flow body": [run["begun_at"] - run["triggered_at"] for run in runs],
        "trigger to first shard": [run["first_at"] - run["triggered_at"] for run in runs],
    }
    show(rows, "s")


def shards(options: argparse.Namespace) -> None:
    """CPU milliseconds per shard, and how far the API is behind."""
    with installation(options) as bench:
        bench.run("warm-up", 4)
        run = bench.run("run", options.shards)
    per_shard = 1000 / options.shards
    rows = {"flow": [run["cpu_s"] * per_shard]}
    rows |= {
        name: [run[f"{name}_cpu_s"] * per_shard] for name in ("server", "database", "scheduler", "dask") if f"{name}_cpu_s" in run
    }
    show(rows, "CPU ms per shard")
    show({"wall": [(run["done_at"] - run["mapping_at"]) * per_shard]}, "ms per shard")
    show({"UI behind the last shard": [run["behind_s"]]}, "s")
    show_memory(run)


def memory(options: argparse.Namespace) -> None:
    """Resident memory of the flow process."""
    with installation(options) as bench:
        show_memory(bench.run("run", options.shards))


def show_memory(run: dict[str, Any]) -> None:
    """The flow process at the start and after every tenth of its shards, and its peak."""
    print("flow process, MB, at the start and per tenth of the shards:", *(round(size / 1e6) for size in run["resident_bytes"]))
    print(f"its peak, MB: {run['peak_bytes'] / 1e6:.0f}")


def cancel(options: argparse.Namespace) -> None:
    """A main job in small, cancelled at random moments while it probes: until its last process is gone."""
    rng, took = random.Random(1), []
    with installation(options) as bench:
        for number in range(options.repeats):
            folder = bench.folder / f"full-{number}"
            run = bench.server.trigger("full", full_config(bench.scheduler), folder)
            wait_for(lambda: list((folder / "probing" / "work").glob("unit-*")), "unit", 300)  # noqa: B023 - called at once
            time.sleep(rng.uniform(0, 3))
            bench.server.cancel(run)
            began = time.monotonic()
            wait_for(lambda: not bench.worker.children(), "end of the run's processes", 100)
            took.append(time.monotonic() - began)
    show({"cancel to the last process gone": took}, "s")


def show(rows: dict[str, list[float]], unit: str) -> None:
    """Print every repeat, and median and maximum of several."""
    for name, values in rows.items():
        several = f"   median {statistics.median(values):.1f}, max {max(values):.1f}" if len(values) > 1 else ""
        print(f"{name:32s} {'  '.join(f'{value:.1f}' for value in values)} {unit}{several}")


def main() -> None:
    """Measure one thing and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["start", "shards", "memory", "cancel"])
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--defaults", action="store_true", help="Prefect's own settings instead of deployments/*.env")
    parser.add_argument("--sqlite", action="store_true", help="SQLite instead of PostgreSQL")
    options = parser.parse_args()
    load = Path("/proc/loadavg").read_text().split()[0]
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, load {load}; {vars(options)}")
    {"start": start, "shards": shards, "memory": memory, "cancel": cancel}[options.what](options)
    print(f"load {Path('/proc/loadavg').read_text().split()[0]}")


if __name__ == "__main__":
    main()
