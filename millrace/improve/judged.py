"""What the models said about the test images, side by side: one row for each thing asked, one column for each model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from millrace.errors import RunFailed
from millrace.records.improve import TestImage
from millrace.records.outcome import FAILURES, PROBED_CLAIM, SUCCESSES, OutcomeRecord
from millrace.run.ids import canonical
from millrace.run.journal import read_records

DECIDED = FAILURES | SUCCESSES

Key = tuple[str, str, str, bytes]
"""Image (content), image id, claim, subject."""


class Judged(msgspec.Struct, frozen=True):
    """The common table. N things asked, decided for every model."""

    keys: tuple[Key, ...]
    image_N: NDArray[np.int64]
    """Which image, from 0."""
    images: int
    claims: tuple[str, ...]
    """By thing asked."""
    factors: tuple[tuple[str, ...], ...]
    outcomes: dict[str, tuple[str, ...]]
    """By model (`base`, `targeted-0`): the outcomes."""
    asked: int
    """Things that the base was asked."""
    left_out: int
    """Of these, not decided for one of the models: a server's fault, or a judge in doubt."""

    def failed(self, model: str) -> NDArray[np.float64]:
        """1 where the model failed."""
        return np.array([outcome in FAILURES for outcome in self.outcomes[model]], dtype=np.float64)


def read_outcomes(folder: Path) -> dict[Key, OutcomeRecord]:
    """The outcomes of one probing by what was asked."""
    found = {}
    for shard in sorted(folder.glob("shard-*.jsonl")):
        for record in read_records(shard, PROBED_CLAIM):
            if isinstance(record, OutcomeRecord):
                image = record.image
                found[image.sha256 or "", image.image_id, record.claim_id, canonical(record.prefilled)] = record
    return found


def judged_together(base: str, folders: Mapping[str, Path], images: Iterable[TestImage]) -> Judged:
    """The table of all models.

    Args:
        base: the model that the others are compared with.
        folders: model → the folder of its probing.
        images: the plan's test images; what was asked about others does not count.

    Raises:
        RunFailed: nothing was decided for all of them.
    """
    planned = {image.sha256 for image in images}
    first = {key: record for key, record in read_outcomes(folders[base]).items() if key[0] in planned}
    decided: dict[Key, str] = {key: record.outcome for key, record in first.items() if record.outcome in DECIDED}
    by_model: dict[str, dict[Key, str]] = {base: decided}
    for model, folder in folders.items():
        if model != base:
            by_model[model] = {key: record.outcome for key, record in read_outcomes(folder).items() if record.outcome in DECIDED}
    keys = sorted(key for key in decided if all(key in outcomes for outcomes in by_model.values()))
    if not keys:
        raise RunFailed("no claim on a test image was decided for every model; see `error` in improve/probes/*/shard-*.jsonl")
    places = {image: place for place, image in enumerate(dict.fromkeys(key[:2] for key in keys))}
    return Judged(
        keys=tuple(keys),
        image_N=np.array([places[key[:2]] for key in keys], dtype=np.int64),
        images=len(places),
        claims=tuple(key[2] for key in keys),
        factors=tuple(first[key].factors for key in keys),
        outcomes={model: tuple(outcomes[key] for key in keys) for model, outcomes in by_model.items()},
        asked=len(first),
        left_out=len(first) - len(keys),
    )


def by_image(values_N: NDArray[np.float64], judged: Judged, rows: Sequence[int] | None = None) -> NDArray[np.float64]:
    """Sums of values by image, over all things asked or those in `rows`."""
    chosen = np.arange(len(judged.keys)) if rows is None else np.asarray(rows, dtype=np.int64)
    sums: NDArray[np.float64] = np.zeros(judged.images)
    np.add.at(sums, judged.image_N[chosen], values_N[chosen])
    return sums
