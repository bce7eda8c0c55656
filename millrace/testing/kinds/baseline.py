"""Baselines: a reply to every prompt, in order, the same each time from the same fingerprint."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from millrace.llm.run_chats import chats_of_run, close_run_chats
from millrace.probing.baselines import Baseline, ClaimPrompt, Completion, Question, baseline_settings, open_baseline
from millrace.probing.prompts import write_prompt
from millrace.testing.kinds import kept
from millrace.testing.material import Asked, asked, decoded

FOLDER = "millrace.probing.baselines"
WORD = "baseline"
PICTURES = 3


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Baseline]:
    """The model, on the CPU."""
    with tempfile.TemporaryDirectory() as folder, chats_of_run(Path(folder)):
        try:
            yield open_baseline(baseline_settings({**settings, "name": name}), device="cpu")
        finally:
            close_run_chats()


def _pictures() -> Iterator[tuple[Any, list[ClaimPrompt]]]:
    """A few photographs with what is asked about each."""
    by_picture = groupby(asked(), key=lambda one: one.row.ref.image_id)
    groups: list[list[Asked]] = [list(group) for _, group in by_picture]
    for claims in groups[:PICTURES]:
        yield decoded(claims[0].row), [write_prompt(one.claim, one.subject) for one in claims]


def _plain(replies: list[Completion | Exception]) -> list[Any]:
    return [msgspec.to_builtins(one) if isinstance(one, Completion) else repr(one) for one in replies]


def it_has_a_name_and_a_fingerprint(baseline: Baseline) -> None:
    """Records name who answered; a resumed run refuses another fingerprint."""
    kept(baseline.name and isinstance(baseline.name, str), f"its name must be a text, not {baseline.name!r}")
    kept(
        baseline.fingerprint and isinstance(baseline.fingerprint, str),
        f"its fingerprint must be a text that changes with weights, code and settings, not {baseline.fingerprint!r}",
    )
    kept(baseline.concurrency >= 1, f"concurrency is {baseline.concurrency}; at least one image is asked about at a time")


def every_prompt_gets_its_reply_in_order(baseline: Baseline) -> None:
    """A prompt that broke gives its exception in the others' midst."""
    for image, prompts in _pictures():
        replies = baseline.complete(image, prompts)
        kept(len(replies) == len(prompts), f"{len(prompts)} prompts got {len(replies)} replies")
        for prompt, reply in zip(prompts, replies, strict=True):
            kept(isinstance(reply, Completion | Exception), f"a reply is a Completion or an Exception, not {reply!r}")
            if isinstance(reply, Completion):
                extra = set(reply.values) - set(prompt.slots)
                kept(not extra, f"claim '{prompt.claim_id}' has no slot {sorted(extra)}; known: {sorted(prompt.slots)}")
                words = all(isinstance(value, str) for value in reply.values.values())
                kept(words, f"the values of claim '{prompt.claim_id}' must be texts: {reply.values}")
                sure = reply.confidence
                kept(sure is None or 0 <= sure <= 1, f"a confidence lies between 0 and 1, not {sure}; None where there is none")


def the_same_picture_and_prompts_get_the_same_replies(baseline: Baseline) -> None:
    """Or a resumed run would be another run."""
    for image, prompts in _pictures():
        first, again = _plain(baseline.complete(image, prompts)), _plain(baseline.complete(image, prompts))
        kept(first == again, "asked twice, it said two things; ask greedily, draw from a hash of picture and words")


def no_prompts_at_all_are_fine(baseline: Baseline) -> None:
    """As where a picture offers no subject."""
    image, _ = next(_pictures())
    kept(list(baseline.complete(image, [])) == [], "no prompts got replies")


def finished_questions_are_answered_by_a_key_or_in_words(baseline: Baseline) -> None:
    """One text for each: a key of the options, or anything where there are none (what is no key counts as wrong)."""
    image, _ = next(_pictures())
    asked_here = [
        Question("How many things are there?", {"A": "1", "B": "2", "C": "3", "D": "4"}, "multiple_choice"),
        Question("Is there a cup?", {"A": "yes", "B": "no"}, "yes_no"),
        Question("There are ____ things.", {}, "fill_in_blank"),
    ]
    answers = baseline.answer(image, asked_here)
    kept(len(answers) == len(asked_here), f"{len(asked_here)} questions got {len(answers)} answers")
    kept(all(isinstance(answer, str) for answer in answers), f"an answer is a text: {answers}")


PROMISES = (
    it_has_a_name_and_a_fingerprint,
    every_prompt_gets_its_reply_in_order,
    the_same_picture_and_prompts_get_the_same_replies,
    no_prompts_at_all_are_fine,
    finished_questions_are_answered_by_a_key_or_in_words,
)
