"""Probing one unit of images: every claim's outcome as a line in the unit's journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
from PIL import Image

from millrace.errors import ItemFailed, RunFailed, ShortOfTarget
from millrace.lake.annotations import ANY
from millrace.lake.images import decode_image
from millrace.lake.parquet import stream_rows
from millrace.lake.rows import BadRow, LakeRow
from millrace.probing.annotated import Subject, claim_rules
from millrace.probing.baselines import Baseline, Completion
from millrace.probing.claims import Claim, ClaimSet
from millrace.probing.judges import Judge
from millrace.probing.outcomes import decide, failure_id_of, judgement_of
from millrace.probing.prompts import write_prompt
from millrace.probing.ranks.units import Unit
from millrace.records.lake import ImageRef
from millrace.records.outcome import (
    PROBED_CLAIM,
    BaselineAnswer,
    DroppedClaim,
    ImagePlace,
    OutcomeRecord,
    ProbedClaim,
    count_failures,
    is_failure,
)
from millrace.run.ids import content_id
from millrace.run.journal import Journal
from millrace.threads import in_order

T = TypeVar("T")
R = TypeVar("R")


class Probe(msgspec.Struct, frozen=True):
    """What is needed to probe an image; the same in every rank."""

    claims: ClaimSet
    baseline: Baseline
    judge: Judge
    lake: Path
    seed: int
    unanswerable_share: float
    annotation: str = ANY
    """The kind of annotation that is looked for."""


def probe_unit(probe: Probe, unit: Unit, journal: Journal, on_image: Callable[[int], None]) -> int:
    """Probe the unit's images that are not in the journal yet, finish it, and return its failures.

    Args:
        probe: what to ask, whom, who decides.
        unit: which rows.
        journal: open for writing.
        on_image: called after each image with its failures.
    """
    if journal.done:
        return count_failures(journal.records_of(PROBED_CLAIM))
    complete = _complete_images(journal.records_of(PROBED_CLAIM), len(probe.claims.claims))
    failures = sum(complete.values())
    rows = stream_rows(unit.file, range(unit.start, unit.stop), lake=probe.lake, annotation=probe.annotation)
    for records in _probed(probe, (row for row in rows if row.ref.row not in complete)):
        journal.append(*records)
        failed = count_failures(records)
        failures += failed
        on_image(failed)
    claim_order = {claim.claim_id: place for place, claim in enumerate(probe.claims.claims)}

    def place(record: ProbedClaim) -> tuple[int, int]:
        return record.image.row, claim_order.get(record.claim_id or "", -1)

    journal.finish_sorted(PROBED_CLAIM, place)
    return failures


def _probed(probe: Probe, rows: Iterable[LakeRow | BadRow]) -> Iterator[list[ProbedClaim]]:
    """The lines for each row, in order. A baseline behind an endpoint says how many images it can be asked about at once."""
    yield from in_order(partial(probe_row, probe), rows, width=probe.baseline.concurrency, name="probe")


def probe_row(probe: Probe, row: LakeRow | BadRow) -> list[ProbedClaim]:
    """The lines for one image: an outcome or a drop for each claim, or one drop for all when the image can't be used."""
    if isinstance(row, BadRow):
        return [_dropped_image(probe, row.ref, row.reason, row.detail)]
    try:
        image = decode_image(row.image_bytes)
    except ItemFailed as failure:
        return [_dropped_image(probe, row.ref, failure.reason, failure.detail)]
    place = ImagePlace(**msgspec.structs.asdict(row.ref), width=image.width, height=image.height)
    asked: list[tuple[Claim, Subject]] = []
    records: list[ProbedClaim] = []
    claims = probe.claims.claims
    subjects = _each(probe, lambda claim: subject_of(probe, claim, row), claims)
    for claim, (subject, reason, detail) in zip(claims, subjects, strict=True):
        if subject is None:
            name = content_id("drp", row.ref.image_id, row.ref.sha256, claim.claim_id, probe.seed)
            records.append(DroppedClaim(id=name, image=place, claim_id=claim.claim_id, reason=reason, detail=detail))
        else:
            asked.append((claim, subject))
    completed = list(zip(asked, _complete(probe.baseline, image, asked), strict=True))
    return records + _each(probe, lambda one: _outcome(probe, row, place, *one[0], one[1]), completed)


def _each(probe: Probe, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` on every claim of an image, in order; at the same time where the judge is a model that can be asked so."""
    if len(items) < 2 or probe.judge.concurrency < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(len(items), thread_name_prefix="claim") as threads:
        return list(threads.map(work, items))


def subject_of(probe: Probe, claim: Claim, row: LakeRow) -> tuple[Subject | None, str, str]:
    """(subject, "", "") or (None, why there is none, in which way)."""
    rules = claim_rules(row)
    if rules is None:
        return _subject_by_judge(probe, claim, row)
    share = probe.unanswerable_share
    try:
        subject = rules.choose_subject(claim, row, seed=probe.seed, image_id=row.ref.image_id, unanswerable_share=share)
    except ItemFailed as failure:
        return None, failure.reason, failure.detail
    except Exception as error:  # noqa: BLE001 - an annotation that its own kind fails on costs its claims, not the run
        return None, "bad_annotation", f"{type(error).__name__}: {error}"
    return subject, "no_subject", ""


def _subject_by_judge(probe: Probe, claim: Claim, row: LakeRow) -> tuple[Subject | None, str, str]:
    """A judge that can see may choose the subject where no annotation does."""
    try:
        return probe.judge.choose_subject(claim, row), "no_subject", ""
    except ItemFailed as failure:
        return None, failure.reason, ""


def _complete(baseline: Baseline, image: Image.Image, asked: list[tuple[Claim, Subject]]) -> list[Completion | Exception]:
    if not asked:
        return []
    prompts = [write_prompt(claim, subject) for claim, subject in asked]
    try:
        return baseline.complete(image, prompts)
    except (RunFailed, ShortOfTarget):  # no endpoint answers, or the budget is spent: not this item's failure
        raise
    except Exception as error:  # noqa: BLE001 - a broken model is an outcome of its items, not the end of the run
        return [error] * len(asked)


def _outcome(
    probe: Probe, row: LakeRow, place: ImagePlace, claim: Claim, subject: Subject, completion: Completion | Exception
) -> OutcomeRecord:
    decision = decide(probe.judge, claim, subject, completion, row)
    verdict = decision.verdict
    rules = claim_rules(row)
    return OutcomeRecord(
        id=content_id(
            "out",
            row.ref.image_id,
            row.ref.sha256,
            claim.claim_id,
            probe.claims.sha256,
            subject.values,
            probe.baseline.fingerprint,
            probe.seed,
            length=16,
        ),
        image=place,
        claim_id=claim.claim_id,
        claim_set=probe.claims.sha256,
        claim=write_prompt(claim, subject).text,
        prefilled=subject.values,
        selectors=subject.selectors,
        answerable=subject.answerable,
        outcome=decision.outcome,
        failure_id=failure_id_of(verdict.outcome, claim),
        baseline=None if isinstance(completion, Exception) else _answer(probe.baseline, completion),
        judge=judgement_of(verdict),
        factors=rules.factors(row) if rules is not None else (),
        error=decision.error,
    )


def _answer(baseline: Baseline, completion: Completion) -> BaselineAnswer:
    return BaselineAnswer(name=baseline.name, fingerprint=baseline.fingerprint, **msgspec.structs.asdict(completion))


def _dropped_image(probe: Probe, ref: ImageRef, reason: str, detail: str) -> DroppedClaim:
    name = content_id("drp", ref.image_id, ref.file, ref.row, ref.sha256, probe.seed)
    count = len(probe.claims.claims)
    image = ImagePlace(**msgspec.structs.asdict(ref))
    return DroppedClaim(id=name, image=image, claim_id=None, reason=reason, detail=detail, claims=count)


def _complete_images(records: Iterable[ProbedClaim], claims: int) -> dict[int, int]:
    """Failures by row of the images whose lines are all there; a torn write may have kept some of an image's lines."""
    lines: Counter[int] = Counter()
    failures: Counter[int] = Counter()
    for record in records:
        row = record.image.row
        lines[row] += record.claims if isinstance(record, DroppedClaim) else 1
        failures[row] += is_failure(record)
    return {row: failures[row] for row, count in lines.items() if count == claims}
