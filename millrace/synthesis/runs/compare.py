"""Serial against parallel on the user's own config and seeds: are the bytes the same, and what is gained?"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from millrace.errors import RunFailed
from millrace.run.journal import read_json, write_json
from millrace.synthesis.settings import SynthesisConfig

COMPARED = ("qa.jsonl", "trajectories.jsonl", "trees.jsonl", "rejected.jsonl", "failures.jsonl")


def compare(
    config: SynthesisConfig, path: Path | None, overrides: Sequence[str], folder: Path, workers: int
) -> tuple[list[str], bool]:
    """Run both as their own processes into `folder`, write `comparison.json` there; (lines to print, whether the files are
    equal).

    Raises:
        RunFailed: one of the two runs failed.
    """
    seconds: dict[str, float] = {}
    for name, count in (("serial", 1), ("parallel", workers)):
        run_dir = folder / name
        command = [sys.executable, "-m", "flows.synthesis", "--run-dir", str(run_dir)]
        command += ["--config", str(path)] if path else []
        for override in (*overrides, f"max_workers={count}"):
            command += ["--set", override]
        began = time.monotonic()
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
        seconds[name] = round(time.monotonic() - began, 2)
        if done.returncode not in (0, 3):
            raise RunFailed(f"the {name} run ended with exit code {done.returncode}; see {run_dir / 'logs'}")
    serial, parallel = (read_json(folder / name / "statistics.json") for name in ("serial", "parallel"))
    equal = {name: serial["files"].get(name) == parallel["files"].get(name) for name in COMPARED}
    report = {
        "environment": config.environment_mode,
        "workers": workers,
        "seconds": seconds,
        "speed_up": round(seconds["serial"] / seconds["parallel"], 3),
        "verified": {"serial": serial["items"]["verified"], "parallel": parallel["items"]["verified"]},
        "same_bytes": equal,
        "note": "a run that was finished before is not run again; its time is then only that of looking",
    }
    write_json(folder / "comparison.json", report)
    lines = [
        f"serial: {seconds['serial']} s, {report['verified']['serial']} verified",  # type: ignore[index]
        f"parallel ({workers} workers): {seconds['parallel']} s, {report['verified']['parallel']} verified",  # type: ignore[index]
        *(f"{name}: {'same bytes' if same else 'DIFFERENT'}" for name, same in equal.items()),
        f"written to {folder / 'comparison.json'}",
    ]
    return lines, all(equal.values())
