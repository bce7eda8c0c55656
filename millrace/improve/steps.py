"""Which images a training sees in each of its steps: the same for all arms of one seed that have as many images."""

from __future__ import annotations

from collections.abc import Iterator

from millrace.records.improve import TrainingJob


def images_of_steps(images: int, job: TrainingJob) -> Iterator[list[int]]:
    """The images of every step: all once in an order of their own, then all again in another, without a smaller step between.

    Args:
        images: how many there are; they are numbered from 0.
        job: its seed, steps and images per step.
    """
    import torch

    generator = torch.Generator().manual_seed(job.seed % 2**63)
    waiting: list[int] = []
    for _ in range(job.steps):
        while len(waiting) < job.images_per_step:
            waiting += torch.randperm(images, generator=generator).tolist()
        yield waiting[: job.images_per_step]
        waiting = waiting[job.images_per_step :]
