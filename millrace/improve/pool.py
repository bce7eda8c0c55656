"""The pool that arms draw from: decided claims about images whose right answer is known, as probing left them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from millrace.errors import InputError
from millrace.records.improve import PoolFacts, PoolItem
from millrace.records.outcome import FAILURES, PROBED_CLAIM, SUCCESSES, Judgement, OutcomeRecord
from millrace.records.summaries import ProbingSummary
from millrace.run.ids import fraction_for
from millrace.run.journal import read_record, read_records

DECIDED = FAILURES | SUCCESSES
"""Outcomes that say something about the model."""


def read_pool(probed: Path) -> list[PoolItem]:
    """The items in the folder of a finished probing, sorted by id. Memory grows with the outcomes, by about a kilobyte each.

    Raises:
        InputError: there is no finished probing, or no verified item in it.
    """
    check_probed(probed)
    items = [
        item
        for shard in sorted(probed.glob("shard-*.jsonl"))
        for record in read_records(shard, PROBED_CLAIM)
        if isinstance(record, OutcomeRecord) and (item := item_of(record)) is not None
    ]
    if not items:
        raise InputError(
            f"no outcome in {probed} has a verified answer (the judge there is no program), so nothing can be trained on; "
            "probe with judge.name=annotation"
        )
    return sorted(items, key=lambda item: item.id)


def check_probed(probed: Path) -> None:
    """Raises InputError unless there is a finished probing in the folder."""
    if not (probed / "summary.json").exists() or not any(probed.glob("shard-*.jsonl")):
        raise InputError(f"there are no finished outcomes in {probed}; run flows.full or flows.probing there first")


def lake_of(probed: Path) -> Path:
    """The folder of the images that were probed."""
    return read_record(probed / "summary.json", ProbingSummary).lake_folder


def item_of(record: OutcomeRecord) -> PoolItem | None:
    """An outcome as an item; None unless it is decided and a program knows its right answer."""
    judge, image = record.judge, record.image
    if record.outcome not in DECIDED or judge is None or not knows_the_answer(judge, record.answerable):
        return None
    return PoolItem(
        id=record.id,
        image_id=image.image_id,
        file=image.file,
        row=image.row,
        sha256=image.sha256 or "",
        claim_id=record.claim_id,
        claim=record.claim,
        answerable=record.answerable,
        correct=judge.correct,
        accepted=judge.accepted,
        failed=record.outcome in FAILURES,
        factors=record.factors,
    )


def knows_the_answer(judge: Judgement, answerable: bool) -> bool:
    """Whether the judge is a program, and has said which answer is right."""
    return judge.kind == "verified" and (bool(judge.accepted) or not answerable)


def by_image(items: Iterable[PoolItem]) -> dict[str, list[PoolItem]]:
    """Image (SHA-256) → its items."""
    images: dict[str, list[PoolItem]] = {}
    for item in items:
        images.setdefault(item.sha256, []).append(item)
    return images


def tuning_images(images: Iterable[str], share: float, seed: int) -> set[str]:
    """The images kept for tuning, by hash: the same whatever else is in the pool."""
    return {image for image in images if fraction_for(seed, "tuning", image) < share}


def rare_kinds(items: Iterable[PoolItem], share: float) -> tuple[str, ...]:
    """Factors that some of the images have, and at most `share` of them; sorted."""
    factors = {item.sha256: item.factors for item in items}
    counts = Counter(factor for found in factors.values() for factor in set(found))
    return tuple(sorted(factor for factor, count in counts.items() if count <= share * len(factors)))


def facts_of(items: Sequence[PoolItem]) -> PoolFacts:
    """What the plan says of the pool."""
    return PoolFacts(
        outcomes=len(items),
        images=len({item.sha256 for item in items}),
        failures=sum(item.failed for item in items),
        sha256=hashlib.sha256("\n".join(f"{item.id} {item.failed}" for item in items).encode()).hexdigest(),
    )
