"""The question record: the original's final fields, and what they never had (verification, difficulty, lineage, provenance)."""

from __future__ import annotations

from typing import Any

from millrace.qa.settings import QaSettings
from millrace.qa.writers import Draft, Option, Request
from millrace.qa.writing.pipelines import load_pipelines
from millrace.run.ids import content_id

SCHEMA = "millrace.qa/1"
KEYS = "ABCD"
"""Keys of the options, in order."""


def build_item(draft: Draft, request: Request, position: int, qa: QaSettings, writer: str) -> dict[str, Any]:
    """A draft as a record, its right option at `position` (0 to 3, used by multiple choice alone)."""
    case = request.case
    record = case.record
    pipeline = load_pipelines()[case.pipeline]
    options = arranged(draft, position)
    keyed = dict(zip(KEYS, options, strict=False))
    right_key = next((key for key, option in keyed.items() if option.kind == "right"), None)
    texts = {key: option.text for key, option in keyed.items()}
    source, lineage = record["source_a"], record["lineage"]
    image = {
        "image_id": source["id"],
        "file": source.get("image_path") or "",
        "row": source.get("row") or 0,
        "sha256": source.get("sha256") or "",
    }
    return {
        "kind": "item",
        "id": content_id("qa", record["id"], draft.question, list(texts.values()), draft.right.text, request.variant, length=16),
        "schema": SCHEMA,
        "sample_index": record["sample_index"],
        "source_a_id": source["id"],
        "trace_id": record["id"],
        "image": image,
        "source_a": source,
        "question": draft.question,
        "full_question": full_question(draft.question, texts),
        "question_type": draft.question_type,
        "options": texts,
        "answer": right_key or draft.right.text,
        "correct_option": right_key,
        "answer_text": draft.right.text,
        "accepted_answers": [draft.right.text, *draft.accepted] if not texts else [],
        "explanation": draft.explanation,
        "pipeline_name": case.pipeline,
        "pipeline_intent": pipeline.intent,
        "answer_type": pipeline.answer_type,
        "language": qa.language,
        "task": {
            "aspect": draft.aspect,
            "family": draft.family,
            "form": draft.form,
            "selectors": record.get("selectors") or {},
            "value": draft.right.value,
            "statement": draft.statement,
        },
        "distractors": {
            key: {"value": option.value, "kind": option.kind} for key, option in keyed.items() if option.kind != "right"
        },
        "validation_passed": None,
        "validation_score": None,
        "verification": {"status": "judged" if draft.evidence == "model" else "unverified", "by": draft.model, "checks": []},
        "difficulty": {"baseline_correct": None, "asked": 0, "answers": []},
        "lineage": {
            "selection_id": record["id"],
            "outcome_id": lineage["outcome_id"],
            "outcome": lineage["outcome"],
            "failure_id": record["failure_id"],
            "claim_id": record["claim_id"],
            "claim": record["prefill"]["claim"],
            "prefilled_values": record["prefill"].get("prefilled_values") or {},
            "answerable": record.get("answerable"),
            "baseline": lineage.get("baseline"),
            "correct": lineage.get("correct") or {},
            "accepted": lineage.get("accepted") or {},
            "factors": lineage.get("factors") or [],
            "judge": lineage.get("judge") or {},
        },
        "provenance": {
            "writer": writer,
            "template": draft.template,
            "variant": request.variant,
            "attempt": request.attempt,
            "seed": qa.seed,
            "schema": SCHEMA,
        },
    }


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
