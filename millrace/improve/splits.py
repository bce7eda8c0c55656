"""Which images are for training, for tuning and for the test: no picture is on two sides, also not as a copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from millrace.improve.image_marks import find_leaks
from millrace.improve.pool import by_image, tuning_images
from millrace.improve.settings import ImproveSettings
from millrace.records.improve import ImageMark, PoolItem
from millrace.records.outcome import PROBED_CLAIM, OutcomeRecord
from millrace.run.journal import read_records


class Split(msgspec.Struct, frozen=True):
    """The sides. The test's images were asked about, the others belong to the pool's lake."""

    lake: Path
    pool: dict[str, list[PoolItem]]
    """By image: what arms draw from."""
    tuning: list[PoolItem]
    test: list[ImageMark]
    new: list[ImageMark]
    """Of another kind of scenes: asked besides the test."""


def split_pool(
    items: Sequence[PoolItem],
    pool: Sequence[ImageMark],
    test: Sequence[ImageMark],
    new: Sequence[ImageMark],
    lake: Path,
    settings: ImproveSettings,
) -> Split:
    """Draw the tuning images by hash. One that has a copy among those for training is one of those, too."""
    images = by_image(items)
    kept = tuning_images(images, settings.tuning_share, settings.seed)
    known = {mark.sha256: mark for mark in pool}
    sides: dict[bool, list[ImageMark]] = {True: [], False: []}
    for image in sorted(images):
        if image in known:
            sides[image in kept].append(known[image])
    copies = {leak.one.sha256 for leak in find_leaks(sides[True], sides[False])}
    kept -= copies
    return Split(
        lake=lake,
        pool={image: found for image, found in sorted(images.items()) if image not in kept},
        tuning=[item for image, found in sorted(images.items()) if image in kept for item in found],
        test=list(test),
        new=list(new),
    )


def rows_asked(probed: Path) -> dict[str, list[int]]:
    """Parquet file → rows of the images that a probing has outcomes for."""
    rows: dict[str, set[int]] = {}
    for shard in sorted(probed.glob("shard-*.jsonl")):
        for record in read_records(shard, PROBED_CLAIM):
            if isinstance(record, OutcomeRecord):
                rows.setdefault(record.image.file, set()).add(record.image.row)
    return {file: sorted(found) for file, found in sorted(rows.items())}
