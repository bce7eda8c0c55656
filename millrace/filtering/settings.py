"""The settings of the filtering."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from millrace.config import Settings
from millrace.plugins.form_fields import NameOf

PRIORITY_WEIGHTS: dict[str, float] = {
    "FR_SCALE_PROPORTION_ERROR": 4,
    "FR_OBJECT_ORIENTATION_ERROR": 9,
    "FR_OBJECT_COUNTING_CONFUSION": 16,
    "FR_ABSOLUTE_POSITION_ERROR": 25,
    "FR_RELATIVE_POSITION_ERROR": 36,
    "FR_ABSENCE_REASONING_FAILURE": 49,
    "FR_INTRA_CLASS_INSTANCE_POSITIONING_FAILURE": 64,
    "FR_BASIC_VISUAL_ENTITY_GROUNDING_FAILURE": 81,
}
"""The original's weights, (p + 2) squared for priorities p from 0 to 7; a failure id that is not listed weighs 1."""


class FilteringSettings(Settings):
    """Which failures are kept, and where each is sent."""

    seed: int = 42
    """Decides, together with a record's own id, which failures are drawn."""
    start_index: NonNegativeInt = 0
    """The first record's `sample_index`."""
    failures_per_image: PositiveInt | None = 1
    """Failures kept of one image, drawn by weight. null keeps all."""
    weights: dict[str, PositiveFloat] = Field(default_factory=lambda: dict(PRIORITY_WEIGHTS))
    """How likely a failure id is drawn when an image has several. Ids that are not listed weigh 1."""
    quota: PositiveInt | None = None
    """Records kept per failure id. null: no limit."""
    quotas: dict[str, NonNegativeInt] = Field(default_factory=dict)
    """Records kept of single failure ids, instead of `quota`."""
    total: PositiveInt | None = None
    """Records kept altogether, spread over the failure ids as evenly as there are records. null: no limit."""
    routes: Annotated[str, NameOf("millrace.filtering.routes", "file of your own")] = "default"
    """Which pipeline each failure id goes to: a name in millrace/filtering/routes, or a path to your own YAML or JSON."""
    unknown_failure: Literal["error", "drop"] = "error"
    """What a failure id without a route does: end the run with a message, or be dropped and counted."""
    embed_images: bool = False
    """Put the image's bytes (base64) into each record; otherwise records point to the lake."""
    output_format: Literal["jsonl", "json"] = "jsonl"
    """json writes one array, selection.json, beside the JSON-lines shards."""
    shard_size: PositiveInt = 250
    """Records per shard that is written: the unit of work and of resume of the question stage."""
