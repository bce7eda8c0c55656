"""Other readers of safetensors files, where they are installed: each loads the same tensors into the same, owned memory.

`bench_checkpoint.py` compares with them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

Load = Callable[[], object]


def peers(files: Sequence[Path], state: Mapping[str, torch.Tensor], threads: int | None) -> dict[str, Load]:
    """The installed peers by name, as calls that fill `state` with the whole tensors of `files`.

    Args:
        files: safetensors files whose tensors have the names, shapes and dtypes of `state`.
        state: the destinations, on the CPU.
        threads: for those that can be told; None: 2, or as many as there are cores if that is less.
    """
    count = threads or min(2, os.cpu_count() or 1)
    makers = {"safetensors": _safetensors, "runai_model_streamer": _runai, "fastsafetensors": _fastsafetensors}
    found: dict[str, Load] = {}
    for package, make in makers.items():
        if importlib.util.find_spec(package) is not None:
            name, run = make([str(file) for file in files], state, count)
            found[name] = run
    return found


def _safetensors(files: Sequence[str], state: Mapping[str, torch.Tensor], threads: int) -> tuple[str, Load]:
    load_file = importlib.import_module("safetensors.torch").load_file

    def run() -> None:
        for file in files:
            for name, one in load_file(file).items():
                state[name].copy_(one)

    return "safetensors load_file + copy", run


def _runai(files: Sequence[str], state: Mapping[str, torch.Tensor], threads: int) -> tuple[str, Load]:
    streamer_class = importlib.import_module("runai_model_streamer").SafetensorsStreamer

    def run() -> None:
        os.environ["RUNAI_STREAMER_CONCURRENCY"] = str(threads)  # it takes no argument for this
        with streamer_class() as streamer:
            streamer.stream_files(list(files))
            for name, one in streamer.get_tensors():
                state[name].copy_(one)

    return "Run:ai model streamer + copy", run


def _fastsafetensors(files: Sequence[str], state: Mapping[str, torch.Tensor], threads: int) -> tuple[str, Load]:
    module = importlib.import_module("fastsafetensors")

    def run() -> None:
        loader = module.SafeTensorsFileLoader(module.SingleGroup(), device="cpu", nogds=True, max_threads=threads)
        try:
            loader.add_filenames({0: list(files)})
            buffer = loader.copy_files_to_device()
            for name, destination in state.items():
                destination.copy_(buffer.get_tensor(name))
            buffer.close()
        finally:
            loader.close()

    return "fastsafetensors + copy", run
