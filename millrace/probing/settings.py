"""Probing's settings: the images, the claims, the model under test, when to stop, how many ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from millrace.config import OPERATIONAL, Settings, ShippedPath, plugin_field
from millrace.lake.annotations import ANY
from millrace.plugins.form_fields import NameOf, SettingsOf
from millrace.probing.claims import ClaimSet, load_claims, reworded
from millrace.records.record import PluginChoice


class LakeSettings(Settings):
    """The images to probe."""

    path: ShippedPath = None
    """A folder of parquet files; empty makes the embedded lake of digit scenes."""
    annotation: Annotated[str, NameOf("millrace.lake.annotations", instead=ANY)] = ANY
    """What kind of annotation its images have: a name, or your own module. `any` tries every kind that is registered."""
    images: PositiveInt = 800
    """Images in the embedded lake."""
    seed: int = 20
    """Seed of the embedded lake."""
    recipe: str | None = None
    """Kind of the embedded lake: `broad` (the usual one, also where this is empty), `narrow`, `rare` (what is hard is rare in it)
    or `foreign` (the same on other papers)."""


class TorchrunSettings(Settings):
    """How the ranks are started. Nothing here changes a result."""

    nproc_per_node: PositiveInt = 2
    """Ranks on this machine; with GPUs, one for each."""
    nnodes: PositiveInt = 1
    """Machines taking part. With 1 torchrun runs on the flow's own machine; with more, on the hosts of `cluster.address`, each
    through a Dask worker there. They must share the run folder."""
    rdzv_backend: str = "c10d"
    """torchrun's rendezvous backend."""
    rdzv_endpoint: str | None = None
    """host:port of the rendezvous; empty takes the first host and a free port."""
    rdzv_id: str = "millrace"
    """Name of the job at the rendezvous."""
    max_restarts: NonNegativeInt = 3
    """How often the ranks are started again after one has crashed, or a machine was lost."""
    device: str = "auto"
    """`auto` (a GPU for each rank where there are GPUs), `cpu` or `cuda`."""


class ProbingConfig(Settings):
    """Which claims a model gets wrong about which images."""

    lake: LakeSettings = LakeSettings()
    """The images."""
    claims: Annotated[str, NameOf("millrace.probing.claim_sets", "file of your own")] = "default"
    """The claim set: a name, or a path to a YAML or JSON file."""
    enabled_claims: tuple[str, ...] = ()
    """Claim ids to use; empty takes those that the set enables."""
    wordings: dict[str, str] = {}
    """Other sentences for claims, by their ids: the same slots in other words."""
    failure_reasons: Path | None = None
    """A file of failures (also one of the original's failure-reason files) that the claims point at, instead of the set's own."""
    unanswerable_share: float = Field(default=0.15, ge=0.0, lt=1.0)
    """Share of claims that are deliberately about something that is not there."""
    baseline: Annotated[PluginChoice, SettingsOf("millrace.probing.baselines", "baseline", "embedded")] = Field(
        default_factory=lambda: {"name": "embedded"},
        json_schema_extra=plugin_field("millrace.probing.baselines:baseline_settings"),
    )
    """The model under test: its plug-in's `name` and settings."""
    judge: Annotated[PluginChoice, SettingsOf("millrace.probing.judges", "judge", "annotation")] = Field(
        default_factory=lambda: {"name": "annotation"}, json_schema_extra=plugin_field("millrace.probing.judges:judge_settings")
    )
    """Who decides the outcome: the plug-in's `name` and settings."""
    answers_of: Path | None = None
    """A finished run whose model's answers are kept and judged anew: only the judge is asked (`millrace rejudge`). Empty asks the
    model."""
    target_failure_count: PositiveInt | None = 1000
    """Stop at exactly this many failures; empty probes `sample_size` images instead."""
    sample_size: PositiveInt = 200
    """Images to probe when there is no target."""
    failure_batch_size: PositiveInt = 50
    """Images in a unit of work: what a rank takes at a time."""
    max_empty_batches: PositiveInt | None = None
    """Stop after this many units in a row without a failure."""
    parquet_sample_size: PositiveInt | None = None
    """Parquet files drawn at a time; the next draw follows when one is used up. Empty draws all at once."""
    seed: int = 42
    """Seed of every choice in probing."""
    max_failure_rate: float = Field(default=0.2, ge=0.0, le=1.0, json_schema_extra=OPERATIONAL)
    """The run fails when more than this share of outcomes is `infra_error`. May be changed in the same folder."""
    torchrun: TorchrunSettings = Field(default=TorchrunSettings(), json_schema_extra=OPERATIONAL)
    """The ranks."""

    def claim_set(self) -> ClaimSet:
        """The claims that are used; raises what `load_claims` raises."""
        return reworded(load_claims(self.claims, self.enabled_claims, failure_reasons=self.failure_reasons), self.wordings)


class ComparedProbing(ProbingConfig):
    """How both models are asked: a number of images, and no target of failures, at which each would stop elsewhere."""

    target_failure_count: PositiveInt | None = None
    """Stays empty: both models are asked about the same images."""
    sample_size: PositiveInt = 800
    """Images to probe."""
