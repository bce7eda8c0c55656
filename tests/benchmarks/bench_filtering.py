"""How near the filtering comes to merely reading the bytes, and how much memory it takes.

    python tests/benchmarks/bench_filtering.py [--records 1000000] [--repeats 3] [--folder DIR]

Everything is measured in one run, in turn (A B C A B C ...), each in a process of its own:

floor      every line of the file is read and thrown away
json       the standard library's json.loads on every line, failures counted (what a script would do)
scan       our first pass over JSON lines, one process
filter     the whole of our filtering (both passes, shards written), one process
filter x2  the same with the first pass cut over two processes
array      our first pass over the same records as one JSON array
ijson      the usual constant-memory reader of arrays, where it is installed
array json the standard library's json.load of that array (only up to 100,000 records: it needs five times the file in memory)

Printed: machine, sizes, every repeat, medians, ratios (by the clock, and by CPU time, which other work on the machine does not
distort), peak memory of each process.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from millrace.filtering.outcome_files import plan_parts
from millrace.filtering.routing import load_routes
from millrace.filtering.scan import Scan, scan_part
from millrace.filtering.selection import select_failures
from millrace.filtering.selection_shards import write_shard
from millrace.filtering.settings import FilteringSettings
from millrace.records.outcome import FAILURES
from tests.filtering.filtered import filter_outcomes

KINDS = ("correct", "wrong", "correct", "hallucinated", "correct", "right_abstain", "wrong", "infra_error")
CONFIG = FilteringSettings(quota=500, shard_size=500)


def write_records(lines: Path, array: Path, count: int) -> None:
    """`count` outcomes of about 1.3 KB, one in fifty with 24 KB more, as JSON lines and as an array."""
    rng = random.Random(1)
    failure_ids = list(load_routes("default").by_failure)[:8]
    long_text = 'q"},{\\ ' * 3500
    with lines.open("wb") as file, array.open("wb") as whole:
        whole.write(b"[")
        for number in range(count):
            kind = KINDS[rng.randrange(len(KINDS))]
            claim = number % 8
            sha = hashlib.blake2b(str(number // 8).encode(), digest_size=8).hexdigest()
            record: dict[str, Any] = {
                "kind": "outcome",
                "id": f"out_{hashlib.blake2b(str(number).encode(), digest_size=6).hexdigest()}",
                "schema": "millrace.outcome/1",
                "image": {
                    "image_id": f"img_{sha}",
                    "file": f"{number // 40000:05d}.parquet",
                    "row": number // 8 % 5000,
                    "sha256": sha,
                    "width": 160,
                    "height": 160,
                },
                "claim_id": f"claim_{claim}",
                "claim_set": "default@1",
                "claim": "There are exactly [COUNT] red digits in the picture, among them 汉字 and \\ signs.",
                "prefilled": {"OBJECT_TYPE": "red digits"},
                "selectors": {"OBJECT_TYPE": {"colour": "red"}},
                "answerable": kind != "hallucinated",
                "outcome": kind,
                "failure_id": failure_ids[claim] if kind in FAILURES else None,
                "baseline": {
                    "name": "embedded",
                    "fingerprint": sha,
                    "related": True,
                    "values": {"COUNT": "4"},
                    "text": "There are exactly 4 red digits. " * 6,
                    "explanation": long_text if number % 50 == 0 else 'seen "there"; ' * 12,
                    "confidence": 0.5,
                },
                "judge": {
                    "by": "annotation",
                    "kind": "verified",
                    "correct": {"COUNT": "2"},
                    "accepted": {"COUNT": ["2"]},
                    "explanation": "there are two " * 10,
                },
                "factors": ["noise", "crowded"],
                "error": None,
            }
            text = orjson.dumps(record)
            file.write(text + b"\n")
            whole.write((b",\n" if number else b"\n") + text)
        whole.write(b"\n]\n")


def floor(lines: Path) -> int:
    count = 0
    with lines.open("rb", buffering=1 << 20) as file:
        for _ in file:
            count += 1
    return count


def stdlib_loop(lines: Path) -> int:
    count = 0
    with lines.open("rb", buffering=1 << 20) as file:
        for line in file:
            record = json.loads(line)
            count += record["outcome"] in FAILURES and bool(record["failure_id"])
    return count


def scan(path: Path) -> int:
    return sum(len(scan_part(part, seed=42).candidates) for part in plan_parts([path]))


def whole_filter(lines: Path) -> int:
    with tempfile.TemporaryDirectory() as out:
        return filter_outcomes(lines, Path(out), CONFIG).kept


def _scan_one(part: Any) -> Scan:
    return scan_part(part, seed=42)


def parallel_filter(lines: Path) -> int:
    routes = load_routes("default")
    with tempfile.TemporaryDirectory() as out, ProcessPoolExecutor(2) as pool:
        scans = list(pool.map(_scan_one, plan_parts([lines])))
        selection = select_failures(scans, CONFIG, routes)
        return sum(write_shard(plan, Path(out) / plan.name, routes).kept for plan in selection.shards)


def stdlib_array(array: Path) -> int:
    with array.open("rb") as file:
        return sum(record["outcome"] in FAILURES and bool(record["failure_id"]) for record in json.load(file))


def ijson_array(array: Path) -> int:
    import ijson.backends.yajl2_c as ijson

    with array.open("rb") as file:
        return sum(record["outcome"] in FAILURES and bool(record["failure_id"]) for record in ijson.items(file, "item"))


CASES = {
    "floor": (floor, "lines"),
    "json": (stdlib_loop, "lines"),
    "scan": (scan, "lines"),
    "filter": (whole_filter, "lines"),
    "filter x2": (parallel_filter, "lines"),
    "array": (scan, "array"),
    "ijson": (ijson_array, "array"),
    "array json": (stdlib_array, "array"),
}


def measured(case: str, path: Path) -> dict[str, float]:
    """Run one case in a process of its own; seconds of wall time and CPU, peak memory in MB."""
    answer = subprocess.run(
        [sys.executable, __file__, "--child", case, "--folder", str(path)], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def _cpu() -> float:
    """CPU seconds of this process and its ended children: what a busy machine does not distort."""
    return sum(use.ru_utime + use.ru_stime for use in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def child(case: str, path: Path) -> None:
    start, cpu = time.perf_counter(), _cpu()
    result = CASES[case][0](path)
    wall, used = time.perf_counter() - start, _cpu() - cpu
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(json.dumps({"wall": wall, "cpu": used, "peak_mb": peak, "result": result}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "bench_filtering")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.folder)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    files = {name: options.folder / f"{options.records}.{name}.json" for name in ("lines", "array")}
    if not all(path.exists() for path in files.values()):
        write_records(files["lines"], files["array"], options.records)
    size = files["lines"].stat().st_size
    print(f"machine: {os.cpu_count()} cores, {platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"input: {options.records:,} outcomes, {size / 1e6:,.0f} MB (lines and array each)")
    left_out = {"array json"} if options.records > 100_000 else set()
    left_out |= set() if importlib.util.find_spec("ijson") else {"ijson"}
    cases = [case for case in CASES if case not in left_out]
    runs: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(options.repeats):
        for case in cases:
            runs[case].append(measured(case, files[str(CASES[case][1])]))
    medians = {case: statistics.median(run["wall"] for run in runs[case]) for case in cases}
    cpu = {case: statistics.median(run["cpu"] for run in runs[case]) for case in cases}
    head = ("MB/s", "of floor", "x json", "MB/CPU s", "of floor", "x json", "peak MB", "result")
    print(f"{'case':12} {'s (each repeat)':24}" + "".join(f"{name:>10}" for name in head))
    for case in cases:
        each = " ".join(f"{run['wall']:.2f}" for run in runs[case])
        peak = max(run["peak_mb"] for run in runs[case])
        told = "".join(
            f"{size / 1e6 / times[case]:10.0f}{times['floor'] / times[case]:10.1%}{times['json'] / times[case]:10.2f}"
            for times in (medians, cpu)
        )
        print(f"{case:12} {each:24}{told}{peak:10.0f}{runs[case][0]['result']:10.0f}")
    print(f"two processes against one: x{medians['filter'] / medians['filter x2']:.2f}")


if __name__ == "__main__":
    main()
