"""Settings of `compare`: which two models, and how much of a difference matters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from millrace.config import Settings
from millrace.plugins.form_fields import SettingsOf
from millrace.records.record import PluginChoice

Baseline = Annotated[PluginChoice, SettingsOf("millrace.probing.baselines", "baseline", "embedded", none="the run above")]


class SideSettings(Settings):
    """One of the two models: a run that has asked it, or the model itself."""

    run: Path | None = None
    """The folder of a finished run of `probing` or `full`; its outcomes are read, no model is asked again."""
    baseline: Baseline = Field(default_factory=dict)
    """The model, when there is no run: its plug-in's `name` and settings. It is asked what `probing` says."""
    label: str = Field(default="", max_length=60)
    """What the report calls it; empty takes the model's name."""

    @model_validator(mode="after")
    def _is_one(self) -> SideSettings:
        if self.run is not None and self.baseline:
            raise ValueError("has a `run` and a `baseline`; give one of them")
        return self


class CompareSettings(Settings):
    """Which two models are compared, and how."""

    before: SideSettings = SideSettings()
    """The model that is compared with."""
    after: SideSettings = SideSettings()
    """The model that is compared: better is what it does better than the one before."""
    claims: tuple[str, ...] = ()
    """Ids of the claims to compare; empty takes all that were asked."""
    margin: float = Field(default=0.02, gt=0.0, lt=1.0)
    """The largest rise of a failure rate that counts as no harm, as a share: 0.02 is two points."""
    difference: float = Field(default=0.05, gt=0.0, lt=1.0)
    """The smallest difference of a failure rate that you care about, as a share: the run says how many images that takes."""
    expected_discordance: float = Field(default=0.3, gt=0.0, le=1.0)
    """For that, before anything is known: the share of claims on which the two models differ."""
    expected_design_effect: float = Field(default=2.0, ge=1.0)
    """For that too: by how much claims about one image go together; 1 is not at all."""
    alpha: float = Field(default=0.05, gt=0.0, lt=0.5)
    """Level of the tests; intervals have the level 1 - alpha."""
    draws: int = Field(default=10_000, ge=200, le=1_000_000)
    """Draws of the bootstrap over images."""
    seed: int = 0
    """Seed of those draws and of the flips that are shown."""
    flips_shown: PositiveInt = 12
    """Pictures in the report, at most, of each kind: what got worse, and what got better."""
    require: Literal["nothing", "better", "no_harm"] = "nothing"
    """What must be shown for the exit code 0 instead of 3: `better` over all, or `no_harm` over all, for every claim and for
    every kind of failure. With `nothing` any result is one."""
