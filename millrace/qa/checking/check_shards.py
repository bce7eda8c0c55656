"""The checking of written questions: everything once more from the file, and what the baseline answered.

A question that was examined when it was written, on the same bytes and by the same code, is not examined again; any other (of a
shard from elsewhere, or changed since) goes through every check here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from msgspec import UNSET, structs

from millrace.errors import ItemFailed
from millrace.lake.annotations import ANY
from millrace.lake.reader import LakeReader
from millrace.qa.annotated import QuestionRules, question_rules
from millrace.qa.checking.question_checks import Examination, examine, plain, proof_of
from millrace.qa.settings import QaSettings
from millrace.qa.writing.case import row_of_source
from millrace.qa.writing.write_shards import StageReport, dropped_path, examined_path
from millrace.records.question import (
    REFUSED_QUESTION,
    AskedQuestion,
    CheckResult,
    Difficulty,
    ExaminedQuestion,
    Item,
    RefusedQuestion,
    RejectedQuestion,
    Verification,
)
from millrace.run.journal import read_jsonl, read_records, write_jsonl


def check_shard(
    written: Path,
    asked: Path | None,
    out: Path,
    rejected: Path,
    lake: Path | None,
    qa: QaSettings,
    annotation: str = ANY,
) -> StageReport:
    """Sort a shard's questions into accepted and rejected; the failures that got no question join the rejected.

    A shard that is there already is left alone and only counted.

    Args:
        written: from `write_shard`.
        asked: the baseline's answers, a line `{"id", "answers": [...]}` per question; None when it was not asked.
        out: the accepted questions.
        rejected: everything else, with its reason.
        lake: the folder of images; None when the questions embed them.
        qa: the settings.
        annotation: the kind of annotation that the images have (`millrace.lake.annotations`).
    """
    if not out.exists():
        answers = {line.id: line for line in read_records(asked, AskedQuestion)} if asked is not None else {}
        reader = LakeReader(lake, annotation) if lake is not None else None
        known = examined_path(written)
        lines = read_records(known, ExaminedQuestion) if known.exists() else ()
        examined = {line.proof: Examination.of(line) for line in lines}
        accepted: list[Item] = []
        refused: list[RefusedQuestion] = []
        for item in read_records(written, Item):
            judged = check_item(item, answers.get(item.id), reader, qa, examined)
            if isinstance(judged, Item):
                accepted.append(judged)
            else:
                refused.append(judged)
        before = dropped_path(written)
        write_jsonl(rejected, [*(read_records(before, REFUSED_QUESTION) if before.exists() else ()), *refused])
        write_jsonl(out, accepted)
    kept = sum(1 for _ in read_jsonl(out))
    reasons = Counter(record.reason for record in read_records(rejected, REFUSED_QUESTION))
    return StageReport(str(out), kept + reasons.total(), kept, dict(reasons))


def check_item(
    item: Item,
    asked: AskedQuestion | None,
    reader: LakeReader | None,
    qa: QaSettings,
    examined: Mapping[str, Examination] | None = None,
) -> Item | RejectedQuestion:
    """The question with its verification and difficulty filled in, or a rejection with its reason.

    Args:
        examined: examinations already made, by proof.
    """
    try:
        row = row_of_source(item.source_a, item.id, reader)
    except ItemFailed as failure:
        return rejection(item, failure.reason, failure.detail)
    found = examined.get(proof_of(item, row)) if examined else None
    examination = found or examine(item, row)
    difficulty = measure_difficulty(item, asked, question_rules(row))
    checks = list(examination.checks)
    if qa.keep == "baseline_fails" and examination.failure is None:
        fails = difficulty.baseline_correct is False
        checks.append(CheckResult("difficulty", fails, "" if fails else "the baseline was not asked, or answers it rightly"))
    passed = all(check.passed for check in checks)
    checked = structs.replace(
        item,
        validation_passed=passed,
        validation_score=round(sum(check.passed for check in checks) / len(checks), 3),
        verification=Verification(status=examination.status, by=examination.by, checks=tuple(checks)),
        difficulty=difficulty,
    )
    if not passed:
        failed = next(check for check in checks if not check.passed)
        return rejection(checked, "too_easy" if failed.name == "difficulty" else f"check_{failed.name}", failed.detail)
    if examination.status not in qa.keep_status:
        return rejection(checked, f"status_{examination.status}", "keep_status does not list it")
    return checked


def measure_difficulty(item: Item, asked: AskedQuestion | None, rules: QuestionRules | None = None) -> Difficulty:
    """What the baseline made of the final question. `baseline_correct` is None when it was not asked or could not answer."""
    answers = asked.answers if asked is not None else ()
    blind = (asked.blind_answers or ()) if asked is not None else ()
    right = sum(answers_rightly(item, answer, rules) for answer in answers)
    return Difficulty(
        baseline_correct=None if not answers else 2 * right > len(answers),
        asked=len(answers),
        answers=answers,
        blind_correct=2 * sum(answers_rightly(item, answer, rules) for answer in blind) > len(blind) if blind else UNSET,
    )


def answers_rightly(item: Item, answer: str, rules: QuestionRules | None = None) -> bool:
    """Whether a reply is the right one: the option's key or text; in a gap any accepted wording, or words that mean the value."""
    if item.options:
        said = answer.strip().rstrip(".):")
        return said.upper() == item.answer or plain(answer) == plain(item.answer_text)
    if plain(answer) in {plain(text) for text in item.accepted_answers}:
        return True
    aspect = item.task.aspect
    if rules is None or not aspect or item.language != "en":
        return False
    return rules.read_value(aspect, answer) == item.task.value


def rejection(item: Item, reason: str, detail: str, stage: str = "check") -> RejectedQuestion:
    """A question that is not kept, whole, with its reason."""
    return RejectedQuestion(
        id=item.id,
        stage=stage,
        reason=reason,
        detail=detail,
        selection_id=item.lineage.selection_id,
        failure_id=item.lineage.failure_id,
        pipeline_name=item.pipeline_name,
        item=item,
    )
