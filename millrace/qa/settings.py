"""The settings of the question stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from millrace.config import OPERATIONAL, Settings, plugin_field
from millrace.plugins.form_fields import NameOf, SettingsOf
from millrace.records.record import PluginChoice

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class QuestionTypeRatio(Settings):
    """How often each form of question is wanted. Only the proportions count."""

    multiple_choice: float = Field(default=0.7, ge=0)
    """Four options, one of them right."""
    fill_in_blank: float = Field(default=0.15, ge=0)
    """A sentence with a gap, answered in words."""
    yes_no: float = Field(default=0.15, ge=0)
    """A statement, right as often as wrong."""

    @model_validator(mode="after")
    def _wants_something(self) -> QuestionTypeRatio:
        if self.multiple_choice + self.fill_in_blank + self.yes_no <= 0:
            raise ValueError("at least one question type must have a share above 0")
        return self

    def shares(self) -> dict[str, float]:
        """The same as shares that add up to 1."""
        total = self.multiple_choice + self.fill_in_blank + self.yes_no
        return {name: getattr(self, name) / total for name in ("multiple_choice", "fill_in_blank", "yes_no")}


class DatasetSettings(Settings):
    """The dataset's files."""

    heldout_share: Share = 0.2
    """Share of the images (never of the questions of one image) that goes into the split `heldout`."""
    rows_per_file: PositiveInt = 5000
    """Rows per parquet file."""
    bytes_per_file: PositiveInt = 400_000_000
    """Bytes of images per parquet file, whichever is reached first."""
    name: str = "millrace-vqa"
    """The dataset's name on its card."""
    license: str = "other"
    """The license named on the card: that of your images."""


class QaSettings(Settings):
    """How failures become questions, and what a question must pass."""

    seed: int = 42
    """Decides, together with a record's own id, wording, options and their order."""
    writer: Annotated[PluginChoice, SettingsOf("millrace.qa.writers", "writer", "template")] = Field(
        default_factory=lambda: {"name": "template"}, json_schema_extra=plugin_field("millrace.qa.writers:writer_settings")
    )
    """Who writes the questions: the plug-in's `name` (a file in millrace/qa/writers, or your own module) and its settings."""
    language: Literal["en", "zh"] = "en"
    """The language of the questions."""
    question_type_ratio: QuestionTypeRatio = QuestionTypeRatio()
    """How often each form of question is wanted."""
    items_per_failure: PositiveInt = 1
    """Questions written per failure, each of another form or aspect."""
    max_repairs: NonNegativeInt = 2
    """How often a question that fails a check is written anew before it is dropped."""
    keep: Literal["all", "baseline_fails"] = "all"
    """Which checked questions are kept: all, or only those that the baseline answers wrongly."""
    keep_status: tuple[Literal["verified", "judged", "unverified"], ...] = ("verified", "judged", "unverified")
    """Kinds of evidence that are good enough. Each kind has files of its own."""
    blind_check: Literal["drop", "report"] = "drop"
    """What happens to questions that the wording alone gives away: dropped, or only reported."""
    exports: tuple[Annotated[str, NameOf("millrace.qa.exports")], ...] = ()
    """Other formats to write as well: names of files in millrace/qa/exports, or your own modules."""
    max_failure_rate: Share = Field(default=0.5, json_schema_extra=OPERATIONAL)
    """The stage fails when more than this share of the failures ends without a question. May be changed in the same folder."""
    dataset: DatasetSettings = DatasetSettings()
    """The dataset's files."""
