"""What the experiment machinery costs: drawing configurations, and a measured run against the bare training command.

    python -m tests.benchmarks.bench_training --configurations 100000 --repeats 5

Runs are compared in turn (A B A B …) in one process: the bare command by subprocess, the same command measured (`run_attempt`:
guard, events, energy, host figures), and the same as a Prefect task run against a temporary API. What is added does not grow with
the length of a training, so the overhead of a 5-minute run is the difference over 300 s. The start of the API and of a flow comes
once for all runs of a config and is told by itself.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from millrace.config import parse_config
from millrace.training.campaign import Campaign, open_campaign
from millrace.training.launch import environment_for
from millrace.training.mutation import mutate
from millrace.training.parameters import Parameter
from millrace.training.programs import build_command
from millrace.training.settings import TrainingConfig

PARAMETERS = {
    "epochs": Parameter(type="int", default=10, range=(5, 15)),
    "lr": Parameter(default=0.1, range=(0.05, 0.15), distribution="log_uniform"),
    "dropout": Parameter(default=0.2, range=(0.0, 0.5)),
    "weight_decay": Parameter(default=0.0, range=(1e-5, 1e-3), distribution="log_uniform", zero_probability=0.3),
    "seed": Parameter(type="int", default=1, range=(0, 9999)),
}


def bench_mutation(count: int, repeats: int) -> None:
    times, floor = [], []
    for repeat in range(repeats):
        began = time.perf_counter()
        found = mutate(PARAMETERS, sorted(PARAMETERS), count, random.Random(repeat))
        times.append(time.perf_counter() - began)
        assert len(found.sets) == count
        generator = random.Random(repeat)
        began = time.perf_counter()
        for _ in range(count):  # the floor: the same number of raw draws
            for _ in PARAMETERS:
                generator.uniform(0.0, 1.0)
        floor.append(time.perf_counter() - began)
    print(f"mutation: {count:,} different sets of {len(PARAMETERS)} parameters in {statistics.median(times):.2f} s", end="")
    print(
        f" ({1e6 * statistics.median(times) / count:.1f} us each; bare draws {statistics.median(floor):.2f} s)  {rounded(times)}"
    )


def config(folder: Path, epochs: int) -> TrainingConfig:
    job = {"workload": "tabular_mlp", "hyperparameters": {"epochs": epochs}, "resources": {"threads": 1}}
    data = {"experiments": [job], "mode": "default", "energy": {"idle_s": 0}, "cool_down": {"max_s": 0}, "runs_per_config": 1000}
    return parse_config(TrainingConfig, data, where=str(folder))


def bare(campaign: Campaign, folder: Path, number: int) -> float:
    run = campaign.plan.runs[number]
    out = folder / f"bare-{number}"
    out.mkdir()
    command = build_command(run.program, run.job, run.hyperparameters, out)
    began = time.perf_counter()
    with (out / "log").open("wb") as log:
        subprocess.run(command, stdout=log, stderr=log, env=environment_for(run.job, run.program), check=True)
    return time.perf_counter() - began


def bench_runs(repeats: int, epochs: int, *, prefect: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with open_campaign(config(folder, epochs), folder / "training") as campaign:
            times: dict[str, list[float]] = {"bare command": [], "measured run": []}
            if prefect:
                times["Prefect task run"] = []
            bare(campaign, folder, 999)  # warms the page cache
            for number in range(repeats):
                times["bare command"].append(bare(campaign, folder, number))
                began = time.perf_counter()
                assert campaign.run_one(campaign.plan.runs[2 * number]).ok
                times["measured run"].append(time.perf_counter() - began)
                if prefect:
                    times["Prefect task run"].append(_in_prefect(campaign, 2 * number + 1))
            floor = times["bare command"]
            for name, values in times.items():
                pairs = [value - base for value, base in zip(values, floor, strict=True)]
                more = statistics.median(pairs)
                share = f"   adds {more:+.2f} s: {100 * more / 300:.2f} % of a 5-minute run" if values is not floor else ""
                print(f"{name:18} median {statistics.median(values):6.2f} s  {rounded(values)}{share}")


def _in_prefect(campaign: Campaign, number: int) -> float:
    from prefect import flow

    from tasks import training as steps

    took: list[float] = []

    @flow(name="bench", validate_parameters=False)
    def bench() -> None:
        began = time.perf_counter()
        assert steps.run_experiment(campaign, campaign.plan.runs[number], lambda _: None).ok
        took.append(time.perf_counter() - began)

    bench()
    return took[0]


def rounded(values: list[float]) -> str:
    return "[" + " ".join(f"{value:.2f}" for value in values) + "]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configurations", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--no-prefect", action="store_true")
    options = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    bench_mutation(options.configurations, options.repeats)
    if options.no_prefect:
        bench_runs(options.repeats, options.epochs, prefect=False)
        return
    from millrace.orchestration import local_api

    with tempfile.TemporaryDirectory() as logs, local_api.prefect_api(Path(logs)) as ready:
        began = time.perf_counter()
        with ready():
            print(f"API ready after {time.perf_counter() - began:.1f} s (once for all runs of a config)")
            bench_runs(options.repeats, options.epochs, prefect=True)
            local_api.drain()


if __name__ == "__main__":
    main()
