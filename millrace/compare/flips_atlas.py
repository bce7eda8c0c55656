"""The atlas of a comparison: every flip with its picture and both answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from millrace.compare.gallery import in_words, right_in_words
from millrace.compare.pairing import Pair
from millrace.compare.runs import Side, answer_of
from millrace.lake.reader import LakeReader
from millrace.records.lake import ImageRef
from millrace.records.outcome import FAILURES
from millrace.reporting.atlas.page import write_atlas
from millrace.reporting.atlas.samples import Dimension, Sample

MOST_IMAGES = 1000
"""Pictures of flips: what a person looks through, in about 2 s of decoding."""
GROUPS = {"failures": sorted(FAILURES)}


def write_flips_atlas(
    folder: Path, pairs: Sequence[Pair], sides: tuple[Side, Side], labels: tuple[str, str], claims: Mapping[str, str]
) -> Path:
    """Write the atlas of a comparison's folder.

    Args:
        folder: the run's.
        pairs: all of them; those that are no flip are left out.
        sides: before and after.
        labels: what the two models are called.
        claims: claim id → name, as far as known.
    """
    dimensions = [
        Dimension("change", "What changed", titles={"worse": "got worse", "better": "got better"}),
        Dimension("claim", "Claim", titles=claims),
        Dimension("factor", "Factor"),
        Dimension("before", f"Before: {labels[0]}", groups=GROUPS),
        Dimension("after", f"After: {labels[1]}", groups=GROUPS, colours=True),
    ]
    flips = sorted((pair for pair in pairs if pair.record.flip), key=lambda pair: (pair.record.flip == "better", pair.claim_id))
    lakes = [LakeReader(side.lake) for side in sides]
    return write_atlas(folder, _samples(flips, sides), dimensions, lakes, title="Every flip", most_images=MOST_IMAGES)


def _samples(flips: Sequence[Pair], sides: tuple[Side, Side]) -> Iterator[Sample]:
    for pair in flips:
        before, after = (answer_of(side, asked) for side, asked in zip(sides, pair, strict=True))
        place = before.image
        yield Sample(
            ImageRef(place.image_id, place.file, place.row, place.sha256),
            {
                "change": pair.record.flip or "",
                "claim": pair.claim_id,
                "factor": pair.before.line.factors or ("none",),
                "before": before.outcome,
                "after": after.outcome,
            },
            before.claim,
            (("Said before", in_words(before)), ("Says after", in_words(after)), ("Right is", right_in_words(before, after))),
        )
