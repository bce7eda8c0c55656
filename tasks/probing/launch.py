"""Starting the ranks: `torchrun` as a supervised child, its output in a log per rank, its progress in small files.

The ranks never talk to Prefect. They read `work/worker.json`, take units from torchrun's store, and write one journal per unit.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tasks.errors import RunFailed, ShortOfTarget
from tasks.journal import read_json, write_json
from tasks.probing.settings import ProbingConfig, TorchrunSettings
from tasks.processes import SupervisedProcess, supervised

POLL_S = 0.3


class Counts(msgspec.Struct, frozen=True):
    """How far the ranks are, added up over all of them."""

    images: int = 0
    failures: int = 0
    units: int = 0


def run_ranks(config: ProbingConfig, lake: Path, stage: Path, logs: Path, on_progress: Callable[[Counts], None]) -> None:
    """Probe with `torchrun` until the ranks say that enough is done.

    Args:
        config: the whole of it is handed to the ranks.
        lake: the folder of images.
        stage: the stage's folder; the ranks write `work/` in it.
        logs: gets `torchrun.log` and a log per rank.
        on_progress: called about three times a second.

    Raises:
        RunFailed: torchrun gave up; the message holds the last words of the rank that failed. Or no endpoint answers any more.
        ShortOfTarget: a spending limit is reached.
    """
    work = stage / "work"
    work.mkdir(parents=True, exist_ok=True)
    for stale in (*work.glob("progress-*.json"), *work.glob("stopped.json")):
        stale.unlink()
    write_json(work / "worker.json", {"config": config.model_dump(mode="json"), "lake": str(lake), "work": str(work)})
    rank_logs = logs / "ranks"
    command = torchrun_command(config.torchrun, rank_logs, ["-m", "tasks.probing.worker", str(work / "worker.json")])
    with supervised(command, log=logs / "torchrun.log", env=rank_environment(os.environ), grace_s=5.0) as process:
        code = _wait(process, work, on_progress)
    if code != 0:
        raise RunFailed(
            f"the ranks failed (torchrun ended with {code}): {last_words(rank_logs) or process.tail(600)}; see {rank_logs}"
        )


def torchrun_command(settings: TorchrunSettings, logs: Path, program: list[str]) -> list[str]:
    """torchrun's argv: one machine meets itself on loopback, several meet at `rdzv_endpoint`."""
    alone = settings.nnodes == 1 and settings.rdzv_endpoint is None
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nnodes={settings.nnodes}",
        f"--nproc-per-node={settings.nproc_per_node}",
        f"--node-rank={settings.node_rank}",
        f"--rdzv-backend={settings.rdzv_backend}",
        f"--rdzv-endpoint={'127.0.0.1:0' if alone else settings.rdzv_endpoint}",
        f"--rdzv-id={settings.rdzv_id}",
        *(["--local-addr=127.0.0.1"] if alone else []),
        f"--max-restarts={settings.max_restarts}",
        "--monitor-interval=0.2",
        f"--log-dir={logs}",
        "--redirects=3",
        *program,
    ]


def rank_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The ranks' environment: one compute thread each, so that a result does not depend on how many ranks share the cores."""
    settings = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    # a rank is found by the module's name, from wherever the flow was started
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    return {**environment, **settings, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def read_counts(work: Path) -> Counts:
    """What the ranks' progress files add up to."""
    totals = {"images": 0, "failures": 0, "units": 0}
    for file in work.glob("progress-*.json"):
        with contextlib.suppress(FileNotFoundError):
            counted: dict[str, Any] = read_json(file)
            for name in totals:
                totals[name] += counted.get(name, 0)
    return Counts(**totals)


def last_words(logs: Path) -> str:
    """The last line of the newest rank's stderr that is not a traceback's frame: mostly the error itself."""
    files = sorted(logs.rglob("stderr.log"), key=lambda file: file.stat().st_mtime)
    for file in reversed(files):
        lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return lines[-1].strip()[:500]
    return ""


def _wait(process: SupervisedProcess, work: Path, on_progress: Callable[[Counts], None]) -> int:
    while True:
        code = process.wait(POLL_S)
        on_progress(read_counts(work))
        if (work / "stopped.json").exists():
            process.stop()
            note = read_json(work / "stopped.json")
            raise (ShortOfTarget if note["error"] == "ShortOfTarget" else RunFailed)(note["message"])
        if code is not None:
            return code
