"""A writer turns a failure into a question with its answer: the protocol. One file in this folder is one writer.

A plug-in is a module with a settings class `WriterSettings` (its field `name` is the file's name) and a function
`open_writer(settings, *, qa, plan)`. A writer may compute its answers (as `template` does) or ask a model for them; it says on
what its answer rests, and the checks that follow are the same for all. How to write one: docs/extending/writer.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from millrace.config import Settings
from millrace.errors import ItemFailed
from millrace.plugins.contracts import completed, optional
from millrace.plugins.loading import load_plugin, name_in, plugin_settings
from millrace.qa.settings import QaSettings
from millrace.qa.writing.case import Case
from millrace.qa.writing.option_balance import Plan

PACKAGE = "millrace.qa.writers"


class Request(msgspec.Struct, frozen=True):
    """One question wanted."""

    case: Case
    variant: int = 0
    """0 for the first question about a failure, 1 for the second …: each of another form or aspect."""
    attempt: int = 0
    """0 at first; 1, 2 … after a draft that a check refused."""
    refused: str = ""
    """Why the last draft was refused."""


class Option(msgspec.Struct, frozen=True):
    """One possible answer."""

    text: str
    value: str
    """The same without a language; what the verifier does *not* look at."""
    kind: str
    """`right`, or what sort of distractor it is."""


class Draft(msgspec.Struct, frozen=True):
    """A question and its answer, before any check."""

    question_type: Literal["multiple_choice", "fill_in_blank", "yes_no"]
    question: str
    right: Option
    wrong: tuple[Option, ...] = ()
    """Three for multiple choice, one for yes/no, none for a gap."""
    accepted: tuple[str, ...] = ()
    """For a gap: other spellings that count."""
    explanation: str = ""
    aspect: str = ""
    """What is asked about the subject; empty where only a model can tell."""
    family: str = ""
    form: str = ""
    """`presence` where it is asked whether the subject is there; else empty."""
    statement: str | None = None
    """The value that a yes/no question states."""
    template: str = ""
    """Which wording, or which prompt, it was made with."""
    evidence: Literal["annotation", "model"] = "annotation"
    """On what the answer rests: computed from an annotation, or a model's word."""
    model: str | None = None
    """The model behind a "model" answer."""


class Writer(Protocol):
    """Writes drafts. The same requests give the same drafts from the same fingerprint."""

    name: str
    fingerprint: str

    def write(self, requests: Sequence[Request]) -> list[Draft | ItemFailed]:
        """One draft per request, in order, or why there can't be one."""
        ...


class Plugin(Protocol):
    """What a module in this folder has."""

    WriterSettings: type[Settings]

    def open_writer(self, settings: Any, *, qa: QaSettings, plan: Plan) -> Writer:
        """The writer that its settings describe; `plan` balances options and forms over the whole run."""
        ...

    @optional
    def blind_tries(self, settings: Any) -> int:
        """How often a chat model is asked each question without its picture; for the estimate of calls."""
        del settings
        return 0


def writer_settings(data: Mapping[str, Any]) -> Settings:
    """The settings in `data`, checked by the plug-in that `data["name"]` names (`template` when it names none).

    Raises:
        UsageError: there is no such writer, or a key or value it does not know.
    """
    return plugin_settings(PACKAGE, data, "writer", "template")


def open_writer(qa: QaSettings, plan: Plan) -> Writer:
    """The writer that `qa.writer` describes."""
    settings = writer_settings(qa.writer)
    name = name_in(settings)
    opened: Writer = load_plugin(PACKAGE, name, "writer").open_writer(settings, qa=qa, plan=plan)
    return completed(opened, Writer, f"the writer '{name}'")  # type: ignore[no-any-return]


def blind_tries(settings: Settings) -> int:
    """How often the writer has a chat model asked each question without its picture."""
    return int(load_plugin(PACKAGE, name_in(settings), "writer").blind_tries(settings))
