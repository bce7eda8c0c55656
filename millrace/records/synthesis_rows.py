"""The rows of a synthesis dataset's exports."""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import UNSET, UnsetType

from millrace.records.record import Record
from millrace.records.synthesis import ItemStatus, VerifierArgs
from millrace.records.trajectories import Part


class FunctionCall(Part, frozen=True, kw_only=True):
    """A tool's name, and its arguments as JSON text."""

    name: str
    arguments: str


class MessageToolCall(Part, frozen=True, kw_only=True):
    """A call in a message, in the form of OpenAI-compatible servers."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class UserMessage(Part, frozen=True, kw_only=True, tag_field="role", tag="user"):
    """What is asked."""

    content: str


class AssistantMessage(Part, frozen=True, kw_only=True, tag_field="role", tag="assistant"):
    """What the model says or calls for."""

    content: str | None
    tool_calls: list[MessageToolCall] | UnsetType = UNSET


class ToolMessage(Part, frozen=True, kw_only=True, tag_field="role", tag="tool"):
    """What a tool answered."""

    tool_call_id: str
    content: str


class ChatRow(Record, frozen=True, kw_only=True):
    """A line of `dataset/chat.jsonl`."""

    SCHEMA: ClassVar[str] = "millrace.synthesis.chat_row/1"
    id: str
    messages: list[UserMessage | AssistantMessage | ToolMessage]
    status: ItemStatus | UnsetType = UNSET
    """How the answer was checked, where no program has proven it."""


class PreferenceRow(Record, frozen=True, kw_only=True):
    """A line of `dataset/preference.jsonl`."""

    SCHEMA: ClassVar[str] = "millrace.synthesis.preference_row/1"
    id: str
    prompt: str
    chosen: str
    rejected: str
    reason: str
    """Why the rejected call led nowhere."""
    status: ItemStatus | UnsetType = UNSET
    """How the answer was checked, where no program has proven it."""


class ReactRow(Record, frozen=True, kw_only=True):
    """A line of `dataset/react.jsonl`."""

    SCHEMA: ClassVar[str] = "millrace.synthesis.react_row/1"
    id: str
    text: str
    status: ItemStatus | UnsetType = UNSET
    """How the answer was checked, where no program has proven it."""


class RlRow(Record, frozen=True, kw_only=True):
    """A line of `dataset/rl.jsonl`."""

    SCHEMA: ClassVar[str] = "millrace.synthesis.rl_row/1"
    id: str
    prompt: str
    answer: str
    answer_type: str
    aliases: list[str]
    verifier: str | None
    verifier_args: VerifierArgs
    difficulty: int | None
    status: ItemStatus | UnsetType = UNSET
    """How the answer was checked, where no program has proven it."""
