"""Writers: one draft per failure, or why there can't be one; drafts of a form that a question can have."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from millrace.errors import ItemFailed
from millrace.llm.run_chats import chats_of_run, close_run_chats
from millrace.qa.writers import Draft, Request, Writer, open_writer
from millrace.testing.kinds import kept
from millrace.testing.material import QA, questions

FOLDER = "millrace.qa.writers"
WORD = "writer"

WRONG_OPTIONS = {"multiple_choice": 3, "yes_no": 1, "fill_in_blank": 0}


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Writer]:
    """The writer, with the plan for the failures of a guesser on the photographs."""
    qa = QA.model_copy(update={"writer": {**settings, "name": name}})
    with tempfile.TemporaryDirectory() as folder, chats_of_run(Path(folder)):
        try:
            yield open_writer(qa, questions().plan)
        finally:
            close_run_chats()


def _requests() -> list[Request]:
    found = [Request(case) for case in questions().cases]
    return found + [Request(case, variant=1) for case in questions().cases[:3]]


def _plain(drafts: list[Draft | ItemFailed]) -> list[Any]:
    return [msgspec.to_builtins(one) if isinstance(one, Draft) else str(one) for one in drafts]


def it_has_a_name_and_a_fingerprint(writer: Writer) -> None:
    """Records name who wrote; another fingerprint writes other questions."""
    for part in ("name", "fingerprint"):
        value = {"name": writer.name, "fingerprint": writer.fingerprint}[part]
        kept(value and isinstance(value, str), f"its {part} must be a text, not {value!r}")


def every_request_gets_a_draft_or_a_reason_in_order(writer: Writer) -> None:
    """The funnel adds up: in = out + dropped with a reason."""
    drafts = writer.write(_requests())
    kept(len(drafts) == len(_requests()), f"{len(_requests())} requests got {len(drafts)} drafts")
    for draft in drafts:
        kept(isinstance(draft, Draft | ItemFailed), f"a draft is a Draft or an ItemFailed, not a {type(draft).__name__}")
    reasons = {str(draft) for draft in drafts if isinstance(draft, ItemFailed)}
    kept(
        any(isinstance(draft, Draft) for draft in drafts),
        f"it wrote nothing about any failure: {'; '.join(sorted(reasons))[:500]}",
    )


def its_drafts_have_the_options_of_their_form(writer: Writer) -> None:
    """Three wrong ones for multiple choice, one for yes or no, none for a gap; all different."""
    for draft in writer.write(_requests()):
        if not isinstance(draft, Draft):
            continue
        kept(draft.question_type in WRONG_OPTIONS, f"'{draft.question_type}' is no form; known: {', '.join(WRONG_OPTIONS)}")
        kept(draft.question.strip() and draft.right.text.strip(), f"a question or its answer is empty: {draft.question!r}")
        wanted = WRONG_OPTIONS[draft.question_type]
        about = f"'{draft.question}' ({draft.question_type})"
        kept(len(draft.wrong) == wanted, f"{about} has {len(draft.wrong)} wrong options, not {wanted}")
        texts = [option.text.casefold() for option in (draft.right, *draft.wrong)]
        kept(len(set(texts)) == len(texts), f"{about} has two options alike: {texts}")
        kept(draft.evidence == "annotation" or draft.model, f"{about} rests on a model's word: name the model")


def the_same_requests_give_the_same_drafts(writer: Writer) -> None:
    """Or a resumed run would be another run."""
    kept(_plain(writer.write(_requests())) == _plain(writer.write(_requests())), "asked twice, it wrote two things")


PROMISES = (
    it_has_a_name_and_a_fingerprint,
    every_request_gets_a_draft_or_a_reason_in_order,
    its_drafts_have_the_options_of_their_form,
    the_same_requests_give_the_same_drafts,
)
