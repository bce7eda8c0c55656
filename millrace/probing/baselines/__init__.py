"""The baseline is the model under test: the protocol. One file in this folder is one kind of baseline.

A plug-in is a module with a settings class `BaselineSettings` (its field `name` is the file's name) and a function
`open_baseline(settings, *, device)`; neither may import torch or a client library before it is opened. How to write one:
docs/extending/baseline.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from millrace.config import Settings
from millrace.plugins.contracts import completed, optional
from millrace.plugins.loading import load_plugin, name_in, plugin_settings

if TYPE_CHECKING:
    from PIL import Image

PACKAGE = "millrace.probing.baselines"


class ClaimPrompt(msgspec.Struct, frozen=True):
    """One claim as it is put to a baseline."""

    claim_id: str
    text: str
    """The sentence with its subject filled in; the open slots are still in brackets."""
    slots: dict[str, list[str]]
    """The open slots with their allowed values; an empty list means free text."""
    instructions: tuple[str, ...] = ()
    not_related_conditions: tuple[str, ...] = ()
    expected_outputs: tuple[str, ...] = ()
    subject: dict[str, str] = {}
    """The words of the prefilled slots."""


class Completion(msgspec.Struct, frozen=True):
    """A baseline's reply to one claim."""

    related: bool
    """False: the claim does not apply to the image."""
    values: dict[str, str]
    """By slot; empty when not related or when the reply could not be read."""
    text: str
    """The completed sentence."""
    explanation: str = ""
    raw: str | None = None
    """The reply as it came, where there is one."""
    confidence: float | None = None
    """The model's own probability of what it said, 0 to 1; None where it gives none."""


class Question(msgspec.Struct, frozen=True):
    """One finished question."""

    text: str
    options: dict[str, str]
    """By key (`A`, `B` …); empty for a free answer."""
    kind: Literal["multiple_choice", "fill_in_blank", "yes_no"]


class Baseline(Protocol):
    """A model under test. The same image and prompts always get the same replies from the same fingerprint."""

    name: str
    fingerprint: str
    """Changes with anything that may change a reply: weights, code, settings."""
    concurrency: int = 1
    """Images that are worth probing at the same time; more than 1: it is called by several threads at once."""

    def complete(self, image: Image.Image, prompts: Sequence[ClaimPrompt]) -> list[Completion | Exception]:
        """One reply per prompt, in order. A prompt that broke gives its exception; the others are not lost by it."""
        ...

    def answer(self, image: Image.Image, questions: Sequence[Question]) -> list[str]:
        """Per question the key of the chosen option, or the words of a free answer."""
        ...

    @optional
    def ask_ahead(self, asked: Iterable[tuple[Image.Image, Sequence[ClaimPrompt | Question]]], watch: Callable[[], None]) -> None:
        """Have the answers ready before `complete` or `answer` is called for them; for models that answer many at once.

        Args:
            asked: images with what they will be asked about.
            watch: to be called about once a second while it is waited for answers.
        """
        del asked, watch


class Plugin(Protocol):
    """What a module in this folder has."""

    BaselineSettings: type[Settings]

    def open_baseline(self, settings: Any, *, device: str) -> Baseline:
        """The model that its settings describe, loaded onto `device` (`cpu`, `cuda:0`)."""
        ...

    @optional
    def preparation(self, settings: Any) -> list[str] | None:
        """The command of a program to run before ranks can open the model; None when all is there (see `preparation`)."""
        del settings
        return None


def baseline_settings(data: Mapping[str, Any]) -> Settings:
    """The settings in `data`, checked by the plug-in that `data["name"]` names (`embedded` when it names none).

    Raises:
        UsageError: there is no such baseline, or a key or value it does not know.
    """
    return plugin_settings(PACKAGE, data, "baseline", "embedded")


def open_baseline(settings: Settings, *, device: str = "cpu") -> Baseline:
    """The model that `settings` (of some plug-in) describes, loaded onto `device`."""
    name = name_in(settings)
    opened: Baseline = load_plugin(PACKAGE, name, "baseline").open_baseline(settings, device=device)
    return completed(opened, Baseline, f"the baseline '{name}'")  # type: ignore[no-any-return]
