"""Flips with their pictures: what one model had right and the other wrong, as a person sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from millrace.compare.pairing import Pair
from millrace.compare.runs import Answer, Side, answer_of
from millrace.errors import ItemFailed, MillraceError
from millrace.lake.reader import LakeReader
from millrace.records.lake import ImageRef
from millrace.run.ids import fraction_for

NOT_KNOWN = "not known"


class Flip(msgspec.Struct, frozen=True):
    """One pair in which one of the two models failed."""

    kind: str
    """`worse` or `better`."""
    claim_id: str
    claim: str
    image_id: str
    image: bytes | None
    """As it is stored; None when it can't be read any more."""
    before: str
    """The outcome, and the answer in words."""
    before_answer: str
    after: str
    after_answer: str
    right: str
    factors: tuple[str, ...]


def choose_flips(pairs: Sequence[Pair], kind: str, *, most: int, seed: int) -> list[Pair]:
    """At most so many flips of a kind, in turn from each claim, the one with most flips first; drawn by the pairs' ids."""
    by_claim: dict[str, list[tuple[float, str, Pair]]] = {}
    for pair in pairs:
        record = pair.record
        if record.flip == kind:
            drawn = fraction_for(seed, "flips", record.id)
            by_claim.setdefault(pair.claim_id, []).append((drawn, record.id, pair))
    order = sorted(by_claim, key=lambda claim: (-len(by_claim[claim]), claim))
    turns = [sorted(by_claim[claim], key=lambda one: one[:2]) for claim in order]
    chosen = [flips[turn][2] for turn in range(most) for flips in turns if turn < len(flips)]
    return chosen[:most]


def shown_flips(pairs: Sequence[Pair], kind: str, before: Side, after: Side) -> Iterator[Flip]:
    """The chosen flips with answers and pictures."""
    readers = [LakeReader(side.lake) for side in (before, after)]
    for pair in pairs:
        answers = [answer_of(side, asked) for side, asked in zip((before, after), pair, strict=True)]
        first, second = answers
        yield Flip(
            kind=kind,
            claim_id=pair.claim_id,
            claim=first.claim,
            image_id=first.image.image_id,
            image=_picture(answers, readers),
            before=first.outcome,
            before_answer=in_words(first),
            after=second.outcome,
            after_answer=in_words(second),
            right=right_in_words(first, second),
            factors=pair.before.line.factors,
        )


def in_words(answer: Answer) -> str:
    """What the model answered."""
    reply = answer.baseline
    if reply is None:
        return "no answer"
    if reply.related is not True:
        return "does not apply"
    return ", ".join(reply.said.values()) or str(reply.raw or "cannot be read")[:120]


def right_in_words(*answers: Answer) -> str:
    """What is right, by the first judge that knows it."""
    if not answers[0].answerable:
        return "does not apply"
    found = [", ".join(answer.judge.correct.values()) for answer in answers if answer.judge is not None]
    return next((words for words in found if words), NOT_KNOWN)


def _picture(answers: Sequence[Answer], readers: Sequence[LakeReader]) -> bytes | None:
    """From the first lake that still has it."""
    for answer, reader in zip(answers, readers, strict=True):
        place = answer.image
        try:
            return reader.read(ImageRef(place.image_id, place.file, place.row, place.sha256)).image_bytes
        except (ItemFailed, MillraceError, OSError):
            continue
    return None
