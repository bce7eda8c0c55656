"""A judge decides what happened to a claim: the protocol. One file in this folder is one judge.

A plug-in is a module with a settings class `JudgeSettings` (its field `name` is the file's name) and a function
`open_judge(settings)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

from millrace.config import Settings
from millrace.plugins.loading import load_plugin, plugin_settings
from millrace.probing.annotated import Subject
from millrace.probing.baselines import Completion
from millrace.probing.claims import Claim

PACKAGE = "millrace.probing.judges"


class Verdict(msgspec.Struct, frozen=True):
    """What a judge says about one completion."""

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

    def judge(self, claim: Claim, subject: Subject, completion: Completion, row: Any) -> Verdict:
        """The verdict on `completion`; `row` is the image's `millrace.lake.images.LakeRow`, with its annotation if it has one."""
        ...


def judge_settings(data: Mapping[str, Any]) -> Settings:
    """The settings in `data`, checked by the plug-in that `data["name"]` names (`annotation` when it names none).

    Raises:
        UsageError: there is no such judge, or a key or value it does not know.
    """
    return plugin_settings(PACKAGE, data, "judge", "annotation")


def open_judge(settings: Settings) -> Judge:
    """The judge that `settings` (of some plug-in) describes."""
    module = load_plugin(PACKAGE, str(getattr(settings, "name", "")), "judge")
    opened: Judge = module.open_judge(settings)
    return opened
