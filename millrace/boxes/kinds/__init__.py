"""One file in this folder is one kind of claim about boxes: its subjects, its right answers, its distractors.

With its words (`wordings/NAME.yaml`) and its verifier (`verifiers/NAME.py`) of the same name that is all a kind needs: nothing
elsewhere lists them. A module here has what `Plugin` says. How to write one: docs/extending/claim-kind.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from random import Random
from typing import Any, Protocol, cast

from millrace.boxes.annotation import Picture
from millrace.boxes.geometry import Selector
from millrace.plugins.loading import load_plugin, plugin_names
from millrace.probing.annotated import Truth
from millrace.qa.annotated import Reading

PACKAGE = "millrace.boxes.kinds"

Selectors = Mapping[str, Selector]


class Plugin(Protocol):
    """One kind of claim."""

    CLAIM: str
    """The `claim_id` that it decides."""
    PIPELINE: str
    """The question pipeline that its failures go to."""
    SLOT: str
    """The slot to be answered."""
    ASPECT: str
    """What the answers are about: the key of its wordings and its verifier."""
    SUBJECT: Mapping[str, Callable[[Selector], str]]
    """The prefilled slots, and how a selector is said in each."""

    def subjects(self, picture: Picture, rng: Random, *, answerable: bool) -> Iterator[dict[str, Any]]:
        """Selectors by slot to be tried, in random order; those without a clear answer of the wanted kind are passed over."""
        ...

    def truth(self, picture: Picture, selectors: Selectors) -> Truth:
        """What is right."""
        ...

    def readings(self, picture: Picture, selectors: Selectors, truth: Truth, rng: Random) -> list[Reading]:
        """What can be asked, given a clear truth: every right value and certainly wrong ones."""
        ...

    def read_value(self, text: str) -> str | None:
        """The value that words mean, in the spelling of `truth`; None when they mean none."""
        ...


@lru_cache(maxsize=1)
def claim_kinds() -> Mapping[str, Plugin]:
    """All kinds by `claim_id`."""
    found = [cast("Plugin", load_plugin(PACKAGE, name, "kind of claim")) for name in plugin_names(PACKAGE)]
    return {kind.CLAIM: kind for kind in found}


def nothing(aspect: str, wrong: Mapping[str, str], family: str = "", *, presence: bool = False) -> Reading:
    """The reading of a subject that is not there; `presence`: it is a single thing, so its presence can be asked about."""
    return Reading(aspect, family or aspect, ("none",), dict(wrong), sole=False, presence=presence)
