"""The checking of written questions: everything once more from the file, and what the baseline answered.

Nothing that the writing stage found is trusted: a shard from elsewhere goes through the same checks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from millrace.errors import ItemFailed
from millrace.lake.reader import LakeReader
from millrace.qa.annotated import QuestionRules, question_rules
from millrace.qa.checking.question_checks import Check, examine, plain
from millrace.qa.settings import QaSettings
from millrace.qa.writing.case import row_of_record
from millrace.qa.writing.write_shards import StageReport, dropped_path
from millrace.run.journal import read_jsonl, write_jsonl


def check_shard(written: Path, asked: Path | None, out: Path, rejected: Path, lake: Path | None, qa: QaSettings) -> StageReport:
    """Sort a shard's questions into accepted and rejected; the failures that got no question join the rejected.

    A shard that is there already is left alone and only counted.

    Args:
        written: from `write_shard`.
        asked: the baseline's answers, a line `{"id", "answers": [...]}` per question; None when it was not asked.
        out: the accepted questions.
        rejected: everything else, with its reason.
        lake: the folder of images; None when the questions embed them.
        qa: the settings.
    """
    if not out.exists():
        answers = {line["id"]: line for line in read_jsonl(asked)} if asked is not None else {}
        reader = LakeReader(lake) if lake is not None else None
        accepted: list[dict[str, Any]] = []
        refused: list[dict[str, Any]] = []
        for item in read_jsonl(written):
            judged = check_item(item, answers.get(item["id"]), reader, qa)
            (accepted if judged["kind"] == "item" else refused).append(judged)
        before = dropped_path(written)
        write_jsonl(rejected, [*(read_jsonl(before) if before.exists() else ()), *refused])
        write_jsonl(out, accepted)
    kept = sum(1 for _ in read_jsonl(out))
    reasons = Counter(record["reason"] for record in read_jsonl(rejected))
    return StageReport(str(out), kept + reasons.total(), kept, dict(reasons))


def check_item(
    item: Mapping[str, Any], asked: Mapping[str, Any] | None, reader: LakeReader | None, qa: QaSettings
) -> dict[str, Any]:
    """The question with its verification and difficulty filled in, or a rejection with its reason."""
    try:
        row = row_of_record(dict(item), reader)
    except ItemFailed as failure:
        return rejection(item, failure.reason, failure.detail)
    examination = examine(item, row)
    difficulty = measure_difficulty(item, asked, question_rules(row))
    checks = list(examination.checks)
    if qa.keep == "baseline_fails" and examination.failure is None:
        fails = difficulty["baseline_correct"] is False
        checks.append(Check("difficulty", fails, "" if fails else "the baseline was not asked, or answers it rightly"))
    passed = all(check.passed for check in checks)
    status = {"status": examination.status, "by": examination.by, "checks": [check._asdict() for check in checks]}
    checked = {
        **item,
        "validation_passed": passed,
        "validation_score": round(sum(check.passed for check in checks) / len(checks), 3),
        "verification": status,
        "difficulty": difficulty,
    }
    if not passed:
        failed = next(check for check in checks if not check.passed)
        return rejection(checked, "too_easy" if failed.name == "difficulty" else f"check_{failed.name}", failed.detail)
    if examination.status not in qa.keep_status:
        return rejection(checked, f"status_{examination.status}", "keep_status does not list it")
    return checked


def measure_difficulty(
    item: Mapping[str, Any], asked: Mapping[str, Any] | None, rules: QuestionRules | None = None
) -> dict[str, Any]:
    """What the baseline made of the final question. `baseline_correct` is None when it was not asked or could not answer."""
    answers = [str(answer) for answer in (asked or {}).get("answers") or []]
    blind = [str(answer) for answer in (asked or {}).get("blind_answers") or []]
    right = sum(answers_rightly(item, answer, rules) for answer in answers)
    found: dict[str, Any] = {
        "baseline_correct": None if not answers else 2 * right > len(answers),
        "asked": len(answers),
        "answers": answers,
    }
    if blind:
        found["blind_correct"] = 2 * sum(answers_rightly(item, answer, rules) for answer in blind) > len(blind)
    return found


def answers_rightly(item: Mapping[str, Any], answer: str, rules: QuestionRules | None = None) -> bool:
    """Whether a reply is the right one: the option's key or text; in a gap any accepted wording, or words that mean the value."""
    if item["options"]:
        said = answer.strip().rstrip(".):")
        return said.upper() == item["answer"] or plain(answer) == plain(item["answer_text"])
    accepted: Iterable[str] = item["accepted_answers"]
    if plain(answer) in {plain(text) for text in accepted}:
        return True
    aspect = item["task"]["aspect"]
    if rules is None or not aspect or item["language"] != "en":
        return False
    return rules.read_value(aspect, answer) == str(item["task"]["value"])


def rejection(item: Mapping[str, Any], reason: str, detail: str, stage: str = "check") -> dict[str, Any]:
    """A question that is not kept, whole, with its reason."""
    return {
        "kind": "rejected",
        "id": item["id"],
        "stage": stage,
        "reason": reason,
        "detail": detail,
        "selection_id": item["lineage"]["selection_id"],
        "failure_id": item["lineage"]["failure_id"],
        "pipeline_name": item["pipeline_name"],
        "item": dict(item),
    }
