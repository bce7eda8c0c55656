"""Failures to make questions from: real scenes, real claims, and a stand-in for a model that is wrong in a lopsided way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from millrace.digits.annotation import scene_of
from millrace.digits.claim_vocabulary import KINDS, SLOT_KINDS
from millrace.digits.geometry import typed
from millrace.digits.kinds import truth_of
from millrace.digits.lake_build import build_lake
from millrace.digits.subjects import choose_subject
from millrace.filtering.routing import load_routes
from millrace.filtering.selection_shards import selection_record
from millrace.lake.parquet import LakeRow, stream_rows
from millrace.probing.claims import Claim, load_claims
from millrace.records.outcome import ForeignOutcome
from millrace.records.selection import Selection
from millrace.run.ids import content_id, random_for
from millrace.run.journal import write_jsonl

FAVOURITES = {
    "digit": "digit 1",
    "region": "centre",
    "direction": "left of",
    "place": "leftmost",
    "percent": "8%",
    "count": "2",
    "quarter": "top left",
    "point": "up",
    "turn": "upright",
}
"""What the stand-in says when it has no idea: as models do, mostly the same."""


def wrong_answer(claim: Claim, right: dict[str, list[str]], rng: Any) -> dict[str, str]:
    """A value per slot that is not right: the model's favourite more often than not."""
    said = {}
    for slot in claim.answer_slots:
        kind = SLOT_KINDS[slot]
        values = [value for value in KINDS[kind] if value not in right.get(slot, ())]
        if kind == "percent" and right:
            share = float(right[slot][0].rstrip("%"))
            values = [value for value in values if abs(float(value.rstrip("%")) - share) > max(1.0, 0.35 * share)]
        favourite = FAVOURITES[kind]
        said[slot] = favourite if favourite in values and rng.random() < 0.5 else rng.choice(values)
    return said


def outcome_of(row: LakeRow, claim: Claim, seed: int) -> ForeignOutcome | None:
    """A failure on this image and claim, as the probing writes it; None where there is nothing to ask."""
    scene = scene_of(row)
    subject = choose_subject(claim, scene, seed=seed, image_id=row.ref.image_id)
    if subject is None:
        return None
    truth = truth_of(claim.claim_id, scene, typed(subject.selectors))
    assert truth is not None
    rng = random_for(seed, row.ref.image_id, claim.claim_id, "stand-in")
    abstains = subject.answerable and rng.random() < 0.2
    outcome = "hallucinated" if not subject.answerable else "wrong_abstain" if abstains else "wrong"
    accepted = {slot: list(values) for slot, values in truth.accepted.items()}
    record = {
        "kind": "outcome",
        "id": content_id("out", row.ref.sha256, claim.claim_id, seed),
        "image": {
            "image_id": row.ref.image_id,
            "file": row.ref.file,
            "row": row.ref.row,
            "sha256": row.ref.sha256,
            "width": scene.width,
            "height": scene.height,
        },
        "claim_id": claim.claim_id,
        "claim_set": "default",
        "claim": claim.claim_template,
        "prefilled": subject.values,
        "selectors": subject.selectors,
        "answerable": subject.answerable,
        "outcome": outcome,
        "failure_id": claim.target_failure_id,
        "baseline": {
            "name": "stand-in",
            "fingerprint": "1",
            "related": outcome != "wrong_abstain",
            "values": {} if outcome == "wrong_abstain" else wrong_answer(claim, accepted, rng),
            "text": "",
            "explanation": "",
            "confidence": None,
        },
        "judge": {
            "by": "annotation",
            "kind": "verified",
            "correct": dict(truth.correct),
            "accepted": accepted,
            "explanation": "",
        },
        "factors": list(scene.factors),
        "error": None,
    }
    return msgspec.convert(record, ForeignOutcome)


def failures_in(lake: Path, seed: int, per_image: int) -> Iterator[Selection]:
    """Up to `per_image` failures of every image, as selection records."""
    routes = load_routes("default")
    claims = load_claims("default").claims
    number = 0
    for file in sorted(lake.glob("*.parquet")):
        for row in stream_rows(file, lake=lake):
            assert isinstance(row, LakeRow)
            order = random_for(seed, row.ref.image_id, "claims").sample(list(claims), len(claims))
            found = [outcome for claim in order if (outcome := outcome_of(row, claim, seed)) is not None]
            for outcome in found[:per_image]:
                yield selection_record(outcome, sample_index=number, routes=routes)
                number += 1


def make_selection(
    folder: Path, *, images: int, seed: int = 1, per_image: int = 3, shard_size: int = 150
) -> tuple[Path, list[Path]]:
    """A lake and the selection shards of failures on it: (lake folder, shards)."""
    lake = folder / "lake"
    build_lake(lake, images=images, pool="probe", seed=seed)
    records = list(failures_in(lake, seed, per_image))
    shards = []
    for number, at in enumerate(range(0, len(records), shard_size)):
        shards.append(folder / "filtering" / f"shard-{number:05d}.jsonl")
        write_jsonl(shards[-1], records[at : at + shard_size])
    return lake, shards
