"""One file in this folder is one kind of claim about digits: its subjects, its right answers, its distractors.

With its words (`wordings/NAME.yaml`) and its verifier (`verifiers/NAME.py`) of the same name that is all a kind needs: nothing
elsewhere lists them. A module here has what `Plugin` says.

This is the generator's view: boxes and fields that the drawing program wrote down, read by `geometry`. The verifiers have another
view, pixels and the handwriting's own labels, and share no code with this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from random import Random
from typing import Protocol, cast

from millrace.digits.geometry import Selector
from millrace.digits.scenes.scene import Scene
from millrace.plugins.loading import load_plugin, plugin_names
from millrace.probing.annotated import Selectors, Truth
from millrace.qa.annotated import Reading
from millrace.qa.writing.answer_vocabulary import NONE

PACKAGE = "millrace.digits.kinds"


class Plugin(Protocol):
    """One kind of claim."""

    __file__: str
    CLAIM: str
    """The `claim_id` that it decides."""
    PIPELINE: str
    """The question pipeline that its failures go to."""
    ASPECTS: Mapping[str, str]
    """The slots to be answered, and what the questions about each are about: the key of its wordings and its verifier."""
    SUBJECT: Mapping[str, Callable[[Selector], str]]
    """The prefilled slots, and how a selector is said in each."""

    def subjects(self, scene: Scene, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
        """Selectors by slot to be tried, in random order; those without a clear answer of the wanted kind are passed over."""
        ...

    def truth(self, scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
        """What is right."""
        ...

    def readings(self, scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
        """What can be asked, given a clear truth, best first: every right value and certainly wrong ones."""
        ...

    def read_answer(self, slot: str, text: str) -> str | None:
        """The value that a model's answer to the claim means, in the spelling of `truth`; None when it means none or two."""
        ...

    def read_value(self, aspect: str, text: str) -> str | None:
        """The value that words mean, in the spelling of `readings`; None when they mean none."""
        ...


@lru_cache(maxsize=1)
def claim_kinds() -> Mapping[str, Plugin]:
    """All kinds by `claim_id`."""
    found = [cast("Plugin", load_plugin(PACKAGE, name, "kind of claim")) for name in plugin_names(PACKAGE)]
    return {kind.CLAIM: kind for kind in found}


def truth_of(claim_id: str, scene: Scene, selectors: Mapping[str, Selector]) -> Truth | None:
    """What is right for a claim with these subjects; None for a claim that an annotation can't decide."""
    kind = claim_kinds().get(claim_id)
    return None if kind is None else kind.truth(scene, selectors)


def nothing(aspect: str, wrong: dict[str, str], family: str = "", *, presence: bool = False) -> Reading:
    """The reading of a subject that is not there; `presence`: it is a single digit, so its presence can be asked about."""
    return Reading(aspect, family or aspect, (NONE,), wrong, sole=False, presence=presence)
