"""Where a run's shards are worked on, as a user says it. What starts and finds clusters is orchestration/clusters/."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from millrace.config import OPERATIONAL, Settings

NONE = "none"
"""`class_path` of a run without Dask and without a Prefect server."""


class StageShape(Settings):
    """What one stage wants of the machines, and how long it may take."""

    workers: PositiveInt | None = None
    """At most so many of its shards at the same time; empty takes all workers of the run."""
    resources: dict[str, PositiveFloat] = {}
    """What each of its shards reserves of its worker, e.g. `{GPU: 1}`; the cluster's other stages go to any worker."""
    timeout_s: PositiveFloat | None = None
    """The stage's limit. Past it everything that the stage has started is ended, and the run fails; what is finished stays."""
    shard_timeout_s: PositiveFloat | None = None
    """The limit of one shard. A shard past it is ended and has failed, the others go on, then the run fails."""


class ClusterSettings(Settings):
    """Where shards are worked on. Nothing here changes a result."""

    shorthands: ClassVar[dict[str, dict[str, Any]]] = {NONE: {"class_path": NONE}}

    address: str | None = None
    """An existing Dask scheduler, e.g. `tcp://10.0.0.5:8786`; empty takes `$DASK_SCHEDULER_ADDRESS`, and without that starts a
    local cluster for the run."""
    workers: PositiveInt = Field(default_factory=lambda: min(4, os.cpu_count() or 1))
    """Worker processes of the cluster that the run starts, or of the run itself without one (none)."""
    minimum_workers: PositiveInt = 1
    """Adaptive scaling: never fewer workers than this."""
    maximum_workers: PositiveInt | None = None
    """Adaptive scaling: Dask starts and ends workers with the load, up to this many; empty keeps `workers` all the time."""
    class_path: str | None = None
    """`none` (or `cluster: none`): no Dask and no Prefect server, so nothing to see or to cancel in a UI. Else a cluster class:
    `gpus` (a worker per GPU here), `slurm`, `pbs`, `sge`, `lsf`, `htcondor`, `oar`, `kubernetes`, or a dotted path such as
    `dask_jobqueue.SLURMCluster`. Empty starts a local cluster."""
    arguments: dict[str, Any] = {}
    """Keyword arguments for the cluster class."""
    resources: dict[str, PositiveFloat] = {}
    """What a step that computes on a GPU reserves of its worker, e.g. `{GPU: 1}`; workers offer it with
    `dask worker … --resources "GPU=1"`. Empty reserves nothing."""
    wait_s: PositiveFloat = 300.0
    """How long to wait for the first worker of a cluster that the run starts."""
    stages: dict[str, StageShape] = {}
    """By a stage's name, e.g. `{probing: {timeout_s: 600}, qa: {workers: 1, shard_timeout_s: 120}}`."""

    @model_validator(mode="after")
    def _scales_what_it_starts(self) -> ClusterSettings:
        if self.address and (self.class_path or self.arguments):
            raise ValueError("address names a cluster that runs already; class_path and arguments would start another: keep one")
        if self.address and self.maximum_workers is not None:
            raise ValueError("a cluster that runs already (address) is scaled where it was started, not by maximum_workers")
        if self.is_none and (self.arguments or self.maximum_workers is not None or self.resources):
            raise ValueError("without a cluster (none) only workers can be set; arguments, maximum_workers, resources are Dask's")
        if self.arguments and not self.class_path:
            raise ValueError("arguments belong to a cluster class; set class_path")
        if self.maximum_workers is not None and self.minimum_workers > self.maximum_workers:
            raise ValueError("minimum_workers is above maximum_workers")
        return self

    @model_validator(mode="after")
    def _reserves_of_workers_that_offer(self) -> ClusterSettings:
        if self.is_none and (named := [name for name, shape in self.stages.items() if shape.resources]):
            raise ValueError(f"without a cluster (none) nothing can be reserved: stages.{named[0]}.resources is Dask's")
        return self

    def shape(self, stage: str) -> StageShape:
        """What was set for a stage."""
        return self.stages.get(stage, StageShape())

    @property
    def reserved(self) -> list[dict[str, float]]:
        """What shards reserve of their workers, for each kind of shard that reserves something."""
        return [wanted for wanted in (self.resources, *(shape.resources for shape in self.stages.values())) if wanted]

    @property
    def is_none(self) -> bool:
        """Whether the run does without Dask and without a Prefect server."""
        return self.class_path == NONE

    @property
    def scheduler(self) -> str | None:
        """The scheduler that is there already; None: the run starts a cluster."""
        return self.address or (None if self.class_path else os.environ.get("DASK_SCHEDULER_ADDRESS") or None)

    @property
    def adapt(self) -> tuple[int, int] | None:
        """(minimum, maximum) of adaptive scaling."""
        return None if self.maximum_workers is None else (self.minimum_workers, self.maximum_workers)


def cluster_field() -> Any:
    """The field for a `ClusterSettings` in a flow's config: operational, so a run may be resumed on another cluster."""
    return Field(default_factory=ClusterSettings, json_schema_extra=OPERATIONAL)
