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
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import orjson

from millrace.config import load_config
from millrace.records.synthesis_counts import ShardTally
from millrace.synthesis import work_shard as shard
from millrace.synthesis.runs.shard_plan import plan_shards
from millrace.synthesis.runs.synthesis_run import finish_run
from millrace.synthesis.settings import SynthesisConfig

ROOT = Path(__file__).parents[2]
INSIDE = ("exploring", "selecting", "proving")
"""What a shard is for; the rest (writing records, journal, tally, tries) is overhead."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("overhead", "memory", "start"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=None, help="overhead: the first so many; memory: 100,000 unless told")
    parser.add_argument("--folder", type=Path, default=None, help="memory: where its files go (2 GB for a million seeds)")
    parser.add_argument("--environment", default="math")
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    {"overhead": overhead, "memory": memory, "start": start}[options.what](options)


def overhead(options: argparse.Namespace) -> None:
    overrides = ["seeds_per_shard=25", *([f"number_of_seed={options.seeds}"] if options.seeds else [])]
    config = load_config(SynthesisConfig, ROOT / "configs" / "synthesis" / f"{options.environment}.yaml", overrides)
    rates: dict[int, list[float]] = {1: [], 2: []}
    shares: list[float] = []
    parts: Counter[str] = Counter()
    for _ in range(options.repeats):
        for workers, found in rates.items():
            with tempfile.TemporaryDirectory() as folder:
                plan = plan_shards(config, Path(folder))
                with ProcessPoolExecutor(workers) as pool:
                    list(pool.map(opened, [config] * 4 * workers))  # before the clock starts
                    began = time.perf_counter()
                    results = pool.map(work, [config] * len(plan.shards), plan.shards, map(plan.result_of, plan.shards))
                    counted = list(results)
                    took = time.perf_counter() - began
                    found.append(sum(counts.items for counts, _, _ in counted) / took)
                    if workers == 1:
                        spans = sum((Counter(counts.spans) for counts, _, _ in counted), Counter[str]())
                        whole = sum(seconds for _, seconds, _ in counted)
                        shares.append(sum(spans[name] for name in INSIDE) / whole)
                        parts.update({**spans, "all": whole})
    for workers, found in rates.items():
        print(
            f"{workers} worker(s): median {statistics.median(found):.1f} verified items/s, "
            f"all {[round(rate, 1) for rate in found]}"
        )
    print(f"two workers against one: x{statistics.median(rates[2]) / statistics.median(rates[1]):.2f}")
    print(f"inside environment, policy, selection and proof: {[f'{share:.1%}' for share in shares]} of a shard's time")
    print("by kind: " + ", ".join(f"{name} {seconds / parts['all']:.1%}" for name, seconds in parts.items() if name != "all"))


def opened(config: SynthesisConfig) -> None:
    """Have a worker open its environment; long enough that each of a pool's workers gets one."""
    shard.worker_environment(config)
    time.sleep(0.2)


def work(config: SynthesisConfig, plan: Path, path: Path) -> tuple[ShardTally, float, int]:
    """A shard; (its tally, seconds in all, the worker's peak memory in bytes)."""
    began = time.perf_counter()
    counts = shard.synthesise_shard(config, plan, path)
    return counts, time.perf_counter() - began, peak_bytes()


def memory(options: argparse.Namespace) -> None:
    seeds = options.seeds or 100_000
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        with (folder / "seeds.txt").open("w") as file:
            for number in range(seeds):
                file.write(f"seed number {number} of many\n")
        config = SynthesisConfig(environment_mode="tests.benchmarks.null_world", seeds=folder / "seeds.txt", max_workers=2)
        with ProcessPoolExecutor(2) as pool:  # forked before anything has grown
            list(pool.map(opened, [config] * 8))
            began = time.perf_counter()
            plan = plan_shards(config, folder / "run")
            print(f"planned {plan.seeds:,} seeds in {len(plan.shards)} shards, {said(began)}", flush=True)
            tenth = max(1, len(plan.shards) // 10)
            largest = 0
            waiting = pool.map(work, [config] * len(plan.shards), plan.shards, map(plan.result_of, plan.shards))
            for number, (_, _, peak) in enumerate(waiting, 1):
                largest = max(largest, peak)
                if number % tenth == 0:
                    done = number / len(plan.shards)
                    print(f"  {done:4.0%} {said(began)}, the larger of two workers {largest >> 20} MiB", flush=True)
        finish_run(config, plan, folder / "run")
        took = time.perf_counter() - began
        print(f"all: {seeds:,} seeds, {seeds / took:,.0f} seeds/s, {said(began)}, load {os.getloadavg()[0]:.1f}")


def said(began: float) -> str:
    return f"{time.perf_counter() - began:6.1f} s, peak memory here {peak_bytes() >> 20} MiB"


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
