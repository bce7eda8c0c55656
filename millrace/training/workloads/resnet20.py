"""ResNet-20 for small images, on the digits or on CIFAR-10."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.training.workloads import JobPlan
from millrace.training.workloads._resnet import METRICS, build_resnet, resnet_parameters

if TYPE_CHECKING:
    from millrace.training.trainer.job import Job

__all__ = ["METRICS", "PARAMETERS", "SCALES", "TAKES_DATA", "build"]

PARAMETERS = resnet_parameters()
SCALES = TAKES_DATA = True


def build(plan: JobPlan) -> Job:
    """The network of depth 20."""
    return build_resnet(plan, 20)
