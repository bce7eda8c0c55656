"""Questions written by a chat model, answered by other models before they are accepted.

What an annotation can answer is left to the template writer, whose answers can be proved. The rest is drafted by a model that
sees the picture, the failed claim and what is thought to be right; then each answerer gets the finished question with its
options in another order, and only a draft that they answer alike is kept. Models that are asked without the picture and still
know the answer show that the question gives it away. Such a draft is `judged`, never `verified`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import msgspec
from pydantic import Field, NonNegativeInt

from millrace.config import OPERATIONAL, Settings
from millrace.errors import ItemFailed
from millrace.llm import ImagePart, JsonSchema, Reply, system, user
from millrace.llm import Request as ChatRequest
from millrace.llm.client.blocking import BlockingChat
from millrace.llm.failures import Filtered
from millrace.llm.run_chats import run_chat
from millrace.llm.settings import ModelSettings
from millrace.qa.settings import QaSettings
from millrace.qa.writers import Draft, Option, Request
from millrace.qa.writers.template import TemplateWriter
from millrace.qa.writing.model_prompts import (
    FORMS,
    MOST_ACCEPTED,
    answer_schema,
    draft_problem,
    draft_schema,
    draft_words,
    shown_to_answerer,
)
from millrace.qa.writing.option_balance import Plan
from millrace.qa.writing.wordings import YES_NO
from millrace.records.question import QuestionType
from millrace.run.ids import content_id, random_for

VERSION = "1"
"""Raised when a prompt changes."""

NEEDS_A_MODEL = frozenset({"no_annotation", "not_computable"})
"""Why the template writer passes: then a model may try."""

ROLE = "You write exam questions about pictures. A question must need the picture and must have exactly one right answer."
ANSWER_ROLE = "You answer questions. Give your best answer even when you are not sure."


class WriterSettings(Settings):
    """Questions by a chat model."""

    name: Literal["endpoint"] = "endpoint"
    """Which writer."""
    chat: ModelSettings
    """The model that writes."""
    answerers: tuple[ModelSettings, ...] = ()
    """The models that must come to the same answer; none given means the writer's own model, asked anew."""
    min_agreement: float = Field(default=1.0, gt=0.5, le=1.0)
    """The share of the answerers that must agree with the draft."""
    blind_tries: NonNegativeInt = 3
    """How often the first answerer is asked without the picture; right every time drops the draft. 0 leaves the check out."""
    prefer_annotation: bool = True
    """What the annotation can answer is written by templates, and verified."""
    temperature: float | None = Field(default=0.7, ge=0)
    """For drafts; null leaves it to the server."""
    answer_temperature: float | None = Field(default=0.0, ge=0)
    """For answers."""
    max_tokens: int = Field(default=512, ge=16, json_schema_extra=OPERATIONAL)
    """Longest draft or answer, thoughts included. May be raised in the same folder: only what broke off is asked again."""


class _Work(NamedTuple):
    """A draft on its way through the answerers."""

    draft: Draft
    request: Request
    image: ImagePart


def open_writer(settings: WriterSettings, *, qa: QaSettings, plan: Plan) -> EndpointWriter:
    """The writer, ready for use."""
    answerers = [run_chat(chat) for chat in settings.answerers or (settings.chat,)]
    return EndpointWriter(settings, qa, plan, run_chat(settings.chat), answerers)


def blind_tries(settings: WriterSettings) -> int:
    """As its settings say."""
    return settings.blind_tries


class EndpointWriter:
    """Drafts by one model, answers by others."""

    name = "endpoint"

    def __init__(
        self, settings: WriterSettings, qa: QaSettings, plan: Plan, chat: BlockingChat, answerers: Sequence[BlockingChat]
    ) -> None:
        self._settings = settings
        self._qa = qa
        self._template = TemplateWriter(qa, plan)
        self._chat = chat
        self._answerers = answerers
        models = [settings.chat.model, *(chat.model for chat in settings.answerers)]
        made = content_id("writer", VERSION, models, settings.temperature, settings.min_agreement, settings.blind_tries)
        self.fingerprint = f"endpoint/{made}/{self._template.fingerprint}"

    def write(self, requests: Sequence[Request]) -> list[Draft | ItemFailed]:
        """One draft per request, in order, or why there can't be one.

        Raises:
            RunFailed, ShortOfTarget: no endpoint answers, or the budget is spent.
        """
        results: list[Draft | ItemFailed] = [ItemFailed("no_annotation")] * len(requests)
        if self._settings.prefer_annotation:
            results = self._template.write(requests)
        open_ones = [place for place, made in enumerate(results) if isinstance(made, ItemFailed) and made.reason in NEEDS_A_MODEL]
        for place, made in zip(open_ones, self._by_model([requests[place] for place in open_ones]), strict=True):
            results[place] = made
        return results

    def _by_model(self, requests: Sequence[Request]) -> list[Draft | ItemFailed]:
        results: dict[int, Draft | ItemFailed] = {}
        asked: dict[int, ChatRequest] = {}
        for place, request in enumerate(requests):
            try:
                asked[place] = self._draft_request(request, _image_of(request))
            except ItemFailed as failure:
                results[place] = failure
        works: dict[int, _Work] = {}
        for place, reply in zip(asked, self._chat.complete_all(asked.values()), strict=True):
            request = requests[place]
            made = reply if isinstance(reply, ItemFailed) else self._draft(request, reply)
            if isinstance(made, ItemFailed):
                results[place] = made
            else:
                works[place] = _Work(made, request, _image_of(request))
        results.update(zip(works, self._agreed(list(works.values())), strict=True))
        return [results[place] for place in range(len(requests))]

    def _form(self, request: Request) -> QuestionType:
        shares = self._qa.question_type_ratio.shares()
        forms = [name for name in FORMS if shares[name]]
        rng = random_for(self._qa.seed, request.case.id, "form", "model")
        first = rng.choices(forms, [shares[name] for name in forms])[0]
        return forms[(forms.index(first) + request.variant) % len(forms)]

    def _draft_request(self, request: Request, image: ImagePart) -> ChatRequest:
        form = self._form(request)
        words = draft_words(request, form, self._qa.language)
        return self._request(ROLE, image, words, draft_schema(form), "write", self._settings.temperature, request.attempt)

    def _request(
        self,
        role: str,
        image: ImagePart | None,
        text: str,
        schema: JsonSchema,
        stage: str,
        temperature: float | None,
        sample: int,
    ) -> ChatRequest:
        parts = (text,) if image is None else (image, text)
        return ChatRequest(
            messages=(system(role), user(*parts)),
            schema=schema,
            temperature=temperature,
            max_tokens=self._settings.max_tokens,
            stage=stage,
            sample=sample,
        )

    def _draft(self, request: Request, reply: Reply) -> Draft | ItemFailed:
        if reply.filtered:
            return Filtered(reply.text[:200])
        if reply.value is None:
            return ItemFailed("writer_refused", reply.text[:200])
        form, value = self._form(request), reply.value
        problem = draft_problem(form, value)
        if problem is not None:
            return ItemFailed("bad_draft", problem)
        baseline = {text.casefold() for text in request.case.record.origin.said.values()}
        accepted: tuple[str, ...] = ()
        wrong: tuple[Option, ...] = ()
        if form == "yes_no":
            right, wrong = self._decision(value["right"]), (self._decision(not value["right"], "negation"),)
        else:
            right = Option(value["right"].strip(), value["right"].strip(), "right")
        if form == "fill_in_blank":
            accepted = tuple(text for text in value["accepted"][:MOST_ACCEPTED] if text.strip())
        if form == "multiple_choice":
            wrong = tuple(
                Option(text.strip(), text.strip(), "baseline_answer" if text.strip().casefold() in baseline else "plausible")
                for text in value["wrong"]
            )
        return Draft(
            question_type=form,
            question=value["question"].strip(),
            right=right,
            wrong=wrong,
            accepted=accepted,
            explanation=value["explanation"].strip(),
            template=f"endpoint/{VERSION}/{form}",
            evidence="model",
            model=self._chat.chat.name,
        )

    def _decision(self, yes: bool, kind: str = "right") -> Option:
        words = YES_NO[self._qa.language]
        return Option(words.yes, "yes", kind) if yes else Option(words.no, "no", kind)

    def _agreed(self, works: Sequence[_Work]) -> list[Draft | ItemFailed]:
        """The drafts that the answerers answer alike and that can't be answered without the picture."""
        right = [0] * len(works)
        told = [0] * len(works)
        asked = [(chat, False, 0) for chat in self._answerers]
        asked += [(self._answerers[0], True, turn) for turn in range(self._settings.blind_tries)]
        with ThreadPoolExecutor(len(asked), thread_name_prefix="answer") as threads:
            answers = list(threads.map(lambda one: self._answered(one[0], works, blind=one[1], turn=one[2]), asked))
        for answered in answers[: len(self._answerers)]:
            for place, found in enumerate(answered):
                told[place] += found is not None
                right[place] += found is True
        # A model that always says yes is right about half of the yes/no questions: one of them says nothing about the wording.
        blind = [self._settings.blind_tries > 0 and work.draft.question_type != "yes_no" for work in works]
        for answered in answers[len(self._answerers) :]:
            for place, found in enumerate(answered):
                blind[place] = blind[place] and found is True
        results: list[Draft | ItemFailed] = []
        for place, work in enumerate(works):
            tally = f"{right[place]} of {told[place]} answerers agree"
            if not told[place]:
                results.append(ItemFailed("not_answered", "no answerer gave an answer"))
            elif right[place] < self._settings.min_agreement * told[place]:
                results.append(ItemFailed("answer_disputed", f"{tally} with '{work.draft.right.text[:80]}'"))
            elif blind[place]:
                results.append(ItemFailed("answered_blind", "the answer was found every time without the picture"))
            else:
                results.append(msgspec.structs.replace(work.draft, model=f"{work.draft.model} ({tally})"))
        return results

    def _answered(self, chat: BlockingChat, works: Sequence[_Work], *, blind: bool, turn: int) -> list[bool | None]:
        """Per draft whether this model comes to its answer; None when it gave none."""
        shown = [
            shown_to_answerer(work.draft, random_for(self._qa.seed, work.draft.question, str(blind), str(turn))) for work in works
        ]
        requests = [
            self._request(
                ANSWER_ROLE,
                None if blind else work.image,
                text,
                answer_schema(keys),
                "blind" if blind else "answer",
                self._settings.answer_temperature,
                turn,
            )
            for work, (text, keys) in zip(works, shown, strict=True)
        ]
        found: list[bool | None] = []
        for reply, work, (_, keys) in zip(chat.complete_all(requests), works, shown, strict=True):
            if isinstance(reply, ItemFailed) or reply.value is None:
                found.append(None)
            elif keys:
                found.append(keys[reply.value["answer"]].kind == "right")
            else:
                accepted = {text.casefold().strip(" .") for text in (work.draft.right.text, *work.draft.accepted)}
                found.append(reply.value["answer"].casefold().strip(" .") in accepted)
        return found


def _image_of(request: Request) -> ImagePart:
    data = request.case.row.image_bytes
    if not data:
        raise ItemFailed("no_image", "the record has no image to show to a model")
    return ImagePart(data=data)
