"""What synthesis costs besides its environments.

    python -m tests.benchmarks.bench_synthesis overhead --repeats 3
    python -m tests.benchmarks.bench_synthesis memory --seeds 1000000
    python -m tests.benchmarks.bench_synthesis start

`overhead`: verified items per second with 1 and 2 worker processes, in turn (1 2 1 2 …), and the share of a shard's time that is
spent inside environment, policy, selection and proof; target: at least 90 %. `memory`: seeds through an environment that does
nothing; seeds per second and peak memory after each tenth (flat is the claim). `start`: seconds from the command to the first
record with a verified item in a journal; target: 15 s on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from tasks.config import load_config
from tasks.synthesis import shard
from tasks.synthesis.config import SynthesisConfig
from tasks.synthesis.plan import plan_shards
from tasks.synthesis.run import finish_run

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("overhead", "memory", "start"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--environment", default="math")
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    {"overhead": overhead, "memory": memory, "start": start}[options.what](options)


def overhead(options: argparse.Namespace) -> None:
    config = load_config(SynthesisConfig, ROOT / "configs" / "synthesis" / f"{options.environment}.yaml", ["seeds_per_shard=25"])
    rates: dict[int, list[float]] = {1: [], 2: []}
    shares = []
    for _ in range(options.repeats):
        for workers, found in rates.items():
            with tempfile.TemporaryDirectory() as folder:
                plan = plan_shards(config, Path(folder))
                with ProcessPoolExecutor(workers) as pool:
                    list(pool.map(shard.worker_environment, [config] * workers))  # opened before the clock starts
                    began = time.perf_counter()
                    results = pool.map(work, [config] * len(plan.shards), plan.shards, map(plan.result_of, plan.shards))
                    counted = list(results)
                    took = time.perf_counter() - began
                    found.append(sum(counts["items"] for counts, _, _ in counted) / took)
                    if workers == 1:
                        shares.append(sum(inside for _, inside, _ in counted) / sum(whole for _, _, whole in counted))
    for workers, found in rates.items():
        print(
            f"{workers} worker(s): median {statistics.median(found):.1f} verified items/s, "
            f"all {[round(rate, 1) for rate in found]}"
        )
    print(f"two workers against one: x{statistics.median(rates[2]) / statistics.median(rates[1]):.2f}")
    print(f"inside environment, policy, selection and proof: {[f'{share:.1%}' for share in shares]} of a shard's time")


def work(config: SynthesisConfig, plan: Path, path: Path) -> tuple[dict[str, Any], float, float]:
    """A shard; (its counts, seconds inside, seconds in all)."""
    inside = 0.0

    def timed(name: str) -> None:
        original: Callable[..., Any] = getattr(shard, name)

        def measured(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            began = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                inside += time.perf_counter() - began

        async def measured_later(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            began = time.perf_counter()
            try:
                return await original(*args, **kwargs)
            finally:
                inside += time.perf_counter() - began

        setattr(shard, name, measured_later if name == "sample_trajectories" else measured)
        restore.append((name, original))

    restore: list[tuple[str, Any]] = []
    for name in ("sample_trajectories", "candidates", "select_trajectories", "prove"):
        timed(name)
    began = time.perf_counter()
    try:
        counts = shard.synthesise_shard(config, plan, path)
    finally:
        whole = time.perf_counter() - began
        for name, original in restore:
            setattr(shard, name, original)
    return counts, inside, whole


def memory(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "seeds.txt").open("w") as file:
            for number in range(options.seeds):
                file.write(f"seed number {number} of many\n")
        config = SynthesisConfig(environment_mode="tests.benchmarks.null_world", seeds=folder / "seeds.txt", max_workers=2)
        began = time.perf_counter()
        plan = plan_shards(config, folder / "run")
        print(f"planned {plan.seeds:,} seeds in {len(plan.shards)} shards in {time.perf_counter() - began:.1f} s, {peak()}")
        tenth = max(1, len(plan.shards) // 10)
        for number, path in enumerate(plan.shards, 1):
            shard.synthesise_shard(config, path, plan.result_of(path))
            if number % tenth == 0:
                done = number / len(plan.shards)
                print(f"  {done:4.0%} after {time.perf_counter() - began:6.1f} s, {peak()}")
        finish_run(config, plan, folder / "run")
        took = time.perf_counter() - began
        print(f"all: {options.seeds:,} seeds in {took:.1f} s, {options.seeds / took:,.0f} seeds/s, {peak()}")


def peak() -> str:
    return f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"


def start(options: argparse.Namespace) -> None:
    found = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "run"
            config = ROOT / "configs" / "synthesis" / f"{options.environment}.yaml"
            began = time.perf_counter()
            command = [sys.executable, "-m", "flows.synthesis", "--config", str(config), "--run-dir", str(folder)]
            with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as child:
                while child.poll() is None and not has_item(folder):
                    time.sleep(0.02)
                found.append(time.perf_counter() - began)
                child.wait()
    print(f"first verified item after: median {statistics.median(found):.1f} s, all {[round(seconds, 1) for seconds in found]}")


def has_item(folder: Path) -> bool:
    for path in (folder / "synthesis" / "shards").glob("*.jsonl*"):
        try:
            lines = path.read_bytes().split(b"\n")[:-1]
        except OSError:
            continue
        if any(orjson.loads(line).get("items") for line in lines if line.startswith(b"{")):
            return True
    return False


if __name__ == "__main__":
    main()
