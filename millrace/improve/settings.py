"""Settings of `improve`: which arms, how large, how often, judged on what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from millrace.config import Settings, ShippedPath, plugin_field
from millrace.plugins.form_fields import SettingsOf
from millrace.records.record import PluginChoice

ARMS = ("untargeted", "targeted", "shuffled", "untargeted_again")


class NewTest(Settings):
    """What else models are judged on, to see how far a gain reaches: another kind of scenes, other words for the claims, both. No
    training set has either."""

    images: PositiveInt = 200
    """Images of each kind, the known one and the new one."""
    path: ShippedPath = None
    """A folder of parquet files of another kind of scenes; empty makes an embedded lake of `recipe`."""
    recipe: str | None = None
    """Kind of the embedded lake of new scenes. With neither a path nor a kind there are no new scenes."""
    seed: int = 2020
    """Seed of the embedded lake of new scenes."""
    wordings: dict[str, str] = {}
    """Claim id → its sentence in other words, with the same slots. Empty: there is no new wording."""


class TestLake(Settings):
    """The images that models are judged on. None of them may be among those that were probed for the training sets."""

    path: ShippedPath = None
    """A folder of parquet files; empty makes an embedded lake of digit scenes that were never probed."""
    images: PositiveInt = 400
    """Images to judge on."""
    seed: int = 1020
    """Seed of the embedded test lake, and of the order in which images are taken."""
    recipe: str | None = None
    """Kind of the embedded test lake; empty: that of the lake that was probed."""
    new: NewTest | None = None
    """New scenes and new wording, beside the test itself; empty: models are judged on the test alone."""


class ImproveSettings(Settings):
    """Whether training on the data helps the model it was made for. Everything here is part of the plan that is written down
    before the first training: another value is another run."""

    enabled: bool = False
    """Whether `full` ends with this stage. `flows.improve` does it in any case."""
    arms: tuple[str, ...] = ARMS
    """The ways to choose a training set that are compared: names, or dotted paths of your own."""
    images: PositiveInt = 200
    """Images in every arm's training set."""
    records_per_image: PositiveInt = 4
    """Claims about each of them: the same in every arm, so that every step sees as many images and as many records."""
    target: Literal["kinds", "failures"] = "failures"
    """What the arm `targeted` chooses images by: `kinds` (factors on whose images the base fails often) or `failures` (on the
    image itself)."""
    replay_share: float = Field(default=0.5, ge=0.0, le=1.0)
    """With `kinds`: share of its images that are drawn without a look at the outcomes, so that what was right stays right."""
    failure_share: float = Field(default=0.5, ge=0.0, le=1.0)
    """With `failures`: share of the base's failures among its records; the rest is what it got right before."""
    steps: PositiveInt = 200
    """Steps of every training."""
    images_per_step: PositiveInt = 9
    """Images in a step, with all their records."""
    seeds: int = Field(default=3, ge=2, le=100)
    """Trainings of every arm, each with another draw and another order. Below ten a result is a first look."""
    scaling: tuple[Annotated[float, Field(gt=0.0, le=16.0)], ...] = ()
    """Further sizes, as multiples of `images`, for the scaling curve: below 1 for the arms `untargeted` and `targeted`, above 1
    for `untargeted` alone. Each is trained as often as the arms. Empty: no curve."""
    margin: float = Field(default=0.02, gt=0.0, lt=1.0)
    """How much a failure rate may rise before it counts as harm: 0.02 is two points."""
    level: float = Field(default=0.05, gt=0.0, lt=0.5)
    """Level of the tests; intervals hold 1 minus this."""
    rare_share: float = Field(default=0.05, ge=0.0, lt=1.0)
    """A kind of image (a factor) is rare when at most this share of the probed images are of it. Where there are such kinds,
    targeting is judged on them alone as well as on all images. 0: it is not."""
    tuning_share: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the probed images that go into no arm: a trainer gets their records to tune on."""
    test: TestLake = TestLake()
    """What the models are judged on."""
    trainer: Annotated[PluginChoice, SettingsOf("millrace.improve.trainers", "trainer", "embedded")] = Field(
        default_factory=lambda: {"name": "embedded"},
        json_schema_extra=plugin_field("millrace.improve.trainers:trainer_settings"),
    )
    """How a model is trained: the plug-in's `name` and settings."""
    require: Literal["nothing", "helps", "targeting"] = "nothing"
    """What the run must show to end with 0: `helps` (the targeted arm has fewer failures than the base, without harm) or
    `targeting` (also fewer than the untargeted arm). Not shown ends with 3."""
    seed: int = 7
    """Seed of every draw."""
