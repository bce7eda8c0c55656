"""Which GPU a rank or a worker computes on."""

from __future__ import annotations


def device_of(wanted: str, local_rank: int = 0) -> str:
    """The rank's device: one of the GPUs that `CUDA_VISIBLE_DEVICES` lets us see, or the CPU."""
    if wanted == "cpu":
        return "cpu"
    import torch

    gpus = torch.cuda.device_count()
    return f"cuda:{local_rank % gpus}" if gpus else "cpu"
