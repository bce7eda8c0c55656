"""Lessons for the embedded baseline: narrow scenes, what is asked about them in many wordings, and the right answers.

The same chooser and the same truth as in probing make them. Narrow are the scenes (`recipes.NARROW`), and that is where the
model's weaknesses come from: nothing here knows what will go wrong.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from millrace.digits.baseline.inputs import open_text, shrink
from millrace.digits.claim_vocabulary import ANSWERS, NUMERALS, SLOT_KINDS, answer_index, question_words
from millrace.digits.geometry import Selector, typed
from millrace.digits.kinds import claim_kinds, truth_of
from millrace.digits.references import object_words
from millrace.digits.scenes.compose import draw_scene
from millrace.digits.scenes.recipes import NARROW, SceneRecipe
from millrace.digits.scenes.scene import COLOURS, Scene
from millrace.digits.subjects import choose_subject
from millrace.probing.annotated import Subject
from millrace.probing.claims import Claim, fill
from millrace.run.ids import random_for

TEMPLATE_SHARE = 0.3
"""Share of lessons in the claim's own words; the others are paraphrases and questions."""

VARIED_SHARE = 0.3
"""Share of subjects said in other than the usual words."""

PREFACE_SHARE = 0.15
"""Share of lessons with something in front that means nothing."""

PREFACES = ("Look at the picture.", "In this picture:", "Look closely and say:", "Which answer is right?", "Is it true:")

PRESENCE = (
    "Is there {a} in the picture?",
    "Does the picture show {a}?",
    "Can you see {a}?",
    "Does {a} occur in the picture?",
    "Is {a} among the digits of the picture?",
)
"""Asked beside the claims, for whoever only wants to know whether something is there."""

ABSTAIN = len(ANSWERS) - 1


class Lesson(msgspec.Struct, frozen=True):
    """One thing asked about one scene."""

    claim_id: str
    words: tuple[str, ...]
    """What is asked, as `question_words` reads it."""
    accepted: tuple[int, ...]
    """Places in `ANSWERS` of every right answer."""


class Study(NamedTuple):
    """A scene to learn from."""

    pixels: NDArray[np.uint8]
    """(side, side, 3)."""
    scene: Scene
    lessons: tuple[Lesson, ...]


def learnable(claims: Sequence[Claim]) -> list[Claim]:
    """The claims that lessons can be made of: an annotation decides them, and their answers are in the vocabulary."""
    kinds = claim_kinds()
    return [claim for claim in claims if claim.claim_id in kinds and all(slot in SLOT_KINDS for slot in claim.answer_slots)]


def studies(
    claims: Sequence[Claim],
    indices: Sequence[int],
    *,
    seed: int,
    side: int,
    per_claim: int,
    absent_share: float,
    recipe: SceneRecipe = NARROW,
    pool: str = "train",
) -> Iterator[Study]:
    """Scenes number `indices` with `per_claim` lessons for each claim and slot; the same for the same arguments, in any split."""
    for index in indices:
        name = f"scene {index}"
        drawn = draw_scene(random_for(seed, name, "picture"), pool=pool, recipe=recipe)
        rng = random_for(seed, name, "words")
        lessons = [
            lesson
            for turn in range(per_claim)
            for claim in claims
            for lesson in lessons_on(claim, drawn.scene, rng, seed=seed, name=f"{name} {turn}", absent_share=absent_share)
        ]
        lessons.append(_presence_lesson(drawn.scene, rng))
        yield Study(np.asarray(shrink(Image.fromarray(drawn.rgb), side)), drawn.scene, tuple(lessons))


def lessons_on(claim: Claim, scene: Scene, rng: random.Random, *, seed: int, name: str, absent_share: float) -> Iterator[Lesson]:
    """What `claim` asks about the scene, once per slot; nothing when the scene offers no subject."""
    subject = choose_subject(claim, scene, seed=seed, image_id=name, unanswerable_share=absent_share)
    if subject is None:
        return
    for slot in claim.answer_slots:
        said = {name: say(subject.values[name], name, selector, rng) for name, selector in typed(subject.selectors).items()}
        text = _prefaced(ask(claim, slot, said, rng), rng)
        yield Lesson(claim.claim_id, tuple(question_words(text)), right_answers(claim, scene, subject, slot))


def right_answers(claim: Claim, scene: Scene, subject: Subject, slot: str) -> tuple[int, ...]:
    """Places in `ANSWERS` of what is right for one slot."""
    if not subject.answerable:
        return (ABSTAIN,)
    truth = truth_of(claim.claim_id, scene, typed(subject.selectors))
    assert truth is not None, "the chooser asked it"
    places = [answer_index(SLOT_KINDS[slot], value) for value in truth.accepted[slot]]
    return tuple(place for place in places if place is not None)


def ask(claim: Claim, slot: str, said: dict[str, str], rng: random.Random) -> str:
    """The claim in its own words or in others, with a gap where `slot` is asked for."""
    paraphrases = claim.paraphrases.get(slot, ())
    own = not paraphrases or rng.random() < TEMPLATE_SHARE
    return open_text(fill(claim.claim_template if own else rng.choice(paraphrases), said), claim.answer_slots, slot)


def say(usual: str, slot: str, selector: Selector, rng: random.Random) -> str:
    """The subject in words: mostly the `usual` ones, sometimes others that a person would use."""
    if rng.random() >= VARIED_SHARE:
        return usual
    if slot == "DISTINCTIVE_FEATURE":
        return rng.choice(_other_feature(selector))
    if slot in {"OBJECT_CATEGORY", "OBJECT_TYPE"}:
        return rng.choice(_other_category(selector))
    return rng.choice(_other_object(selector)) if selector.keys() & {"label", "colour"} else usual


def _other_object(selector: Selector) -> list[str]:
    colour, label = selector.get("colour"), selector.get("label")
    if label is None:
        return [f"the digit in {colour}", f"the {colour} one", f"the digit that is {colour}", f"the digit written in {colour}"]
    name = f"{colour} " if colour else ""
    return [f"the {name}digit {label}", f"the {name}number {label}", f"the {name}{NUMERALS[label]}", f"the {label} {_in(colour)}"]


def _other_category(selector: Selector) -> list[str]:
    colour, label = selector.get("colour"), selector.get("label")
    if label is None:
        return [f"digits {_in(colour)}", f"{colour or ''} numbers", f"{colour or ''} numerals"]
    return [f"digits {label} {_in(colour)}", f"{colour or ''} {NUMERALS[label]}s", f"{colour or ''} digits that are a {label}"]


def _other_feature(selector: Selector) -> list[str]:
    if "extreme" in selector:
        return [f"the {selector['extreme']}", f"the {selector['extreme']} of them", f"the one that is {selector['extreme']}"]
    if "turn" in selector:
        return ["the one that is upside down", "the upside-down digit"]
    return _other_object(selector)


def _in(colour: Any) -> str:
    return f"in {colour}" if colour else ""


def _prefaced(text: str, rng: random.Random) -> str:
    return f"{rng.choice(PREFACES)} {text}" if rng.random() < PREFACE_SHARE else text


def _presence_lesson(scene: Scene, rng: random.Random) -> Lesson:
    """Is there such a digit? Half of the time there is."""
    selector: Selector = {"label": rng.randrange(10), "colour": rng.choice(list(COLOURS))}
    if scene.digits and rng.random() < 0.6:
        there = rng.choice(scene.digits)
        selector = {"label": there.label, "colour": there.colour}
    chosen: list[Selector] = [{"label": selector["label"]}, {"colour": selector["colour"]}, selector]
    selector = rng.choice(chosen)
    is_there = any(all(getattr(digit, key) == value for key, value in selector.items()) for digit in scene.digits)
    said = say(object_words(selector), "OBJECT", selector, rng).replace("the ", "a ", 1)
    text = _prefaced(rng.choice(PRESENCE).replace("{a}", said), rng)
    yes = answer_index("presence", "yes")
    assert yes is not None
    return Lesson("presence", tuple(question_words(text)), (yes if is_there else ABSTAIN,))
