"""What the statistics of `millrace/statistics` promise, against known truth at length, and how long they take.

    python tests/benchmarks/bench_statistics.py [--trials 2000] [--draws 1000] [--only coverage|level|crossed|speed]

coverage   share of 95 % intervals that hold the true difference: plain percentiles, BCa, widened percentiles, what is used
level      share of comparisons of equal models, eight claims on the same images, with a significant claim after Holm
crossed    the same as coverage for differences over images and seeds
speed      25,000 outcomes, 10,000 draws, 61 strata, one core (run it under `taskset -c 0`)

Printed: machine, sizes and every figure. A share of 2,000 trials has a standard error of half a point.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from millrace.statistics.bootstrap import bootstrap_differences
from millrace.statistics.cluster_table import Stratum, cluster_table
from millrace.statistics.crossed import crossed_difference
from millrace.statistics.differences import differences
from millrace.statistics.holm import holm
from millrace.statistics.intervals import NORMAL, percentile_interval
from millrace.statistics.mcnemar import clustered_mcnemar
from tests.statistics.known_truth import World

WORLDS = {
    "30 images x 1-10, 32 % differ": World(images=30, largest=10, effect=0.5),
    "30 images x 1-10, 10 % differ": World(images=30, largest=10, base=-4.0, image_change=1.0),
    "100 images x 1": World(images=100, largest=1, effect=0.3, image_change=0.0),
    "100 images x 1, 9 % differ": World(images=100, largest=1, base=-4.0, image_change=0.0),
    "100 images x 1-6": World(images=100, largest=6, effect=0.3, image_change=0.7),
    "100 images x 1-6, 8 % differ": World(images=100, largest=6, base=-4.0, effect=-0.5),
    "100 images x 1-6, changing as wholes": World(images=100, largest=6, effect=0.3, image_change=2.5),
    "400 images x 1-6, 15 % differ": World(images=400, largest=6, base=-3.0, effect=-0.3),
    "400 images x 1, 10 % differ": World(images=400, largest=1, base=-4.0, effect=0.5, image_change=0.0),
}


def bca(drawn: np.ndarray, change: np.ndarray, pairs: np.ndarray) -> tuple[float, float]:
    """Efron's interval, corrected for bias and acceleration, with the jackknife over images."""
    found = change.sum() / pairs.sum()
    below = ((drawn < found).mean() + (drawn <= found).mean()) / 2
    bias = NORMAL.inv_cdf(min(max(below, 1e-4), 1 - 1e-4))
    left_out = (change.sum() - change) / (pairs.sum() - pairs)
    lean = left_out.mean() - left_out
    acceleration = (lean**3).sum() / (6 * (lean**2).sum() ** 1.5 or 1.0)
    levels = [NORMAL.cdf(bias + (bias + z) / (1 - acceleration * (bias + z))) for z in (-1.96, 1.96)]
    low, high = np.quantile(drawn, levels)
    return float(low), float(high)


def coverage(trials: int, draws: int) -> None:
    print(f"\ncoverage of 95 % intervals, {trials} trials, {draws} draws; mean width of what is used")
    for name, world in WORLDS.items():
        rng = np.random.default_rng(0)
        held = dict.fromkeys(("percentile", "BCa", "widened", "used"), 0)
        width = 0.0
        for trial in range(trials):
            table = world.table(rng)
            drawn = bootstrap_differences(table, draws=draws, seed=trial)[:, 0]
            used = differences(table, draws=draws, seed=trial)["all"]
            plain = tuple(np.quantile(drawn, [0.025, 0.975]))
            found = {
                "percentile": plain,
                "BCa": bca(drawn, table.change_KS[:, 0], table.pairs_KS[:, 0]),
                "widened": percentile_interval(drawn, 0.025, world.images),
                "used": (used.low, used.high),
            }
            for kind, (low, high) in found.items():
                held[kind] += low <= world.difference <= high
            width += used.high - used.low
        shares = "  ".join(f"{kind} {count / trials:.1%}" for kind, count in held.items())
        print(f"{name:38} {shares}  width {100 * width / trials:.1f} points", flush=True)


def level(trials: int) -> None:
    print(f"\nequal models, 8 claims on the same images, level 5 %, {trials} trials")
    for images in (40, 200, 800):
        world = World(images=images, largest=5, image_change=0.0)
        rng = np.random.default_rng(1)
        corrected = alone = each = 0
        for _ in range(trials):
            p_values = {str(claim): clustered_mcnemar(world.table(rng).change_KS[:, 0]).p_value for claim in range(8)}
            corrected += min(p for p in holm(p_values).values() if p is not None) <= 0.05
            alone += min(p_values.values()) <= 0.05
            each += sum(p <= 0.05 for p in p_values.values())
        shares = [count / trials for count in (corrected, alone, each / 8)]
        print(
            f"{images} images: any claim {shares[0]:.1%} with Holm, {shares[1]:.1%} without; one claim {shares[2]:.1%}",
            flush=True,
        )


def crossed(trials: int) -> None:
    print(f"\ncoverage over images and seeds, {trials} trials, 500 draws")
    for seeds, images, spread, own in (
        (3, 300, 0.015, 0.05),
        (3, 300, 0.0, 0.05),
        (6, 300, 0.015, 0.05),
        (10, 300, 0.015, 0.05),
        (10, 300, 0.0, 0.1),
    ):
        rng = np.random.default_rng(2)
        held = {"two-way variance": 0, "crossed bootstrap": 0}
        for trial in range(trials):
            pairs_K = rng.integers(1, 7, images)
            mean = -0.02 + rng.normal(size=(seeds, 1)) * spread + rng.normal(size=(1, images)) * own
            mean = np.clip(mean, -0.19, 0.19)
            up = rng.binomial(pairs_K, (0.2 + mean) / 2)
            down = rng.binomial(pairs_K - up, ((0.2 - mean) / 2) / (1 - (0.2 + mean) / 2))
            pairs_RK = np.broadcast_to(pairs_K, up.shape).astype(float)
            one = crossed_difference((up - down).astype(float), pairs_RK, draws=500, seed=trial)
            held["two-way variance"] += one.low <= -0.02 <= one.high
            held["crossed bootstrap"] += one.bootstrap_low <= -0.02 <= one.bootstrap_high
        shares = "  ".join(f"{kind} {count / trials:.1%}" for kind, count in held.items())
        print(f"{seeds} seeds (SD {100 * spread} points), {images} images: {shares}", flush=True)


def speed() -> None:
    rng = np.random.default_rng(3)
    pairs, images = 25_000, 4_000
    cluster = rng.integers(0, images, pairs)
    before = rng.random(pairs) < 0.4
    after = np.where(rng.random(pairs) < 0.2, rng.random(pairs) < 0.3, before)
    strata = {"all": Stratum(cluster, before, after)}
    for number in range(60):
        chosen = rng.random(pairs) < 0.15
        strata[str(number)] = Stratum(cluster[chosen], before[chosen], after[chosen])
    taken = []
    for _ in range(5):
        started = time.process_time()
        differences(cluster_table(images, strata), draws=10_000, margin=0.02)
        taken.append(time.process_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = [round(one, 2) for one in taken]
    print(f"\n25,000 outcomes, {images} images, 61 strata, 10,000 draws: {seconds} s of CPU, peak {peak:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--only", choices=["coverage", "level", "crossed", "speed"])
    options = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}")
    for name, work in {
        "coverage": lambda: coverage(options.trials, options.draws),
        "level": lambda: level(options.trials),
        "crossed": lambda: crossed(options.trials),
        "speed": speed,
    }.items():
        if options.only in (None, name):
            work()


if __name__ == "__main__":
    main()
