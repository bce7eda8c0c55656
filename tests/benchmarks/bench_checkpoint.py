"""How fast checkpoints load: torch's own reader, this one, the floor and peers, in turn in one process.

    python -m tests.benchmarks.bench_checkpoint --gib 1 --repeats 5 --folder /tmp/bench-checkpoint

Warm page cache, destinations already touched. Every repeat runs each contender once, another one first each time; the table shows
medians and all repeats. The floor is `preadv` of the same bytes into memory of the same kind by the same number of threads, 4 MiB
at a time.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import os
import platform
import queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import warnings
from array import array
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torch.distributed.checkpoint as dcp

from millrace.checkpoint.engine.read_plan import OpenFiles, plan_reads
from millrace.checkpoint.engine.vector_io import PosixFiles
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.benchmarks.checkpoint_peers import peers
from tests.checkpoint.saved_checkpoints import CutTensor, same

State = dict[str, torch.Tensor]
Shape = tuple[State, State, dict[str, Any]]
"""What is saved, what is loaded, and the writer's options."""


def equal(count: int, nbytes: int, dtype: torch.dtype, *, files: int) -> Shape:
    rows = max(1, nbytes // dtype.itemsize // 1024)
    state = {f"layers.{index}.weight": torch.randn(rows, 1024).to(dtype) for index in range(count)}
    return state, {name: torch.full_like(one, 7) for name, one in state.items()}, {"thread_count": files}


def resharding(nbytes: int, dimension: int) -> Shape:
    side = 4096
    saved: State = {}
    wanted: State = {}
    for index in range(max(1, nbytes // (side * side * 2))):
        whole = torch.randn(side, side).bfloat16()
        step = side // 8
        boxes = []
        for part in range(8):
            offsets, sizes = [0, 0], [side, side]
            offsets[dimension], sizes[dimension] = part * step, step
            boxes.append((tuple(offsets), tuple(sizes)))
        saved[f"w{index}"] = CutTensor.of(whole, boxes)
        wanted[f"w{index}"] = torch.full((side, side), 7.0, dtype=torch.bfloat16)
    return saved, wanted, {"thread_count": 8}


def narrowed(nbytes: int, dimension: int) -> Shape:
    side = 4096
    count = max(1, nbytes // (side * side * 4))
    saved = {f"w{index}": torch.randn(side, side) for index in range(count)}
    offsets, sizes = [0, 0], [side, side]
    offsets[dimension], sizes[dimension] = side // 4, side // 4
    box = (tuple(offsets), tuple(sizes))
    return saved, {name: CutTensor.of(torch.full((side, side), 7.0), [box]) for name in saved}, {"thread_count": 2}


def mixed(nbytes: int) -> Shape:
    dtypes = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.float8_e4m3fn, torch.bool]
    state: State = {}
    index = total = 0
    while total < nbytes:
        dtype = dtypes[index % len(dtypes)]
        one = torch.randint(0, 2, (257 + 911 * (index % 13), 1024)).to(dtype)
        state[f"t{index}"] = one
        total += one.nbytes
        index += 1
    return state, {name: torch.zeros_like(one) for name, one in state.items()}, {"thread_count": 4}


def casting(nbytes: int) -> Shape:
    saved, _, options = equal(32, nbytes // 32, torch.float32, files=2)
    return saved, {name: torch.full(one.shape, 7.0, dtype=torch.bfloat16) for name, one in saved.items()}, options


def shapes(gib: float) -> dict[str, Callable[[], Shape]]:
    nbytes = int(gib * 2**30)
    small = int(24_576 * gib / 1.1)
    return {
        "1 file, 128 x equal fp32": lambda: equal(128, nbytes // 128, torch.float32, files=1),
        "8 files, bf16": lambda: equal(128, nbytes // 128, torch.bfloat16, files=8),
        "64 files, many small": lambda: equal(small, 45_056, torch.float32, files=64),
        "1 file, 4 huge fp32": lambda: equal(4, nbytes // 4, torch.float32, files=1),
        "8 -> 1, dim 0": lambda: resharding(nbytes, 0),
        "8 -> 1, dim 1": lambda: resharding(nbytes, 1),
        "narrowed to 1/4, dim 0": lambda: narrowed(nbytes, 0),
        "narrowed to 1/4, dim 1": lambda: narrowed(nbytes, 1),
        "mixed dtypes": lambda: mixed(nbytes),
        "fp32 -> bf16": lambda: casting(nbytes),
        "tiny: 1 tensor of 4 KB": lambda: equal(1, 4096, torch.float32, files=1),
        "tiny: 20 tensors of 4 KB": lambda: equal(20, 4096, torch.float32, files=1),
        "20,000 of 1 KB, all shapes differ": lambda: distinct(int(20_000 * min(gib, 1))),
    }


def distinct(count: int) -> Shape:
    state = {f"t{index}": torch.randn(1 + index % 400, 1 + index // 400) for index in range(count)}
    return state, {name: torch.zeros_like(one) for name, one in state.items()}, {"thread_count": 4}


def timed(work: Callable[[], object]) -> float:
    gc.collect()
    start = perf_counter()
    work()
    return perf_counter() - start


def floor(folder: Path, target: State, threads: int) -> Callable[[], None]:
    """`preadv` of just the payload bytes that are needed, planned beforehand.

    Into the destinations themselves where they are one piece of memory (two pieces of the same size need not be equally fast: one
    may have got huge pages), else into a piece of touched memory for each tensor.
    """
    reader = ParallelFileSystemReader(folder)
    metadata = reader.read_metadata()
    planner = dcp.DefaultLoadPlanner()
    planner.set_up_planner(dict(target), metadata, True)
    files = PosixFiles()
    opened = OpenFiles(folder, files)
    plan = plan_reads(planner.create_local_plan().items, metadata.storage_data, opened, tensors=metadata.state_dict_metadata)
    jobs, memory = [], []
    for read in plan.reads:
        one = target[read.item.dest_index.fqn]
        whole = type(one) is torch.Tensor and one.is_contiguous() and one.nbytes == read.nbytes
        memory.append(one if whole else torch.full((read.nbytes,), 7, dtype=torch.uint8))
        for low in range(0, read.nbytes, 4 << 20):
            jobs.append((read.file, memory[-1].data_ptr() + low, min(4 << 20, read.nbytes - low), read.data_start + low))

    def work() -> None:
        todo: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for job in jobs:
            todo.put(job)

        def serve() -> None:
            while True:
                try:
                    file, address, nbytes, offset = todo.get_nowait()
                except queue.Empty:
                    return
                files.read_vector(opened.handles[file], array("Q", (address, nbytes)), 0, 1, offset)

        workers = [threading.Thread(target=serve) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    work.keep = memory  # type: ignore[attr-defined]
    return work


def other_formats(folder: Path, state: State, target: State, threads: int) -> dict[str, Callable[[], object]]:
    """Readers of the same tensors from their own formats, into the same, owned memory."""
    whole = {name: one.as_subclass(torch.Tensor) for name, one in state.items()}
    single = folder / "single.pt"
    torch.save(whole, single)

    def mapped() -> None:
        loaded = torch.load(single, mmap=True, weights_only=True)
        for name, one in loaded.items():
            target[name].copy_(one)

    found: dict[str, Callable[[], object]] = {"torch.load mmap + copy": mapped}
    if importlib.util.find_spec("safetensors") is None:
        return found
    save_file = importlib.import_module("safetensors.torch").save_file
    names = sorted(whole)
    files = [folder / f"part{part}.safetensors" for part in range(8)]
    for part, path in enumerate(files):
        save_file({name: whole[name] for name in names[part::8]}, path)
    return found | peers(files, target, threads)


def measure(name: str, make: Callable[[], Shape], options: argparse.Namespace, folder: Path) -> None:
    state, target, writing = make()
    writer = dcp.FileSystemWriter(folder / "dcp", sync_files=False, **writing)
    dcp.save(dict(state), storage_writer=writer)
    os.sync()  # or the disk is written to in the first repeats
    stock_target = {key: one.clone() if type(one) is torch.Tensor else _again(one) for key, one in target.items()}
    last: list[ParallelFileSystemReader] = []

    def ours() -> None:
        last[:] = [ParallelFileSystemReader(folder / "dcp", threads=options.threads)]
        dcp.load(target, storage_reader=last[0])

    contenders: dict[str, Callable[[], object]] = {
        "stock": lambda: dcp.load(stock_target, storage_reader=dcp.FileSystemReader(folder / "dcp")),
        "ours": ours,
        "floor": floor(folder / "dcp", target, options.threads or 2),
    }
    if options.peers and "8 files" in name:
        contenders |= other_formats(folder, state, target, options.threads or 2)
    if options.cold:
        contenders.pop("floor")
    for run in contenders.values():
        run()
    for key, one in stock_target.items():
        assert same(one, target[key]), key
    times: dict[str, list[float]] = {key: [] for key in contenders}
    for number in range(options.repeats):
        # Another one begins each time: whoever comes after a reader that throws gigabytes through the caches pays for it.
        order = list(contenders.items())
        for key, run in order[number % len(order) :] + order[: number % len(order)]:
            if options.cold:
                drop_from_cache(folder)
            times[key].append(timed(run))
    median = {key: statistics.median(values) for key, values in times.items()}
    metrics = last[0].metrics
    print(f"\n{name}: {metrics.payload_bytes / 2**20:.0f} MiB, {len(state)} tensors")
    for key, values in times.items():
        ratio = f"{median['stock'] / median[key]:6.2f} x stock"
        of_floor = f", {median['floor'] / median['ours']:.0%} of the floor" if key == "ours" and "floor" in median else ""
        print(f"  {key:30s} {median[key]:8.4f} s {ratio}{of_floor}   all: {' '.join(f'{value:.3f}' for value in values)}")
    print(f"  ours, last: metadata {metrics.metadata_s:.3f} s, destinations {metrics.resolve_s:.3f} s; {metrics.line()}")


def _again(one: torch.Tensor) -> torch.Tensor:
    assert isinstance(one, CutTensor)
    return CutTensor.of(one.as_subclass(torch.Tensor).clone(), one.boxes)


def drop_from_cache(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def metadata_only(count: int, repeats: int, folder: Path) -> None:
    """Opening and planning `count` tensors: everything up to the first payload byte, both ways."""
    from torch.distributed.checkpoint.planner import LoadPlan
    from torch.futures import Future

    state = {f"layers.{index // 8}.block.{index % 8}.weight": torch.zeros(2, 2) for index in range(count)}
    dcp.save(dict(state), storage_writer=dcp.FileSystemWriter(folder / "many", sync_files=False, thread_count=8))

    class StockPlan(dcp.FileSystemReader):
        """Stops where stock begins to read: its requests grouped by file, looked up twice each, its files opened."""

        def read_data(self, plan: LoadPlan, planner: Any) -> Future[None]:
            files: dict[str, list[Any]] = {}
            for item in plan.items:
                files.setdefault(self.storage_data[item.storage_index].relative_path, []).append(item)
            for name, items in files.items():
                with self.fs.create_stream(self.fs.concat_path(self.path, name), "rb"):
                    for item in items:
                        self.storage_data[item.storage_index]
            done: Future[None] = Future()
            done.set_result(None)
            return done

    class OurPlan(ParallelFileSystemReader):
        def _load(self, *_: Any) -> list[Any]:
            return []

    times: dict[str, list[float]] = {"stock": [], "ours": []}
    for _ in range(repeats):
        times["stock"].append(timed(lambda: dcp.load(state, storage_reader=StockPlan(folder / "many"))))
        times["ours"].append(timed(lambda: dcp.load(state, storage_reader=OurPlan(folder / "many"))))
    print(f"\nmetadata and plan of {count} tensors, no payload")
    for key, values in times.items():
        print(f"  {key:30s} {statistics.median(values):8.3f} s   all: {' '.join(f'{value:.2f}' for value in values)}")


def peak_memory(gib: float, folder: Path) -> None:
    """Peak resident memory that a load adds to the state dict, each in a process of its own."""
    state, _, writing = equal(64, int(gib * 2**30) // 64, torch.float32, files=4)
    dcp.save(dict(state), storage_writer=dcp.FileSystemWriter(folder / "peak", sync_files=False, **writing))
    for reader in ("ours", "stock"):
        for kind in ("as saved", "to bf16"):
            command = [sys.executable, "-m", "tests.benchmarks.bench_checkpoint", "--peak-of", reader, kind]
            subprocess.run([*command, "--folder", str(folder)], check=True)


def peak_of_one(reader: str, kind: str, folder: Path) -> None:
    """Load once and print how far resident memory rose above what it was with the state dict in place."""
    make = ParallelFileSystemReader if reader == "ours" else dcp.FileSystemReader
    metadata = ParallelFileSystemReader(folder / "peak").read_metadata()
    dtype = torch.float32 if kind == "as saved" else torch.bfloat16
    target = {name: torch.full(one.size, 7.0, dtype=dtype) for name, one in metadata.state_dict_metadata.items()}
    dcp.load({"x": torch.zeros(1)}, storage_reader=make(folder / "peak"), planner=dcp.DefaultLoadPlanner(allow_partial_load=True))
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    dcp.load(target, storage_reader=make(folder / "peak"))
    print(f"  {reader:6s} {kind:9s} {(status('VmHWM') - before) / 1024:8.1f} MiB above the state dict")


def status(name: str) -> int:
    """A figure of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name)))


def main() -> None:
    """Run what was asked for and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=1.0, help="size of each shape")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="part of a shape's name; 'metadata' and 'memory' are names too")
    parser.add_argument("--peers", action="store_true", help="also peers (pip install '.[bench]'), on the 8-file shape")
    parser.add_argument("--cold", action="store_true", help="drop the files from the page cache before each run")
    parser.add_argument("--tensors", type=int, default=100_000, help="for the metadata measurement")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "bench-checkpoint")
    parser.add_argument("--peak-of", nargs=2, metavar=("READER", "KIND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.peak_of:
        peak_of_one(*options.peak_of, options.folder)
        return
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}")
    for name, make in shapes(options.gib).items():
        if options.only in name:
            sys.stdout.flush()
            shutil.rmtree(options.folder, ignore_errors=True)
            options.folder.mkdir(parents=True)
            measure(name, make, options, options.folder)
    if options.only in "metadata" and not options.cold:
        metadata_only(options.tensors, options.repeats, options.folder)
    if options.only in "memory" and not options.cold:
        print("\npeak memory of a load")
        peak_memory(options.gib, options.folder)
    shutil.rmtree(options.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
