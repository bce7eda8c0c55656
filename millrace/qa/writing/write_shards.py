"""Questions for a shard of failures: drafted, checked, repaired, and only then written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from millrace.errors import ItemFailed, RunFailed
from millrace.lake.annotations import ANY
from millrace.llm.run_chats import chats_of_run
from millrace.qa.checking.question_checks import Examination, examine, proof_of
from millrace.qa.items import KEYS, build_item
from millrace.qa.settings import QaSettings
from millrace.qa.writers import Draft, Request, Writer, open_writer
from millrace.qa.writing.case import Case, choices_for, read_cases
from millrace.qa.writing.option_balance import Plan, Survey, cell_of, make_plan
from millrace.records.question import REFUSED_QUESTION, DroppedQuestion, Item
from millrace.records.selection import Selection
from millrace.run.ids import fraction_for
from millrace.run.journal import read_jsonl, read_records, write_jsonl

Examined = dict[str, Examination]
"""Proof (`proof_of`) → what the checks came to."""


class StageReport(msgspec.Struct):
    """The funnel of one shard: `seen == kept + sum(dropped.values())`."""

    path: str
    seen: int
    kept: int
    dropped: dict[str, int]


def survey_shard(selection: Path, lake: Path | None, qa: QaSettings, annotation: str = ANY) -> Survey:
    """Count what a shard's failures offer, for `plan_questions`. Reads every image's annotation, writes nothing."""
    survey: Survey = Counter()
    for case in read_cases(selection, lake, annotation):
        if isinstance(case, Case):
            try:
                survey[cell_of(choices_for(case, qa.seed)[0])] += 1
            except ItemFailed:
                continue
    return survey


def plan_questions(surveys: list[Survey], qa: QaSettings) -> Plan:
    """Add up the surveys of all shards and balance the options over the whole set."""
    whole: Survey = Counter()
    for survey in surveys:
        whole.update(survey)
    return make_plan(whole, qa.question_type_ratio.shares(), capping=qa.blind_check == "drop")


def dropped_path(written: Path) -> Path:
    """Where the failures of a written shard stand that got no question."""
    return written.parent / "dropped" / written.name


def examined_path(written: Path) -> Path:
    """Where the examinations of a written shard's questions stand, by their proof."""
    return written.parent / "examined" / written.name


def write_shard(selection: Path, out: Path, lake: Path | None, qa: QaSettings, plan: Plan, annotation: str = ANY) -> StageReport:
    """Write the questions about a shard's failures to `out`, and the failures without one beside it with their reason.

    A shard that is there already is left alone and only counted.

    Args:
        selection: a shard of the filtering.
        out: the shard to write.
        lake: the folder of images; None when the selection embeds them.
        qa: the settings.
        plan: from `plan_questions`, over the whole selection.
        annotation: the kind of annotation that the images have (`millrace.lake.annotations`).
    """
    if not out.exists():
        cases: list[Case] = []
        lost: list[DroppedQuestion] = []
        for case in read_cases(selection, lake, annotation):
            if isinstance(case, Case):
                cases.append(case)
            else:
                record, failure = case
                lost += [_dropped(record, variant, failure) for variant in range(qa.items_per_failure)]
        with chats_of_run(out):
            writer = open_writer(qa, plan)
        examined: Examined = {}
        items, refused = write_questions(cases, qa, writer, examined)
        write_jsonl(examined_path(out), (found.record(proof) for proof, found in examined.items()))
        write_jsonl(dropped_path(out), lost + refused)
        write_jsonl(out, items)
    kept = sum(1 for _ in read_jsonl(out))
    reasons = Counter(record.reason for record in read_records(dropped_path(out), REFUSED_QUESTION))
    return StageReport(str(out), kept + reasons.total(), kept, dict(reasons))


def check_yield(reports: Sequence[StageReport], qa: QaSettings) -> None:
    """See that enough of the failures got a question.

    Raises:
        RunFailed: more than `max_failure_rate` of them got none; says why most of them did not.
    """
    reasons: Counter[str] = Counter()
    for report in reports:
        reasons.update(report.dropped)
    seen = sum(report.seen for report in reports)
    if reasons.total() > qa.max_failure_rate * seen:
        reason, count = reasons.most_common(1)[0]
        raise RunFailed(
            f"{reasons.total()} of {seen} failures got no question, and max_failure_rate allows {qa.max_failure_rate:.0%}; "
            f"{count} of them for '{reason}' (see qa/written/dropped): change the writer, the routes or the limit"
        )


def write_questions(
    cases: list[Case], qa: QaSettings, writer: Writer, examined: Examined | None = None
) -> tuple[list[Item], list[DroppedQuestion]]:
    """(questions that pass every check, failures without one), in the order of the cases.

    Args:
        examined: gets the examination of each question that passes, by its proof.
    """
    requests = [Request(case, variant) for case in cases for variant in range(qa.items_per_failure)]
    position: dict[tuple[str, int], int] = {}
    items: dict[tuple[str, int], Item] = {}
    losses: dict[tuple[str, int], DroppedQuestion] = {}
    for attempt in range(qa.max_repairs + 1):
        again = []
        drafts = writer.write(requests)
        choices = [request for request, draft in zip(requests, drafts, strict=True) if _is_choice(draft)]
        position = deal_positions(choices, qa.seed) | position
        for request, draft in zip(requests, drafts, strict=True):
            key = request.case.id, request.variant
            if isinstance(draft, ItemFailed):
                losses[key] = _dropped(request.case.record, request.variant, draft)
                continue
            item = build_item(draft, request, position.get(key, 0), qa, writer.fingerprint)
            examination = examine(item, request.case.row)
            failure = examination.failure
            if failure is None:
                if examined is not None:
                    examined[proof_of(item, request.case.row)] = examination
                items[key] = item
                losses.pop(key, None)
                continue
            losses[key] = _dropped(
                request.case.record, request.variant, ItemFailed(f"check_{failure.name}", failure.detail), item
            )
            again.append(msgspec.structs.replace(request, attempt=attempt + 1, refused=failure.detail))
        requests = again
    return list(items.values()), list(losses.values())


def _is_choice(draft: Draft | ItemFailed) -> bool:
    return isinstance(draft, Draft) and draft.question_type == "multiple_choice"


def deal_positions(requests: list[Request], seed: int) -> dict[tuple[str, int], int]:
    """Where each choice's right option goes: all four places equally often, in an order that no text reveals."""
    keys = sorted(
        ((request.case.id, request.variant) for request in requests),
        key=lambda key: fraction_for(seed, key[0], str(key[1]), "position"),
    )
    return {key: number % len(KEYS) for number, key in enumerate(keys)}


def _dropped(record: Selection, variant: int, failure: ItemFailed, item: Item | UnsetType = UNSET) -> DroppedQuestion:
    """A failure without a question, as a record."""
    return DroppedQuestion(
        id=f"{record.id}/{variant}",
        stage="write",
        reason=failure.reason,
        detail=failure.detail,
        selection_id=str(record.id),
        failure_id=record.failure_id,
        pipeline_name=record.pipeline_type,
        item=item,
    )
