"""What a flow's start and stop cost: CPU seconds of each kind of process, seconds until the first work and after the last.

    python -m tests.benchmarks.bench_start [--repeats 5] [--flow filtering|full] [--set cluster=none]

Runs a flow with hardly any work (the main job on 80 images with a baseline that tosses coins, or only its filtering, on
outcomes that are there), so that what is left is orchestration. CPU seconds are user + system of each process of the tree,
as /proc has them every 50 ms: up to 50 ms of each process are missing. They depend less on what else the machine does than wall
clock does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

SMALL = {
    "probing": {
        "baseline": {"name": "tests.probing.coin_baseline"},
        "lake": {"images": 80},
        "target_failure_count": 160,
        "failure_batch_size": 8,
    },
    "filtering": {"failures_per_image": None, "quota": 12, "shard_size": 30},
}
"""The main job in small."""

ROLES = {
    "prefect.server": "the Prefect server",
    "local_server": "the Prefect server",
    "torch.distributed": "torchrun and ranks",
    "probing.ranks": "torchrun and ranks",
    "multiprocessing": "workers",
    "distributed": "workers",
    "guard": "guards",
}
"""What a command line holds, and the kind of process that it is; without any of these it is the command."""

EVERY_S = 0.05
TICKS = os.sysconf("SC_CLK_TCK")


def role_of(command: str) -> str:
    """The kind of process with this command line."""
    return next((role for part, role in ROLES.items() if part in command), "the command")


class Tree:
    """The processes below one, while they live: CPU seconds of each as last seen."""

    def __init__(self, root: int) -> None:
        self.root = root
        self.seen: dict[int, tuple[str, float]] = {}

    def look(self) -> None:
        """Read what /proc says of every process of the tree."""
        parents: dict[int, int] = {}
        spent: dict[int, float] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            spent[int(entry.name)] = (int(fields[11]) + int(fields[12])) / TICKS
        below, found = {self.root}, True
        while found:
            found = {pid for pid, parent in parents.items() if parent in below} - below
            below |= found
        for pid in below & set(spent):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            if command:  # one that has ended and was not waited for has none
                self.seen[pid] = role_of(command), spent[pid]


def measure(flow: str, config: Path, run_dir: Path, cache: Path, settings: list[str]) -> dict[str, float]:
    """One run of the command: its CPU seconds by kind of process, and its wall clock by what it waited for."""
    command = [sys.executable, "-m", f"flows.{flow}", "--config", str(config), "--run-dir", str(run_dir)]
    command += [part for setting in settings for part in ("--set", setting)]
    started, started_at = time.monotonic(), time.time()
    process = subprocess.Popen(command, env={**os.environ, "MILLRACE_CACHE": str(cache)}, stderr=subprocess.DEVNULL)
    tree = Tree(process.pid)
    while process.poll() is None:
        tree.look()
        time.sleep(EVERY_S)
    wall = time.monotonic() - started
    if process.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    found = {"wall s": wall, "all": sum(seconds for _, seconds in tree.seen.values())}
    stages, last = stage_times(run_dir / "logs" / "flow.log")
    if stages is not None and last is not None:
        found |= {"until the first stage s": stages - started_at, "after the last stage s": started_at + wall - last}
    summary = json.loads((run_dir / "summary.json").read_text()) if (run_dir / "summary.json").exists() else {}
    if spent := summary.get("time"):
        found["until the summary s"] = spent["wall"]
        found["of it work s"] = spent["work"]
        found["of it outside the stages s"] = spent["stages"]["start and stop"]["wall"]
    for role, seconds in tree.seen.values():
        found[role] = found.get(role, 0.0) + seconds
    return found


def stage_times(log: Path) -> tuple[float | None, float | None]:
    """When the first stage of a run began and when its flow run ended (s since the epoch). None: the log does not say."""
    begun = ended = None
    for line in log.read_text(encoding="utf-8").splitlines():
        if "Beginning subflow run" in line and begun is None:
            begun = _moment(line)
        elif "Finished in state" in line:
            ended = _moment(line)
    return begun, ended


def _moment(line: str) -> float:
    return datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()


def main() -> None:
    """Run and print every repeat with its median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--flow", choices=("filtering", "full"), default="filtering")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--cache", type=Path, help="where the small lake and a finished small run are kept for the next time")
    options = parser.parse_args()
    load = Path("/proc/loadavg").read_text().split()[0]
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, load {load}")
    with tempfile.TemporaryDirectory() as place:
        folder = options.cache or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "small.json"
        config.write_text(json.dumps(SMALL))
        probed = folder / "probed"
        if not probed.exists():
            measure("full", config, probed, folder / "cache", ["cluster=none"])
        runs = []
        for number in range(options.repeats):
            run_dir = Path(place) / f"run-{number}"
            small = config
            if options.flow == "filtering":
                small = folder / "filtering.json"
                small.write_text(json.dumps({"filtering": SMALL["filtering"], "input": str(probed / "probing")}))
            runs.append(measure(options.flow, small, run_dir, folder / "cache", options.set))
            shutil.rmtree(run_dir)
    for key in dict.fromkeys(key for run in runs for key in run):
        values = [run.get(key, 0.0) for run in runs]
        print(f"{key:28s} {statistics.median(values):7.2f}   ", "  ".join(f"{value:6.2f}" for value in values))


if __name__ == "__main__":
    main()
