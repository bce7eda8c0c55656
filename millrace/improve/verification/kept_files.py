"""The files of a finished run as the verification reads them: shapes of its own, with the fields that it compares.

They are not the writer's types on purpose: a fault in those would be read back as it was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from millrace.errors import InputError


class TestImage(msgspec.Struct, frozen=True):
    """An image that models are judged on."""

    sha256: str


class PlanFile(msgspec.Struct, frozen=True):
    """`improve/plan.json`."""

    test: list[TestImage]
    tuning: list[str]
    """SHA-256 of images."""
    images: int
    records_per_image: int
    seeds: list[int]
    level: float
    margin: float
    new_scenes: list[TestImage] = []
    rare: list[str] = []
    """Factors; none in plans from before there were any."""


class RowKept(msgspec.Struct, frozen=True):
    """A row of a comparison in the summary; rates and differences are shares."""

    difference: float | None
    by_seed: list[float | None]
    low: float | None
    high: float | None
    upper: float | None
    p_value: float | None
    p_harm: float | None
    worse: bool


class ComparisonKept(msgspec.Struct, frozen=True):
    """What the summary says of one hypothesis."""

    name: str
    treated: str
    control: str
    expected: str
    as_expected: bool | None
    whole: RowKept
    claims: dict[str, RowKept]
    factors: dict[str, RowKept]
    outcomes: dict[str, RowKept]
    on: str = ""
    """`rare kinds`: on images with one of the plan's rare factors alone."""

    @property
    def groups(self) -> dict[str, dict[str, RowKept]]:
        """Its rows beside the whole."""
        return {"claims": self.claims, "factors": self.factors, "outcomes": self.outcomes}


class PointKept(msgspec.Struct, frozen=True):
    """A point of the scaling curve: an arm at one size."""

    arm: str
    on: str
    images: int
    records: int
    against_base: RowKept


class SummaryFile(msgspec.Struct, frozen=True):
    """`improve/summary.json`."""

    verdict: str
    targeting: str
    plan: str
    """The plan's hash."""
    images: int
    out: int
    rates: dict[str, float]
    """By model."""
    comparisons: list[ComparisonKept]
    scaling: list[PointKept] = []
    cells: dict[str, dict[str, RowKept]] = {}
    """New scenes, new wording → hypothesis → its difference there."""


class FlowEntry(msgspec.Struct, frozen=True):
    """What the manifest says of a stage."""

    plan: str | None = None


class ManifestFile(msgspec.Struct, frozen=True):
    """`manifest.json`."""

    flows: dict[str, FlowEntry]


class TrainingLine(msgspec.Struct, frozen=True):
    """A line of a training set."""

    sha256: str


class ImageLine(msgspec.Struct, frozen=True):
    """The image of an outcome."""

    sha256: str
    image_id: str


class OutcomeLine(msgspec.Struct, frozen=True, tag_field="kind", tag="outcome"):
    """An outcome in a journal."""

    image: ImageLine
    claim_id: str
    prefilled: dict[str, str]
    outcome: str
    factors: list[str]


class DroppedLine(msgspec.Struct, frozen=True, tag_field="kind", tag="dropped"):
    """What was not asked."""


Kept = TypeVar("Kept")


def one_of(path: Path, kind: type[Kept]) -> Kept:
    """The object in a JSON file.

    Raises:
        InputError: the file is missing, damaged or of another shape.
    """
    try:
        return _decoded(path.read_bytes(), kind, str(path))
    except FileNotFoundError as error:
        raise InputError(f"there is no finished proof in {path.parent.parent}: {path} is missing; run flows.improve") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error})") from error


def lines_of(path: Path, kind: type[Kept]) -> Iterator[Kept]:
    """The objects in a file of JSON lines; raises InputError as `one_of` does."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            yield _decoded(line, kind, f"{path}, line {number}")


def _decoded(data: bytes, kind: type[Kept], where: str) -> Kept:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{where} cannot be read ({error})") from error
