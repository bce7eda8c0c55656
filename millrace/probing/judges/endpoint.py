"""One or several chat models as judge. What an annotation can decide is decided by it; the models judge the rest.

Each model says, without seeing the others' votes, whether the statement applies to the picture at all, whether the reply is
right, and what would be right. The majority decides; a tie is `judge_uncertain`. A reply of the wrong form needs no model to
see it. For pictures without an annotation the first model also chooses what a claim is asked about.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Literal

import msgspec
from pydantic import Field

from millrace.config import OPERATIONAL, Settings
from millrace.errors import ItemFailed, RunFailed
from millrace.lake.images import REASONS
from millrace.lake.rows import LakeRow
from millrace.llm import ImagePart, JsonSchema, Reply, Request, system, user
from millrace.llm.client.blocking import BlockingChat
from millrace.llm.failures import Filtered
from millrace.llm.run_chats import run_chat
from millrace.llm.settings import ModelSettings
from millrace.probing.annotated import Subject
from millrace.probing.baselines import Completion
from millrace.probing.claims import Claim, fill
from millrace.probing.judges import Verdict
from millrace.probing.judges.annotation import AnnotationJudge

ROLE = "You check statements about pictures. Look at the picture yourself first; do not trust the reply you are given."


class JudgeSettings(Settings):
    """Chat models as judges."""

    name: Literal["endpoint"] = "endpoint"
    """Which judge."""
    chats: tuple[ModelSettings, ...] = Field(min_length=1)
    """The models that vote; an odd number has no ties."""
    prefer_annotation: bool = True
    """Where the image's annotation decides a claim it does, and the verdict is `verified`."""
    max_tokens: int = Field(default=512, ge=16, json_schema_extra=OPERATIONAL)
    """Longest vote, thoughts included. May be raised in the same folder: only what broke off is asked again."""
    temperature: float | None = Field(default=0.0, ge=0)
    """0 asks for the most likely vote; null leaves it to the server."""


class Vote(msgspec.Struct, frozen=True):
    """What one model says; `vote_schema` asks for it."""

    applies: bool
    is_correct: bool
    right_values: dict[str, str | int | float | bool | None]
    explanation: str


def open_judge(settings: JudgeSettings) -> EndpointJudge:
    """The judge, ready for use."""
    return EndpointJudge(settings, [run_chat(chat) for chat in settings.chats])


def judges_annotated(settings: JudgeSettings) -> bool:
    """Not where the annotation goes first."""
    return not settings.prefer_annotation


class EndpointJudge:
    """Asks its models, counts their votes. May be used by several threads at once."""

    name = "endpoint"

    def __init__(self, settings: JudgeSettings, chats: list[BlockingChat]) -> None:
        self._settings = settings
        self._chats = chats
        self._annotation = AnnotationJudge()
        names = [chat.chat.name for chat in chats]
        # the same model at two places has two votes: the second gets a number
        self._names = [
            f"{name} ({names[:place].count(name) + 1})" if name in names[:place] else name for place, name in enumerate(names)
        ]
        self.panel = ", ".join(self._names)

    @property
    def concurrency(self) -> int:
        """Claims that are worth judging at the same time."""
        return min(chat.chat.parallelism for chat in self._chats)

    def judge(self, claim: Claim, subject: Subject, completion: Completion, row: LakeRow) -> Verdict:
        """The verdict on `completion`.

        Raises:
            ItemFailed: no model voted. RunFailed, ShortOfTarget: none will.
        """
        settled = self._settled(claim, subject, completion, row)
        if settled is not None:
            return settled
        votes, missing = self._votes(self._request(claim, subject, completion, picture_of(row.image_bytes)))
        return self._decided(claim, completion, votes, missing)

    def choose_subject(self, claim: Claim, row: LakeRow) -> Subject | None:
        """What the claim is asked about on a picture without an annotation; None when the picture offers nothing for it.

        Raises:
            ItemFailed: the model gave no usable answer.
        """
        if not claim.prefill_slots:
            return Subject({}, {}, answerable=True)
        reply = self._chats[0].complete(self._subject_request(claim, row))
        if reply.filtered:
            raise Filtered(reply.text[:200])
        if reply.value is None or not reply.value["offers"]:
            return None
        values = {name: str(text).strip() for name, text in reply.value["values"].items()}
        return Subject(values, {}, answerable=True) if all(values.values()) else None

    def choose_ahead(self, asked: Iterable[tuple[Claim, LakeRow]], watch: Callable[[], None]) -> None:
        """See `Judge.choose_ahead`."""
        self._chats[0].ask_ahead((self._subject_request(claim, row) for claim, row in asked if claim.prefill_slots), watch)

    def judge_ahead(
        self, asked: Callable[[], Iterable[tuple[Claim, Subject, Completion, LakeRow]]], watch: Callable[[], None]
    ) -> None:
        """See `Judge.judge_ahead`: all judges at the same time."""

        def requests() -> Iterator[Request]:
            for claim, subject, completion, row in asked():
                if self._settled(claim, subject, completion, row) is None:
                    yield self._request(claim, subject, completion, picture_of(row.image_bytes))

        stopped = threading.Event()

        def watched() -> None:
            if stopped.is_set():
                raise RunFailed("another judge has failed, or the run was stopped")
            watch()

        with ThreadPoolExecutor(len(self._chats), thread_name_prefix="judge") as threads:
            asking = [threads.submit(chat.ask_ahead, requests(), watched) for chat in self._chats]
            try:
                for one in asking:
                    one.result()
            finally:
                stopped.set()  # else an interruption would wait for the batches

    def _settled(self, claim: Claim, subject: Subject, completion: Completion, row: LakeRow) -> Verdict | None:
        """The verdict that needs no model."""
        if self._settings.prefer_annotation:
            verdict = self._annotation.judge(claim, subject, completion, row)
            if verdict.outcome != "judge_uncertain":
                return verdict
        problem = form_problem(claim, completion)
        return None if problem is None else Verdict("format_error", "verified", explanation=problem, by="form")

    def _subject_request(self, claim: Claim, row: LakeRow) -> Request:
        lines = [
            f"Statement: {claim.claim_template}",
            "Choose what the statement should be about, so that the picture settles it:",
        ]
        for name in claim.prefill_slots:
            slot = claim.slots[name]
            lines.append(f"- {name}: {' '.join(filter(None, (slot.description, slot.selection_criteria))) or slot.type}")
        lines.append("If the picture offers nothing for it, set offers to false and every value to an empty string.")
        return Request(
            messages=(system(ROLE), user(picture_of(row.image_bytes), "\n".join(lines))),
            schema=subject_schema(claim),
            temperature=self._settings.temperature,
            max_tokens=self._settings.max_tokens,
            stage="subject",
        )

    def _votes(self, request: Request) -> tuple[dict[str, Vote], dict[str, str]]:
        """The votes by judge, and why there is none by those that gave none."""
        asked: dict[str, Future[Reply]] = {
            name: chat.submit(request) for name, chat in zip(self._names, self._chats, strict=True)
        }
        usable: dict[str, Vote] = {}
        missing: dict[str, str] = {}
        failure: ItemFailed | None = None
        for name, vote in asked.items():
            try:
                reply = vote.result()
            except ItemFailed as error:
                failure = error
                missing[name] = error.reason
                continue
            if reply.value is not None:
                usable[name] = msgspec.convert(reply.value, Vote)
            else:
                failure = Filtered(reply.text[:200]) if reply.filtered else failure
                missing[name] = "filtered" if reply.filtered else "refused"
        if not usable:
            raise failure or ItemFailed("judge_refused", "every judge refused to vote")
        return usable, missing

    def _decided(self, claim: Claim, completion: Completion, votes: dict[str, Vote], missing: dict[str, str]) -> Verdict:
        outcomes = {name: outcome_of(vote, completion) for name, vote in votes.items()}
        ((first, count), *others) = Counter(outcomes.values()).most_common()
        tally = f"{count} of {len(votes)} votes"
        if missing:
            tally += f"; none from {', '.join(f'{name} ({why})' for name, why in missing.items())}"
        by = f"{self.panel} ({tally})"
        told = outcomes if len(self._chats) > 1 else {}
        if others and others[0][1] == count:
            said = f"The judges disagree: {', '.join(outcomes.values())}."
            return Verdict("judge_uncertain", "unverified", explanation=said, by=by, votes=told, missing=missing)
        spoken = next(vote for name, vote in votes.items() if outcomes[name] == first)
        right = {slot: str(text) for slot, text in spoken.right_values.items() if slot in claim.answer_slots}
        correct = dict(completion.values) if first == "correct" else right if spoken.applies else {}
        accepted = {slot: [text] for slot, text in correct.items()}
        return Verdict(first, "judged", correct, accepted, f"{spoken.explanation} ({tally})", by, told, missing)

    def _request(self, claim: Claim, subject: Subject, completion: Completion, part: ImagePart) -> Request:
        said = completion.text if completion.related else "The statement does not apply to this picture."
        lines = [
            f"Statement: {fill(claim.claim_template, subject.values)}",
            f"Slots to be filled: {', '.join(claim.answer_slots)}",
            *(f"It does not apply when: {condition}" for condition in claim.not_related_conditions),
            f"Reply to be checked: {said}",
            f"The reply's reason: {completion.explanation}",
            "Does the statement apply to the picture? Is the reply right? Give the right value of every slot.",
        ]
        return Request(
            messages=(system(ROLE), user(part, "\n".join(lines))),
            schema=vote_schema(claim),
            temperature=self._settings.temperature,
            max_tokens=self._settings.max_tokens,
            stage="judge",
        )


@lru_cache(maxsize=64)
def picture_of(image_bytes: bytes | None) -> ImagePart:
    """An image of the lake as a part of a message, the same object for all claims about it.

    Raises:
        ItemFailed: there is none.
    """
    if not image_bytes:
        raise ItemFailed("no_image", REASONS["no_image"])
    return ImagePart(data=image_bytes)


def vote_schema(claim: Claim) -> JsonSchema:
    """What a vote on `claim` must look like."""
    values = _object({name: {"type": "string"} for name in claim.answer_slots})
    yes_no: JsonSchema = {"type": "boolean"}
    text: JsonSchema = {"type": "string"}
    fields = {"applies": yes_no, "is_correct": yes_no, "right_values": values, "explanation": text}
    return {"title": "vote", **_object(fields)}


def subject_schema(claim: Claim) -> JsonSchema:
    """What the choice of a claim's subject must look like."""
    values = _object({name: {"type": "string"} for name in claim.prefill_slots})
    return {"title": "subject", **_object({"offers": {"type": "boolean"}, "values": values})}


def _object(fields: dict[str, JsonSchema]) -> JsonSchema:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def outcome_of(vote: Vote, completion: Completion) -> str:
    """The outcome that one vote stands for. Answering what does not apply is the model's failure, abstaining from it is right."""
    if not completion.related:
        return "wrong_abstain" if vote.applies else "right_abstain"
    if not vote.applies:
        return "hallucinated"
    return "correct" if vote.is_correct else "wrong"


def form_problem(claim: Claim, completion: Completion) -> str | None:
    """What is wrong with the form of a reply, whatever the picture shows; None when nothing is."""
    if not completion.related:
        return None
    for name in claim.answer_slots:
        value = completion.values.get(name, "").strip()
        allowed = {text.casefold() for text in claim.slots[name].values}
        if not value:
            return f"{name} was not filled."
        if allowed and value.casefold() not in allowed:
            return f"{name} must be one of {', '.join(claim.slots[name].values)}, not '{value[:80]}'."
    return None
