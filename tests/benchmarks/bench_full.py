"""The main job's time: how long, and which share is orchestration.

    python -m tests.benchmarks.bench_full [--repeats 3] [--cold]

Runs `python -m flows.full` with its defaults in new folders. The floor is the work itself (drawing, training, ranks, questions),
measured inside the same run; what is left of the command's wall time is orchestration: API, cluster, Prefect, start and stop.
`--cold` gives each run a new cache, so that lake, baseline and database template are made again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measure(folder: Path, cache: Path, name: str) -> dict[str, float]:
    """One run: seconds of the command, of its work, and of orchestration by stage; then a second run in the finished folder."""
    command = [sys.executable, "-m", "flows.full", "--run-dir", str(folder / name)]
    environment = {**os.environ, "MILLRACE_CACHE": str(cache)}
    started = time.monotonic()
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    wall = time.monotonic() - started
    spent = json.loads((folder / name / "summary.json").read_text())["time"]
    started = time.monotonic()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    again = time.monotonic() - started
    stages = {f"orchestration of {stage}": part["wall"] - part["work"] for stage, part in spent["stages"].items()}
    stages["orchestration of start and stop"] += wall - spent["wall"]  # stopping comes after the summary was written
    return {"wall": wall, "work": spent["work"], "orchestration": wall - spent["work"], **stages, "finished folder": again}


def main() -> None:
    """Run and print every repeat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    load = Path("/proc/loadavg").read_text().split()[0] if Path("/proc/loadavg").exists() else "?"
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, load {load}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if not options.cold:
            measure(folder, folder / "cache", "first")
        runs = [
            measure(folder, folder / (f"cache-{number}" if options.cold else "cache"), f"run-{number}")
            for number in range(options.repeats)
        ]
    for key in runs[0]:
        print(f"{key:36s}", "  ".join(f"{run[key]:7.1f}" for run in runs))
    print(f"{'share of orchestration':36s}", "  ".join(f"{run['orchestration'] / run['wall']:7.1%}" for run in runs))


if __name__ == "__main__":
    main()
