"""The files of a finished comparison, and the journals that it read, as the verification reads them: shapes of its own.

They are not the writer's types on purpose: a fault in those would be read back as it was written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from millrace.errors import InputError

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""A value in a JSON file."""


class SideKept(msgspec.Struct, frozen=True):
    """One of the two probings."""

    folder: str


class SettingsKept(msgspec.Struct, frozen=True):
    """With what the figures were made."""

    alpha: float
    margin: float
    difference: float
    draws: int
    seed: int


class SummaryKept(msgspec.Struct, frozen=True):
    """`summary.json`, as far as its parts are known beforehand; the figures are looked up by name in `Summary.whole`."""

    sides: dict[str, SideKept]
    settings: SettingsKept
    went_in: int = msgspec.field(name="in")
    out: int
    dropped: dict[str, int]


class Summary(msgspec.Struct, frozen=True):
    """`summary.json`, typed and whole."""

    kept: SummaryKept
    whole: dict[str, Json]

    def rows(self, group: str) -> dict[str, Json]:
        """The rows of a group; empty when there is none."""
        found = self.whole.get(group)
        return found if isinstance(found, dict) else {}


class CompareKept(msgspec.Struct, frozen=True):
    """The section `compare` of `config.json`."""

    claims: list[str]


class ConfigKept(msgspec.Struct, frozen=True):
    """`config.json`."""

    compare: CompareKept


class ImageKept(msgspec.Struct, frozen=True):
    """The image of an outcome."""

    sha256: str | None = None


class OutcomeKept(msgspec.Struct, frozen=True, tag_field="kind", tag="outcome"):
    """An outcome in a journal."""

    image: ImageKept
    claim_id: str
    prefilled: Any
    selectors: Any
    """Both are only compared, as JSON."""
    outcome: str
    factors: list[str]


class DroppedKept(msgspec.Struct, frozen=True, tag_field="kind", tag="dropped"):
    """What was not asked."""


LINE = cast("type[OutcomeKept | DroppedKept]", OutcomeKept | DroppedKept)

Kept = TypeVar("Kept")


def read_summary(run_dir: Path) -> Summary:
    """The summary in a run's folder; raises InputError where there is none of a comparison."""
    path = run_dir / "summary.json"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{run_dir} holds no finished comparison: there is no summary.json of one") from error
    return Summary(decoded(data, SummaryKept, str(path)), cast("dict[str, Json]", json.loads(data)))


def claims_asked(run_dir: Path) -> list[str]:
    """The claims that were to be compared; empty: all."""
    path = run_dir / "config.json"
    return decoded(path.read_bytes(), ConfigKept, str(path)).compare.claims


def decoded(data: bytes, kind: type[Kept], where: str) -> Kept:
    """The object in one JSON text; raises InputError, with place and field, where it is another."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{where} is not of a finished comparison ({error})") from error
