"""The atlas of a main job: every claim that was asked, with its picture, what the model said, what is right, and its question."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

from millrace.lake.annotations import factor_words
from millrace.lake.reader import LakeReader
from millrace.records.lake import ImageRef
from millrace.records.outcome import FAILURES, OUTCOMES, PROBED_CLAIM, SUCCESSES, OutcomeRecord
from millrace.records.question import Item
from millrace.reporting.atlas.page import write_atlas
from millrace.reporting.atlas.samples import Dimension, Sample
from millrace.run.journal import read_records

OUTCOME_GROUPS = {"failures": sorted(FAILURES), "successes": sorted(SUCCESSES)}
NO_FACTOR = "none"


def write_full_atlas(folder: Path, lake: Path, claims: Mapping[str, str], annotation: str) -> Path:
    """Write the atlas of the run in `folder`.

    Args:
        folder: the run's, with all stages complete.
        lake: where the images are.
        claims: claim id → name.
        annotation: the kind of annotation that names the factors.
    """
    outcomes = [
        record
        for path in sorted((folder / "probing").glob("shard-*.jsonl"))
        for record in read_records(path, PROBED_CLAIM)
        if isinstance(record, OutcomeRecord)
    ]
    factors = sorted({factor for record in outcomes for factor in record.factors} - {NO_FACTOR})
    dimensions = [
        Dimension("claim", "Claim", titles=claims),
        Dimension("outcome", "Outcome", groups=OUTCOME_GROUPS, colours=True),
        Dimension("factor", "Factor", titles={factor: factor_words(factor, annotation) for factor in factors}),
        Dimension("question", "Question made from it"),
    ]
    order = {outcome: place for place, outcome in enumerate(OUTCOMES)}
    outcomes.sort(key=lambda record: (record.outcome not in FAILURES, record.claim_id, order[record.outcome], record.id))
    samples = _samples(outcomes, _items(folder))
    return write_atlas(folder, samples, dimensions, [LakeReader(lake)], title="Every claim that was asked")


def _items(folder: Path) -> dict[str, list[Item]]:
    """Outcome id → the questions made from it."""
    found: dict[str, list[Item]] = {}
    shards = sorted((folder / "qa").glob("shard-*.jsonl"))
    for item in itertools.chain.from_iterable(read_records(path, Item) for path in shards):
        found.setdefault(item.lineage.outcome_id or "", []).append(item)
    return found


def _samples(outcomes: list[OutcomeRecord], items: Mapping[str, list[Item]]) -> Iterator[Sample]:
    for record in outcomes:
        made = items.get(record.id, [])
        facts = [("The model", said_in_words(record)), ("Right is", right_in_words(record))]
        for item in made:
            answer = item.options.get(item.answer, item.answer)
            facts += [("Question", item.question), ("Its answer", f"{answer} ({item.verification.status})")]
        yield Sample(
            ref_of(record),
            {
                "claim": record.claim_id,
                "outcome": record.outcome.value,
                "factor": record.factors or (NO_FACTOR,),
                "question": made[0].verification.status if made else "no question",
            },
            record.claim,
            tuple(facts),
        )


def ref_of(record: OutcomeRecord) -> ImageRef:
    """The picture of an outcome."""
    image = record.image
    return ImageRef(image.image_id, image.file, image.row, image.sha256 or "")


def said_in_words(record: OutcomeRecord) -> str:
    """What the model answered."""
    reply = record.baseline
    if reply is None:
        return record.error.message if record.error is not None else "nothing"
    if reply.abstained:
        return "does not apply"
    return ", ".join(reply.said.values()) or str(reply.raw or "cannot be read")[:300]


def right_in_words(record: OutcomeRecord) -> str:
    """What is right, as far as it is known."""
    if not record.answerable:
        return "does not apply"
    return (", ".join(record.judge.correct.values()) if record.judge is not None else "") or "not known"
