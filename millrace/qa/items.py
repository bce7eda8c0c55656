"""The question record: the original's final fields, and what they never had (verification, difficulty, lineage, provenance)."""

from __future__ import annotations

from millrace.qa.settings import QaSettings
from millrace.qa.writers import Draft, Option, Request
from millrace.qa.writing.case import Case
from millrace.qa.writing.pipelines import load_pipelines
from millrace.records.lake import ImageRef
from millrace.records.question import Difficulty, Distractor, Item, ItemLineage, Provenance, Task, Verification
from millrace.records.selection import Prefill
from millrace.run.ids import content_id

KEYS = "ABCD"
"""Keys of the options, in order."""


def build_item(draft: Draft, request: Request, position: int, qa: QaSettings, writer: str) -> Item:
    """A draft as a record, its right option at `position` (0 to 3, used by multiple choice alone)."""
    case, record = request.case, request.case.record
    pipeline = load_pipelines(case.annotation)[case.pipeline]
    options = arranged(draft, position)
    keyed = dict(zip(KEYS, options, strict=False))
    right_key = next((key for key, option in keyed.items() if option.kind == "right"), None)
    texts = {key: option.text for key, option in keyed.items()}
    source = record.source
    return Item(
        id=content_id("qa", case.id, draft.question, list(texts.values()), draft.right.text, request.variant, length=16),
        sample_index=record.sample_index,
        source_a_id=source.name,
        trace_id=case.id,
        image=ImageRef(source.name, source.image_path or "", source.row or 0, source.sha256 or ""),
        source_a=source,
        question=draft.question,
        full_question=full_question(draft.question, texts),
        question_type=draft.question_type,
        options=texts,
        answer=right_key or draft.right.text,
        correct_option=right_key,
        answer_text=draft.right.text,
        accepted_answers=(draft.right.text, *draft.accepted) if not texts else (),
        explanation=draft.explanation,
        pipeline_name=case.pipeline,
        pipeline_intent=pipeline.intent,
        answer_type=pipeline.answer_type,
        language=qa.language,
        task=Task(
            aspect=draft.aspect,
            family=draft.family,
            form=draft.form,
            selectors=record.subject,
            value=draft.right.value,
            statement=draft.statement,
        ),
        distractors={key: Distractor(option.value, option.kind) for key, option in keyed.items() if option.kind != "right"},
        validation_passed=None,
        validation_score=None,
        verification=Verification(status="judged" if draft.evidence == "model" else "unverified", by=draft.model, checks=()),
        difficulty=Difficulty(baseline_correct=None, asked=0, answers=()),
        lineage=_lineage(case),
        provenance=Provenance(
            writer=writer, template=draft.template, variant=request.variant, attempt=request.attempt, seed=qa.seed
        ),
    )


def _lineage(case: Case) -> ItemLineage:
    record, origin = case.record, case.record.origin
    prefill = record.prefill or Prefill()
    return ItemLineage(
        selection_id=case.id,
        outcome_id=origin.outcome_id,
        outcome=origin.outcome,
        failure_id=record.failure_id,
        claim_id=record.claim_id,
        claim=record.claim,
        prefilled_values=prefill.prefilled_values or {},
        answerable=record.answerable,
        baseline=origin.baseline,
        correct=origin.correct,
        accepted=origin.accepted,
        factors=origin.factors,
        judge=origin.judge,
    )


def arranged(draft: Draft, position: int) -> list[Option]:
    """The options in the order in which they are shown; none for a gap, yes before no."""
    if draft.question_type == "fill_in_blank":
        return []
    if draft.question_type == "yes_no":
        return sorted((draft.right, *draft.wrong), key=lambda option: option.value != "yes")
    options = list(draft.wrong)
    options.insert(position, draft.right)
    return options


def full_question(question: str, options: dict[str, str]) -> str:
    """The question with its options below, as it is put to a model."""
    return "\n".join([question, *(f"{key}: {text}" for key, text in options.items())])
