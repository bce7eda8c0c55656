"""Which GPU a rank or a worker computes on."""

from __future__ import annotations

import sys
from pathlib import Path

DRIVERS = ("nvidiactl", "nvidia0", "nvmap", "kfd", "dxg")
"""What a GPU's driver puts into /dev: NVIDIA's on a PC or server and on Jetson, AMD's, and WSL's for both."""


def device_of(wanted: str, local_rank: int = 0) -> str:
    """The rank's device: one of the GPUs that `CUDA_VISIBLE_DEVICES` lets us see, or the CPU.

    Without a GPU's driver the answer is the CPU at once; importing torch to ask it would cost a process two seconds.
    """
    if wanted == "cpu" or not has_driver():
        return "cpu"
    import torch

    gpus = torch.cuda.device_count()
    return f"cuda:{local_rank % gpus}" if gpus else "cpu"


def has_driver(folder: Path = Path("/dev")) -> bool:
    """Whether this machine has a GPU's driver; True where that can't be seen (not Linux)."""
    return not sys.platform.startswith("linux") or any((folder / name).exists() for name in DRIVERS)
