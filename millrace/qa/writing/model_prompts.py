"""The prompts for a chat model that writes or answers questions, and what its replies must look like."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from millrace.errors import ItemFailed
from millrace.llm import JsonSchema
from millrace.qa.items import KEYS
from millrace.qa.writers import Draft, Option, Request
from millrace.qa.writing.pipelines import load_pipelines
from millrace.records.question import QuestionType

LANGUAGES = {"en": "English", "zh": "Chinese"}

WRONG_OPTIONS = 3
MOST_ACCEPTED = 5
SHORTEST_QUESTION = 8

FORMS: dict[QuestionType, str] = {
    "multiple_choice": "a question with one right answer and three wrong but plausible ones (a few words each, no synonyms)",
    "yes_no": "a question that is answered by yes or no",
    "fill_in_blank": "a sentence with exactly one gap, written as ___, and the words that belong there",
}
"""Form of question → how it is asked for."""


def draft_words(request: Request, form: QuestionType, language: str) -> str:
    """The order for one draft.

    Raises:
        ItemFailed: there is no such question pipeline.
    """
    record = request.case.record
    pipeline = load_pipelines(request.case.annotation).get(request.case.pipeline)
    if pipeline is None:
        raise ItemFailed("unknown_pipeline", f"there is no question pipeline '{request.case.pipeline}'")
    right = _listed(record.origin.correct)
    lines = [
        f"Write {FORMS[form]}, in {LANGUAGES[language]}.",
        f"What to ask about: {pipeline.description}",
        f"A model got this statement about the picture wrong: {record.claim}",
        f"It said: {_listed(record.origin.said) or 'that the statement does not apply'}",
        f"Thought to be right: {right or 'that the statement does not apply'}. Trust the picture more than this.",
        "Ask about the same subject. Do not give the answer away. Do not mention the statement or the model.",
    ]
    if request.refused:
        lines.append(f"An earlier draft was refused ({request.refused}); write a better one.")
    return "\n".join(lines)


def draft_schema(form: str) -> JsonSchema:
    """What a draft must look like."""
    text: JsonSchema = {"type": "string"}
    fields: dict[str, JsonSchema] = {"question": text, "right": text, "explanation": text}
    if form == "yes_no":
        fields["right"] = {"type": "boolean"}
    if form == "multiple_choice":
        fields["wrong"] = {"type": "array", "items": text, "description": f"exactly {WRONG_OPTIONS}"}
    if form == "fill_in_blank":
        fields["accepted"] = {"type": "array", "items": text, "description": f"at most {MOST_ACCEPTED} other wordings"}
    return _object(f"draft {form}", fields)


def draft_problem(form: str, value: Mapping[str, Any]) -> str | None:
    """What is wrong with a draft that its schema cannot say (strict modes know no limits); None when nothing is."""
    texts = [value["question"], *([] if form == "yes_no" else [value["right"]]), *value.get("wrong", ())]
    if not all(text.strip() for text in texts):
        return "a part of the draft is empty"
    if len(value["question"].strip()) < SHORTEST_QUESTION:
        return f"'{value['question']}' is no question"
    if form == "multiple_choice" and len(value["wrong"]) != WRONG_OPTIONS:
        return f"{len(value['wrong'])} wrong options instead of {WRONG_OPTIONS}"
    return None


def shown_to_answerer(draft: Draft, rng: Random) -> tuple[str, dict[str, Option]]:
    """The question as an answerer sees it, and its options by key (none for a gap), in an order of this asking's own."""
    options = [draft.right, *draft.wrong] if draft.question_type != "fill_in_blank" else []
    rng.shuffle(options)
    keyed = dict(zip(KEYS, options, strict=False))
    lines = [draft.question, *(f"{key}: {option.text}" for key, option in keyed.items())]
    lines.append("Answer with the key of the right option." if keyed else "Answer with the words that belong into the gap.")
    return "\n".join(lines), keyed


def answer_schema(keys: Mapping[str, Option]) -> JsonSchema:
    """What an answer must look like."""
    answer: JsonSchema = {"type": "string", "enum": list(keys)} if keys else {"type": "string"}
    return _object("question multiple_choice" if keys else "question fill_in_blank", {"answer": answer})


def _object(title: str, fields: dict[str, JsonSchema]) -> JsonSchema:
    return {"title": title, "type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{slot}: {text}" for slot, text in values.items())
