"""Starting the ranks: `torchrun` as a supervised child, its output in a log per rank, its progress in small files.

The ranks never talk to Prefect. They read `work/worker.json`, take units from torchrun's store, and write one journal per unit.
With several machines a Dask worker on each starts its torchrun (orchestration/clusters/hosts.py). When one is lost, all are
stopped and started again on those that are left: finished units are kept. No torchrun waits for a store that was on the lost one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from millrace.errors import RunFailed, ShortOfTarget, UsageError
from millrace.probing.ranks.reopening import reopen_cut_off
from millrace.probing.settings import ProbingConfig, TorchrunSettings
from millrace.processes.supervised import supervised
from millrace.records.summaries import RankProgress
from millrace.run.journal import read_json, read_record, write_json
from millrace.run.machines import Host, HostsLost, Machines

POLL_S = 0.3

log = logging.getLogger("millrace.probing")


class Counts(msgspec.Struct, frozen=True):
    """How far the ranks are, added up over all of them."""

    images: int = 0
    failures: int = 0
    units: int = 0


def run_ranks(
    config: ProbingConfig,
    lake: Path,
    stage: Path,
    logs: Path,
    on_progress: Callable[[Counts], None],
    machines: Machines | None = None,
) -> None:
    """Probe with `torchrun` until the ranks say that enough is done.

    Args:
        config: the whole of it is handed to the ranks.
        lake: the folder of images.
        stage: the stage's folder; the ranks write `work/` in it.
        logs: gets `torchrun.log` and a log per rank.
        on_progress: called about three times a second.
        machines: where the hosts are when `torchrun.nnodes` is more than 1.

    Raises:
        RunFailed: torchrun gave up; the message holds the last words of the rank that failed. Or no endpoint answers any more.
        ShortOfTarget: a spending limit is reached.
    """
    work = stage / "work"
    work.mkdir(parents=True, exist_ok=True)
    _clear(work)
    whole = config.model_dump(mode="json")
    reopen_cut_off(work, whole)  # compares with the worker.json of the last attempt, so before the next line
    write_json(work / "worker.json", {"config": whole, "lake": str(lake), "work": str(work)})
    rank_logs = logs / "ranks"
    program = ["-m", "millrace.probing.ranks.worker", str(work / "worker.json")]
    if config.torchrun.nnodes > 1:
        if machines is None:
            raise UsageError(
                f"torchrun.nnodes is {config.torchrun.nnodes}, but there is no cluster whose machines could take part"
            )
        _run_on_machines(config.torchrun, machines, work, logs, program, on_progress)
        return
    command = torchrun_command(config.torchrun, rank_logs, program)
    with supervised(command, log=logs / "torchrun.log", env=rank_environment(os.environ), grace_s=5.0) as process:
        while (code := process.wait(POLL_S)) is None:
            _look(work, on_progress)
        _look(work, on_progress)
    if code != 0:
        raise RunFailed(
            f"the ranks failed (torchrun ended with {code}): {last_words(rank_logs) or process.tail(600)}; see {rank_logs}"
        )


def torchrun_command(
    settings: TorchrunSettings, logs: Path, program: list[str], *, host: Host | None = None, meeting: str | None = None
) -> list[str]:
    """torchrun's argv.

    Args:
        settings: of the run.
        logs: a folder for a log per rank.
        program: what a rank runs.
        host: which of several machines this is; None: the only one, which meets itself on loopback.
        meeting: where several machines meet, on the first of them. Each knows if it is that one: torchrun compares host names,
            and a name that leads to loopback, as on many servers, fits none. None leaves it to the user's `rdzv_endpoint`.
    """
    alone = settings.nnodes == 1 and settings.rdzv_endpoint is None and meeting is None
    local_address = host.address if host else "127.0.0.1" if alone else None
    knows_host = meeting is not None and settings.rdzv_backend == "c10d" and host is not None
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nnodes={settings.nnodes}",
        f"--nproc-per-node={settings.nproc_per_node}",
        f"--node-rank={host.number if host else 0}",
        f"--rdzv-backend={settings.rdzv_backend}",
        f"--rdzv-endpoint={'127.0.0.1:0' if alone else meeting or settings.rdzv_endpoint}",
        f"--rdzv-id={settings.rdzv_id}",
        *([f"--local-addr={local_address}"] if local_address else []),
        *([f"--rdzv-conf=is_host={int(host.number == 0)}"] if knows_host and host else []),
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
    root = str(Path(__file__).resolve().parents[3])
    paths = [root, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    return {**environment, **settings, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def read_counts(work: Path) -> Counts:
    """What the ranks' progress files add up to."""
    totals = {"images": 0, "failures": 0, "units": 0}
    for file in work.glob("progress-*.json"):
        with contextlib.suppress(FileNotFoundError):
            counted = read_record(file, RankProgress)
            for name in totals:
                totals[name] += getattr(counted, name)
    return Counts(**totals)


def last_words(logs: Path, names: str = "stderr.log") -> str:
    """The last line of the newest rank's stderr that is not a traceback's frame: mostly the error itself."""
    files = sorted(logs.rglob(names), key=lambda file: file.stat().st_mtime)
    for file in reversed(files):
        lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return lines[-1].strip()[:500]
    return ""


def machine_command(
    settings: TorchrunSettings, logs: Path, program: list[str], meeting: str | None, host: Host
) -> tuple[list[str], dict[str, str], Path]:
    """Called on each of several machines: its torchrun, environment and log."""
    command = torchrun_command(settings, logs / "ranks" / host.address, program, host=host, meeting=meeting)
    return command, rank_environment(os.environ), logs / f"torchrun-{host.address}.log"


def _run_on_machines(
    settings: TorchrunSettings,
    machines: Machines,
    work: Path,
    logs: Path,
    program: list[str],
    on_progress: Callable[[Counts], None],
) -> None:
    lost: set[str] = set()
    for start in range(settings.max_restarts + 1):
        hosts = machines.pick(settings.nnodes, lost) or machines.pick(settings.nnodes)  # all at once: mostly a stall
        if not hosts:
            break
        own = settings.rdzv_endpoint is None
        meeting = f"{hosts[0].address}:{machines.ask(hosts[0], free_port)}" if own else None
        changes = {"nnodes": len(hosts), "rdzv_id": f"{settings.rdzv_id}-{start}"}
        command_of = partial(machine_command, settings.model_copy(update=changes), logs, program, meeting)
        _clear(work)
        try:
            codes = machines.run(hosts, command_of, lambda: _look(work, on_progress), POLL_S)
        except HostsLost as loss:
            log.warning("%s; starting the ranks on what is left", loss)
            lost.update(str(address) for address in loss.args)
            continue
        if any(codes):
            ended = ", ".join(f"{code} on {host.address}" for code, host in zip(codes, hosts, strict=True))
            reason = last_words(logs / "ranks") or last_words(logs, "torchrun-*.log")
            raise RunFailed(f"the ranks failed (torchrun ended with {ended}): {reason}; see {logs}")
        return
    raise RunFailed(f"every machine of torchrun was lost ({', '.join(sorted(lost))}); run the same command again")


def free_port() -> int:
    """A free TCP port, on the machine where this is called."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _clear(work: Path) -> None:
    for stale in (*work.glob("progress-*.json"), *work.glob("stopped.json")):
        stale.unlink(missing_ok=True)


def _look(work: Path, on_progress: Callable[[Counts], None]) -> None:
    """Report how far the ranks are, and raise when one of them failed for a reason that a restart does not remove."""
    on_progress(read_counts(work))
    if (work / "stopped.json").exists():
        note = read_json(work / "stopped.json")
        raise (ShortOfTarget if note["error"] == "ShortOfTarget" else RunFailed)(note["message"])
