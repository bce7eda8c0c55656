"""Judges: a verdict on every completion, and `verified` only where it is right."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from millrace.errors import ItemFailed
from millrace.llm.run_chats import chats_of_run, close_run_chats
from millrace.probing.annotated import Subject
from millrace.probing.baselines import Completion
from millrace.probing.judges import Judge, Verdict, judge_settings, open_judge
from millrace.records.outcome import OUTCOMES
from millrace.testing.kinds import kept
from millrace.testing.material import Asked, asked

FOLDER = "millrace.probing.judges"
WORD = "judge"

NONSENSE = "qwx ??"
ABSTAINS = Completion(related=False, values={}, text="NOT_RELATED")


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Judge]:
    """The judge."""
    with tempfile.TemporaryDirectory() as folder, chats_of_run(Path(folder)):
        try:
            yield open_judge(judge_settings({**settings, "name": name}))
        finally:
            close_run_chats()


def _completions(one: Asked) -> Iterator[Completion]:
    """What a model may say: what is right, the value of another kind, nothing readable, that the claim does not apply."""
    slots = one.claim.answer_slots
    if one.truth.correct:
        yield Completion(True, dict(one.truth.correct), "right")
    for value in (NONSENSE, *(one.claim.slots[slots[0]].values[:1] if slots else ())):
        yield Completion(True, dict.fromkeys(slots, value), value)
    yield ABSTAINS
    yield Completion(True, {}, "")


def _verdicts(judge: Judge) -> Iterator[tuple[Asked, Completion, Verdict]]:
    for one in asked():
        for completion in _completions(one):
            with contextlib.suppress(ItemFailed):
                yield one, completion, judge.judge(one.claim, one.subject, completion, one.row)


def every_completion_gets_a_verdict_of_the_known_outcomes(judge: Judge) -> None:
    """The outcomes are counted by name; what it cannot decide is `judge_uncertain`, and never a guess."""
    known = OUTCOMES
    given = 0
    for one, completion, verdict in _verdicts(judge):
        kept(isinstance(verdict, Verdict), f"a verdict is a millrace.probing.judges.Verdict, not a {type(verdict).__name__}")
        kept(verdict.outcome in known, f"'{verdict.outcome}' is no outcome; known: {', '.join(known)}")
        kinds = ("verified", "judged", "unverified")
        kept(verdict.kind in kinds, f"the kind of a verdict is one of {', '.join(kinds)}, not '{verdict.kind}'")
        kept(verdict.by or verdict.kind == "unverified", f"on '{completion.text}' of {one.claim.claim_id} `by` names no judge")
        given += 1
    kept(given, "it decided nothing at all")


def what_it_calls_verified_is_right(judge: Judge) -> None:
    """Held against the boxes of the photographs: the right value is not wrong, and what was not answered is not correct."""
    for one, completion, verdict in _verdicts(judge):
        if verdict.kind != "verified" or not one.truth.clear:
            continue
        said, about = verdict.outcome, f"of '{one.claim.claim_id}' on {one.row.ref.image_id}"
        if completion.text == "right":
            kept(said == "correct", f"the right value {about}, {dict(one.truth.correct)}, is called '{said}' and verified")
        elif completion is ABSTAINS:
            right = "wrong_abstain" if one.truth.answerable else "right_abstain"
            kept(said == right, f"abstaining {about} is called '{said}' and verified; it is '{right}'")
        elif NONSENSE in completion.values.values():
            kept(said != "correct", f"'{NONSENSE}' {about} is called correct and verified")


def the_same_completion_gets_the_same_verdict(judge: Judge) -> None:
    """Or a resumed run would be another run."""
    first = [msgspec.to_builtins(verdict) for _, _, verdict in _verdicts(judge)]
    kept(first == [msgspec.to_builtins(verdict) for _, _, verdict in _verdicts(judge)], "asked twice, it decided two things")


def it_chooses_a_subject_or_says_that_it_does_not(judge: Judge) -> None:
    """For pictures without an annotation: a Subject, None, or ItemFailed."""
    for one in asked()[:6]:
        with contextlib.suppress(ItemFailed):
            found = judge.choose_subject(one.claim, one.row)
            kept(found is None or isinstance(found, Subject), f"choose_subject gives a Subject or None, not {found!r}")


PROMISES = (
    every_completion_gets_a_verdict_of_the_known_outcomes,
    what_it_calls_verified_is_right,
    the_same_completion_gets_the_same_verdict,
    it_chooses_a_subject_or_says_that_it_does_not,
)
