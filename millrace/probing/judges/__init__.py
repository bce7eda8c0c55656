"""A judge decides what happened to a claim: the protocol. One file in this folder is one judge.

A plug-in is a module with a settings class `JudgeSettings` (its field `name` is the file's name) and a function
`open_judge(settings)`. How to write one: docs/extending/judge.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol

import msgspec

from millrace.config import Settings
from millrace.errors import ItemFailed
from millrace.plugins.contracts import completed, optional
from millrace.plugins.loading import load_plugin, name_in, plugin_settings
from millrace.probing.annotated import Subject
from millrace.probing.baselines import Completion
from millrace.probing.claims import Claim

PACKAGE = "millrace.probing.judges"


class Verdict(msgspec.Struct, frozen=True):
    """What a judge decides about one completion."""

    outcome: str
    """One of `outcomes.Outcome`."""
    kind: Literal["verified", "judged", "unverified"]
    """verified: computed from what is known to be true; judged: a model's opinion; unverified: neither."""
    correct: dict[str, str] = {}
    """The right value by slot; empty when the claim does not apply or nothing is known."""
    accepted: dict[str, list[str]] = {}
    """By slot every value that counts as right; for a percentage its lowest and highest, as `["3.2%", "5.4%"]`."""
    explanation: str = ""
    by: str = ""
    """Who decided."""
    votes: dict[str, str] = {}
    """Judge → the outcome it voted for, where several were asked."""
    missing: dict[str, str] = {}
    """Judge → why it gave no vote, for those that did not."""


class Judge(Protocol):
    """Decides one completion. May raise: that is an `infra_error`, never the model's failure."""

    name: str
    concurrency: int = 1
    """Claims that are worth judging at the same time; more than 1: it is called by several threads at once."""

    def judge(self, claim: Claim, subject: Subject, completion: Completion, row: Any) -> Verdict:
        """The verdict on `completion`; `row` is the image's `millrace.lake.rows.LakeRow`, with its annotation if it has one."""
        ...

    @optional
    def choose_subject(self, claim: Claim, row: Any) -> Subject | None:
        """What the claim is asked about on a picture without an annotation; None when the picture offers nothing for it.

        Raises:
            ItemFailed: nothing is chosen: by default none is, and such a picture is dropped with the reason "no_annotation".
        """
        del claim, row
        raise ItemFailed("no_annotation")

    @optional
    def choose_ahead(self, asked: Iterable[tuple[Claim, Any]], watch: Callable[[], None]) -> None:
        """Have the answers ready before `choose_subject` is called for them; for judges that answer many at once."""
        del asked, watch

    @optional
    def judge_ahead(
        self, asked: Callable[[], Iterable[tuple[Claim, Subject, Completion, Any]]], watch: Callable[[], None]
    ) -> None:
        """Have the verdicts ready before `judge` is called for them.

        Args:
            asked: gives what will be judged, each time from the beginning; may be called by several threads.
            watch: to be called about once a second while it is waited for answers.
        """
        del asked, watch


class Plugin(Protocol):
    """What a module in this folder has."""

    JudgeSettings: type[Settings]

    def open_judge(self, settings: Any) -> Judge:
        """The judge that its settings describe."""
        ...

    @optional
    def judges_annotated(self, settings: Any) -> bool:
        """Whether its chat models are asked about pictures whose annotation decides the claim too; for the estimate of calls."""
        del settings
        return True


def judge_settings(data: Mapping[str, Any]) -> Settings:
    """The settings in `data`, checked by the plug-in that `data["name"]` names (`annotation` when it names none).

    Raises:
        UsageError: there is no such judge, or a key or value it does not know.
    """
    return plugin_settings(PACKAGE, data, "judge", "annotation")


def open_judge(settings: Settings) -> Judge:
    """The judge that `settings` (of some plug-in) describes."""
    name = name_in(settings)
    opened: Judge = load_plugin(PACKAGE, name, "judge").open_judge(settings)
    return completed(opened, Judge, f"the judge '{name}'")  # type: ignore[no-any-return]


def judges_annotated(settings: Settings) -> bool:
    """Whether chat models of the judge are asked about annotated pictures too."""
    return bool(load_plugin(PACKAGE, name_in(settings), "judge").judges_annotated(settings))
