"""How fast a checkpoint reaches the GPU: torch's own reader, ours, `load`, and peers that are installed; a few minutes at most.

    python -m tests.gpu.measure_reading [--gib 2] [--repeats 3]

The file cache is warm for all of them, the order changes from round to round, and the median of each is printed with its ratio to
torch's own reader. Nothing is asserted: these are figures, to be written down with the machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp

from millrace.checkpoint import load as load_directly
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import load, save
from tests.gpu.needs_gpu import DEVICE

TENSOR_MIB = 64
Way = Callable[[], object]


def ways(folder: Path, state: dict[str, torch.Tensor]) -> dict[str, Way]:
    """What is compared, by name."""

    def targets() -> dict[str, Any]:
        return {name: torch.empty(one.shape, dtype=one.dtype, device=DEVICE) for name, one in state.items()}

    found: dict[str, Way] = {
        "torch's reader": lambda: load(targets(), dcp.FileSystemReader(folder)),
        "our reader": lambda: load(targets(), ParallelFileSystemReader(folder)),
        "our reader, crc": lambda: load(targets(), ParallelFileSystemReader(folder, verify="crc")),
        "load": lambda: load_directly(folder, targets()),
    }
    if DEVICE == "cuda" and importlib.util.find_spec("safetensors"):  # on the CPU it only maps the file
        from safetensors.torch import load_file, save_file

        file = folder / "all.safetensors"
        save_file(state, file)
        found["safetensors load_file"] = lambda: load_file(file, device=DEVICE)
    return found


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if DEVICE == "cuda" and not torch.cuda.is_available():
        sys.stderr.write("torch sees no GPU on this machine\n")
        return 2
    count = max(1, round(options.gib * 1024 / TENSOR_MIB))
    state = {f"layer.{number}": torch.randn(TENSOR_MIB * 1024 // 4, 1024) for number in range(count)}
    with tempfile.TemporaryDirectory() as folder:
        save(state, Path(folder))
        compared = ways(Path(folder), state)
        took: dict[str, list[float]] = {name: [] for name in compared}
        for turn in range(options.repeats + 1):
            names = list(compared)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                began = time.perf_counter()
                compared[name]()
                if DEVICE == "cuda":
                    torch.cuda.synchronize()
                if turn:  # the first round warms caches and the allocator
                    took[name].append(time.perf_counter() - began)
    place = torch.cuda.get_device_name() if DEVICE == "cuda" else DEVICE
    sys.stdout.write(f"{count} tensors of {TENSOR_MIB} MiB to {place}, torch {torch.__version__}\n")
    stock = statistics.median(took["torch's reader"])
    for name, seconds in took.items():
        median = statistics.median(seconds)
        sys.stdout.write(f"{name:24} {median:7.3f} s  {count * TENSOR_MIB / 1024 / median:6.2f} GiB/s  {stock / median:5.2f} ×\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
