"""A model under test behind an endpoint, or a local Hugging Face model: the same claims, asked in words, answered in JSON.

The claims of an image are asked at the same time, each in a request of its own, with the allowed values as a JSON schema. A reply
that does not satisfy it, also after one re-ask, is the model's own format error; a call that was not answered is the
infrastructure's and never the model's.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from millrace.config import OPERATIONAL, Settings
from millrace.errors import ItemFailed
from millrace.llm import ImagePart, JsonSchema, Message, Reply, Request, system, user
from millrace.llm.client.blocking import BlockingChat
from millrace.llm.failures import Filtered, ReplyInvalid
from millrace.llm.providers import PACKAGE as PROVIDERS
from millrace.llm.run_chats import run_chat
from millrace.llm.settings import ModelSettings
from millrace.pixels import stored_bytes
from millrace.plugins.loading import load_plugin
from millrace.probing.baselines import ClaimPrompt, Completion, Question
from millrace.run.ids import content_id

if TYPE_CHECKING:
    from PIL import Image

VERSION = "1"
"""Raised when a prompt below changes: another prompt is another model under test."""

MAX_TOKENS_IN_FINGERPRINT = 512
"""Stands where the longest answer once stood. That no longer makes another model: what breaks off gets more room."""

NOT_RELATED = "NOT_RELATED"
SEE = "You look at one picture and complete a statement about it, or say that the statement does not apply to the picture."
ANSWER = "You look at one picture and answer one question about it."


class BaselineSettings(Settings):
    """The model under test behind an endpoint."""

    name: Literal["endpoint"] = "endpoint"
    """Which baseline."""
    chat: ModelSettings
    """The model, its endpoints and its limits."""
    temperature: float | None = Field(default=0.0, ge=0)
    """0 asks for the most likely answer, so that the probe can be repeated; null leaves it to the server."""
    max_tokens: int = Field(default=512, ge=16, json_schema_extra=OPERATIONAL)
    """Longest answer, thoughts included. May be raised in the same folder: only what broke off is asked again."""
    seed: int | None = 0
    """Sent along; servers that know it answer the same each time. null sends none."""


def open_baseline(settings: BaselineSettings, *, device: str = "cpu") -> EndpointBaseline:
    """The baseline; `device` is for a model in this process (a provider that takes one)."""
    chat = settings.chat
    if load_plugin(PROVIDERS, chat.provider, "provider").TAKES_DEVICE and "device" not in chat.options:
        chat = chat.model_copy(update={"options": {**chat.options, "device": device}})
    return EndpointBaseline(settings, run_chat(chat))


class EndpointBaseline:
    """Asks a chat model. May be used by several threads at once."""

    def __init__(self, settings: BaselineSettings, chat: BlockingChat) -> None:
        self.name = settings.chat.model or settings.chat.provider
        self._settings = settings
        self._chat = chat
        asked = (settings.temperature, MAX_TOKENS_IN_FINGERPRINT, settings.seed, settings.chat.structured)
        self.fingerprint = content_id(
            "chat", VERSION, settings.chat.provider, settings.chat.model, settings.chat.extra, list(asked)
        )

    @property
    def concurrency(self) -> int:
        """Images that are worth probing at the same time: enough to keep the endpoints busy."""
        return max(1, self._chat.chat.parallelism // 4)

    def complete(self, image: Image.Image, prompts: Sequence[ClaimPrompt]) -> list[Completion | Exception]:
        """One reply per prompt, in order.

        Raises:
            RunFailed, ShortOfTarget: no endpoint answers, or the budget is spent: the run ends.
        """
        part = picture(image)
        replies = self._chat.complete_all([claim_request(self._settings, part, prompt) for prompt in prompts])
        return [_completion(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)]

    def answer(self, image: Image.Image, questions: Sequence[Question]) -> list[str]:
        """Per question the key of the chosen option, or the words of a free answer; what the model wrote where that is neither.

        Raises:
            ItemFailed: a question was not answered for another reason than the model.
        """
        part = picture(image)
        replies = self._chat.complete_all([self._question_request(part, question) for question in questions])
        return [_answer(reply) for reply in replies]

    def ask_ahead(self, asked: Iterable[tuple[Image.Image, Sequence[ClaimPrompt | Question]]], watch: Callable[[], None]) -> None:
        """See `Baseline.ask_ahead`."""
        self._chat.ask_ahead(
            (
                claim_request(self._settings, part, one) if isinstance(one, ClaimPrompt) else self._question_request(part, one)
                for image, questions in asked
                for part in (picture(image),)
                for one in questions
            ),
            watch,
        )

    def _question_request(self, part: ImagePart, question: Question) -> Request:
        return _request(self._settings, ANSWER, user(part, question_words(question)), question_schema(question), "difficulty")


def claim_request(settings: BaselineSettings, part: ImagePart, prompt: ClaimPrompt) -> Request:
    """How a claim is asked: also what a trainer teaches a model to answer."""
    return _request(settings, SEE, user(part, claim_words(prompt)), claim_schema(prompt), "baseline")


def _request(settings: BaselineSettings, role: str, message: Message, schema: JsonSchema, stage: str) -> Request:
    return Request(
        messages=(system(role), message),
        schema=schema,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        seed=settings.seed,
        stage=stage,
    )


def picture(image: Image.Image) -> ImagePart:
    """A decoded image as a part of a message: its stored bytes, so that the client shows every model the same picture (see
    `llm/images.py`); as PNG where they are not known.
    """
    stored = stored_bytes(image)
    if stored is not None:
        return ImagePart(data=stored)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return ImagePart(data=out.getvalue())


def claim_words(prompt: ClaimPrompt) -> str:
    """A claim as the model reads it."""
    lines = [f"Statement: {prompt.text}", "Fill the slots in square brackets from what the picture shows:"]
    for slot, values in prompt.slots.items():
        lines.append(f"- {slot}: one of {', '.join(values)}" if values else f"- {slot}: in a few words")
    lines += [f"- {rule}" for rule in (*prompt.instructions, *prompt.expected_outputs)]
    if prompt.not_related_conditions:
        lines.append("The statement does not apply to the picture when:")
        lines += [f"- {condition}" for condition in prompt.not_related_conditions]
    lines.append(f"When it does not apply, set is_related to false and every slot to {NOT_RELATED}. Explain in one sentence.")
    return "\n".join(lines)


def claim_schema(prompt: ClaimPrompt) -> JsonSchema:
    """What a reply to a claim must look like."""
    slots: dict[str, JsonSchema] = {}
    for slot, values in prompt.slots.items():
        allowed = [value for value in values if value != NOT_RELATED]
        slots[slot] = {"type": "string", "enum": [*allowed, NOT_RELATED]} if values else {"type": "string"}
    fields: dict[str, JsonSchema] = {
        "is_related": {"type": "boolean"},
        "values": _object(slots),
        "explanation": {"type": "string"},
    }
    return _object(fields, f"claim {prompt.claim_id}")


def question_words(question: Question) -> str:
    """A question as the model reads it."""
    if question.options:
        lines = [question.text, *(f"{key}: {text}" for key, text in question.options.items())]
        return "\n".join([*lines, "Answer with the key of the right option."])
    if question.kind == "fill_in_blank":
        return f"{question.text}\nAnswer with the words that belong into the gap and nothing else."
    return question.text


def question_schema(question: Question) -> JsonSchema:
    """What a reply to a question must look like."""
    answer: JsonSchema = {"type": "string", "enum": list(question.options)} if question.options else {"type": "string"}
    return _object({"answer": answer}, f"question {question.kind}")


def _object(properties: dict[str, JsonSchema], title: str = "") -> JsonSchema:
    whole: JsonSchema = {"title": title} if title else {}
    return {
        **whole,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _completion(prompt: ClaimPrompt, reply: Reply | ItemFailed) -> Completion | Exception:
    if isinstance(reply, ReplyInvalid):
        return Completion(related=True, values={}, text="", explanation=str(reply), raw=reply.text)
    if isinstance(reply, ItemFailed):
        return reply
    if reply.filtered:
        return Filtered(reply.text[:200])
    if reply.value is None:  # the model refused: that is an answer that can't be read
        return Completion(related=True, values={}, text="", explanation="refused", raw=reply.text)
    value = reply.value
    said = {slot: str(text) for slot, text in value["values"].items()}
    related = bool(value["is_related"]) and any(text != NOT_RELATED for text in said.values())
    text = prompt.text
    for slot, filled in said.items():
        text = text.replace(f"[{slot}]", filled)
    return Completion(
        related=related,
        values=said if related else {},
        text=text if related else NOT_RELATED,
        explanation=str(value["explanation"]),
        raw=reply.text,
    )


def _answer(reply: Reply | ItemFailed) -> str:
    if isinstance(reply, ReplyInvalid):
        return reply.text
    if isinstance(reply, ItemFailed):
        raise reply
    if reply.filtered:
        raise Filtered(reply.text[:200])
    return reply.text if reply.value is None else str(reply.value["answer"])
