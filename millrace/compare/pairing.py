"""From two probings to pairs: the same image (by content), claim and subject, answered by two models.

An outcome that says nothing about a model (a server's fault, a reply cut off or withheld, a judge in doubt) is no model's
failure: its pair is left out, and counted. So is what only one of the two was asked. What came in is what is paired and what is
left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from millrace.compare.runs import Asked
from millrace.records.compare import ComparedImage, LeftOutRecord, PairRecord
from millrace.records.outcome import FAILURES, SUCCESSES
from millrace.run.ids import content_id

DECIDED = FAILURES | SUCCESSES


class Pair(NamedTuple):
    """Two answers to the same question."""

    before: Asked
    after: Asked

    @property
    def failed(self) -> tuple[bool, bool]:
        """Whether the model failed, before and after."""
        return self.before.line.outcome in FAILURES, self.after.line.outcome in FAILURES

    @property
    def claim_id(self) -> str:
        """The claim."""
        return str(self.before.line.claim_id)

    @property
    def image(self) -> str:
        """The image's content."""
        return image_of(self.before).sha256

    @property
    def record(self) -> PairRecord:
        """As a line of the journal."""
        failed_before, failed_after = self.failed
        return PairRecord(
            id=content_id("pair", self.before.line.id, self.after.line.id, length=16),
            image=image_of(self.before),
            claim_id=self.claim_id,
            before=self.before.line.outcome,
            after=self.after.line.outcome,
            before_id=self.before.line.id,
            after_id=self.after.line.id,
            factors=self.before.line.factors,
            flip=None if failed_before == failed_after else "worse" if failed_after else "better",
        )


@dataclass
class Pairing:
    """What two probings have in common, and what not."""

    pairs: list[Pair] = field(default_factory=list)
    left_out: list[LeftOutRecord] = field(default_factory=list)
    shared_images: int = 0

    @property
    def reasons(self) -> dict[str, int]:
        """Why outcomes were left out → how many."""
        return dict(sorted(Counter(one.reason for one in self.left_out).items()))

    def reasons_of(self, claim_id: str) -> dict[str, int]:
        """The same for one claim."""
        return dict(sorted(Counter(one.reason for one in self.left_out if one.claim_id == claim_id).items()))


def image_of(asked: Asked) -> ComparedImage:
    """The image of an outcome; every outcome has one."""
    assert asked.line.image is not None
    return asked.line.image


def pair_outcomes(before: Iterable[Asked], after: Iterable[Asked], claims: Collection[str] = ()) -> Pairing:
    """Pair the outcomes of two probings.

    Args:
        before: of the first, in the order of its journals.
        after: of the second.
        claims: only these; none given means all.
    """
    found = Pairing()
    first, second = (_by_key(found, outcomes, side, claims) for outcomes, side in ((before, "before"), (after, "after")))
    for key, asked in first.items():
        if key not in second:
            _leave_out(found, f"{_missing(asked, second)}_before", before=asked)
            continue
        pair = Pair(asked, second[key])
        undecided = [f"{one.line.outcome}_{side}" for one, side in zip(pair, ("before", "after"), strict=True) if _undecided(one)]
        if undecided:
            _leave_out(found, "_".join(undecided), before=pair.before, after=pair.after)
        else:
            found.pairs.append(pair)
    for key, asked in second.items():
        if key not in first:
            _leave_out(found, f"{_missing(asked, first)}_after", after=asked)
    found.shared_images = len(first.images & second.images)
    return found


class _Outcomes(dict[bytes, Asked]):
    """Outcomes by key, with what is asked for when one is missing on the other side."""

    def __init__(self) -> None:
        super().__init__()
        self.images: set[str] = set()
        self.claims: set[str | None] = set()


def _by_key(found: Pairing, outcomes: Iterable[Asked], side: str, claims: Collection[str]) -> _Outcomes:
    kept = _Outcomes()
    for asked in outcomes:
        if claims and asked.line.claim_id not in claims:
            continue
        content = image_of(asked).sha256
        if not content:
            _leave_out(found, f"image_without_hash_{side}", **{side: asked})
        elif asked.key in kept:  # the same picture is in the lake twice
            _leave_out(found, f"asked_again_{side}", **{side: asked})
        else:
            kept[asked.key] = asked
            kept.images.add(content)
            kept.claims.add(asked.line.claim_id)
    return kept


def _missing(asked: Asked, other: _Outcomes) -> str:
    """What the other side lacks that would have made a pair."""
    if asked.line.claim_id not in other.claims:
        return "claim_only"
    return "subject_only" if image_of(asked).sha256 in other.images else "image_only"


def _undecided(asked: Asked) -> bool:
    return asked.line.outcome not in DECIDED


def _leave_out(found: Pairing, reason: str, *, before: Asked | None = None, after: Asked | None = None) -> None:
    one = before or after
    assert one is not None
    record = LeftOutRecord(
        id=content_id("out", reason, *(side.line.id for side in (before, after) if side), length=16),
        image=image_of(one),
        claim_id=str(one.line.claim_id),
        reason=reason,
        before=before.line.outcome if before else None,
        after=after.line.outcome if after else None,
    )
    found.left_out.append(record)
