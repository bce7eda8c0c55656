"""What a claim is asked about on one image: subjects chosen from the annotation so that the answer is never a coin toss.

A fixed share is unanswerable on purpose (a digit that isn't there, a feature that nothing has, a picture without digits): a
model that always answers shows up only there. The choice depends on the run's seed, the image and the claim, and on nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from itertools import permutations
from typing import Any

from millrace.digits.scenes.scene import COLOURS, Scene, SceneDigit
from millrace.digits.truth import ORIENTABLE, Selector, truth_of
from millrace.probing.annotated import UNANSWERABLE_SHARE, Selectors, Subject, Truth
from millrace.probing.claims import Claim
from millrace.run.ids import random_for


def choose_subject(
    claim: Claim, scene: Scene, *, seed: int, image_id: str, unanswerable_share: float = UNANSWERABLE_SHARE
) -> Subject | None:
    """The subject of `claim` on this image; None when the image offers none that has a clear answer.

    An unanswerable subject is looked for with chance `unanswerable_share`; where there is none, an answerable one is taken. A
    picture without digits is asked only what can't be answered, with the same chance; its main thing is always asked for.
    """
    rng = random_for(seed, image_id, claim.claim_id, "subject")
    chooser = _CHOOSERS.get(claim.claim_id)
    if chooser is None or any(slot not in WORDS for slot in claim.prefill_slots):
        return None
    wants_absent = rng.random() < unanswerable_share or claim.claim_id == "entity_basic_grounding"
    if wants_absent:
        found = _first(claim, scene, _absent(claim.claim_id, scene, rng), answerable=False)
        if found is not None:
            return found
    return _first(claim, scene, chooser(scene, rng), answerable=True)


def object_words(selector: Selector) -> str:
    """`the red 7` for one digit."""
    return f"the {_kind_words(selector, 'digit')}"


def category_words(selector: Selector) -> str:
    """`red digits`, `7s` for a kind of digits."""
    return f"{_kind_words(selector, 'digit')}s"


def feature_words(selector: Selector) -> str:
    """`the largest one`, `the 4`, `the red one` for one digit among its like."""
    if "extreme" in selector:
        return f"the {selector['extreme']} one"
    if "turn" in selector:
        return "the upside-down one"
    return f"the {_kind_words(selector, 'one')}"


def _kind_words(selector: Selector, noun: str) -> str:
    return " ".join([*([selector["colour"]] if "colour" in selector else []), str(selector.get("label", noun))])


WORDS: Mapping[str, Callable[[Selector], str]] = {
    "TARGET_OBJECT": object_words,
    "OBJECT_A": object_words,
    "OBJECT_B": object_words,
    "OBJECT": object_words,
    "OBJECT_CATEGORY": category_words,
    "OBJECT_TYPE": category_words,
    "DISTINCTIVE_FEATURE": feature_words,
}
"""How the selector of a slot is said."""


def _first(claim: Claim, scene: Scene, candidates: Iterator[Selectors], *, answerable: bool) -> Subject | None:
    """The first candidate with a clear answer of the wanted kind."""
    for selectors in candidates:
        truth = truth_of(claim.claim_id, scene, selectors)
        assert truth is not None, "every chooser has a rule"
        if set(selectors) != set(claim.prefill_slots):
            return None  # a claim of the same name that asks for something else
        if truth.clear and truth.answerable == answerable and _worth_asking(claim.claim_id, truth):
            return Subject({slot: WORDS[slot](selector) for slot, selector in selectors.items()}, selectors, answerable)
    return None


def _worth_asking(claim_id: str, truth: Truth) -> bool:
    """Where two answers in four are right, the right one says little: taken only from claims that are always so."""
    return claim_id != "absence_negative_reasoning" or len(truth.accepted.get("REGION_DESCRIPTION", ())) < 4


def _shuffled(rng: random.Random, items: list[Selectors]) -> Iterator[Selectors]:
    rng.shuffle(items)
    return iter(items)


def _references(digit: SceneDigit) -> list[dict[str, Any]]:
    """The three ways to mean a digit."""
    return [{"label": digit.label}, {"colour": digit.colour}, {"label": digit.label, "colour": digit.colour}]


def _one_object(slot: str) -> Callable[[Scene, random.Random], Iterator[Selectors]]:
    def choose(scene: Scene, rng: random.Random) -> Iterator[Selectors]:
        return _shuffled(rng, [{slot: way} for digit in scene.digits for way in _references(digit)])

    return choose


def _one_turned(scene: Scene, rng: random.Random) -> Iterator[Selectors]:
    digits = [digit for digit in scene.digits if digit.label in ORIENTABLE]
    rng.shuffle(digits)
    digits.sort(key=lambda digit: digit.turn == 0)  # turned ones first: of an upright digit there is little to ask
    return iter([{"OBJECT": way} for digit in digits for way in rng.sample(_references(digit), 3)])


def _two_objects(scene: Scene, rng: random.Random) -> Iterator[Selectors]:
    pairs: list[Selectors] = [
        {"OBJECT_A": way, "OBJECT_B": other_way}
        for first, second in permutations(scene.digits, 2)
        for way, other_way in zip(_references(first), _references(second), strict=True)
    ]
    rng.shuffle(pairs)
    # Overlapping pairs are rare and the only ones that ask for depth: they come first.
    pairs.sort(key=lambda pair: _is_about_depth(scene, pair), reverse=True)
    return iter(pairs)


def _is_about_depth(scene: Scene, pair: Selectors) -> bool:
    truth = truth_of("spatial_relative_position", scene, pair)
    return truth is not None and truth.correct.get("RELATIVE_DIRECTION") in {"in front of", "behind"}


def _kinds(scene: Scene, rng: random.Random) -> Iterator[Selectors]:
    kinds: list[dict[str, Any]] = [{"colour": digit.colour} for digit in scene.digits]
    kinds += [{"label": digit.label} for digit in scene.digits]
    kinds += [{}] * len(scene.digits)
    return _shuffled(rng, [{"OBJECT_TYPE": kind} for kind in kinds])  # by digit, not by kind: larger numbers come up more often


def _one_of_many(scene: Scene, rng: random.Random) -> Iterator[Selectors]:
    return _shuffled(
        rng,
        [
            {"OBJECT_CATEGORY": kind, "DISTINCTIVE_FEATURE": feature}
            for kind in _repeated_kinds(scene)
            for feature in _features(scene, kind)
        ],
    )


def _repeated_kinds(scene: Scene) -> list[dict[str, Any]]:
    """Kinds of which there are two or more."""
    colours = [digit.colour for digit in scene.digits]
    labels = [digit.label for digit in scene.digits]
    return [
        *([{}] if len(scene.digits) > 1 else []),
        *({"colour": colour} for colour in sorted(set(colours)) if colours.count(colour) > 1),
        *({"label": label} for label in sorted(set(labels)) if labels.count(label) > 1),
    ]


def _features(scene: Scene, kind: Selector) -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = [{"extreme": "largest"}, {"extreme": "smallest"}]
    if any(digit.turn == 2 for digit in scene.digits):
        features.append({"turn": 2})
    if "label" not in kind:
        features += [{"label": label} for label in sorted({digit.label for digit in scene.digits})]
    if "colour" not in kind:
        features += [{"colour": colour} for colour in sorted({digit.colour for digit in scene.digits})]
    return features


def _absent(claim_id: str, scene: Scene, rng: random.Random) -> Iterator[Selectors]:
    """Subjects that the scene does not offer, in several ways, shuffled over the ways first."""
    if claim_id == "entity_basic_grounding":
        return iter([{}])
    if claim_id == "absence_negative_reasoning":
        return _kinds(scene, rng)  # a kind that is in every quarter
    labels = ORIENTABLE if claim_id == "orientation_facing_direction" else tuple(range(10))
    there = {(digit.label, digit.colour) for digit in scene.digits}
    absent: list[list[dict[str, Any]]] = [
        [{"label": label} for label in labels],
        [] if claim_id == "orientation_facing_direction" else [{"colour": colour} for colour in COLOURS],
        [{"label": label, "colour": colour} for label in labels for colour in COLOURS],
        # Both parts are there, but not in one digit: the hardest to see through.
        [{"label": label, "colour": colour} for label, _ in sorted(there) for _, colour in sorted(there) if label in labels],
    ]
    ways: list[dict[str, Any]] = [rng.choice(way) for _ in range(8) for way in rng.sample(absent, len(absent)) if way]
    return iter([selectors for way in ways for selectors in _with_absent(claim_id, scene, way, rng)])


def _with_absent(claim_id: str, scene: Scene, absent: dict[str, Any], rng: random.Random) -> list[Selectors]:
    """The claim's slots with the absent thing in one of them."""
    if claim_id == "spatial_relative_position":
        present = [way for digit in scene.digits for way in _references(digit)]
        other: dict[str, Any] = rng.choice(present) if present else {"label": (absent.get("label", 0) + 1) % 10}
        pair = [absent, other]
        rng.shuffle(pair)
        return [{"OBJECT_A": pair[0], "OBJECT_B": pair[1]}]
    if claim_id == "intra_class_single_instance_localization":
        single_key = {key: value for key, value in absent.items() if len(absent) == 1 or key == "label"}
        kinds = [kind for kind in _repeated_kinds(scene) if not kind.keys() & single_key.keys()]
        if not kinds:
            return [{"OBJECT_CATEGORY": single_key, "DISTINCTIVE_FEATURE": {"extreme": "largest"}}]
        return [{"OBJECT_CATEGORY": rng.choice(kinds), "DISTINCTIVE_FEATURE": single_key}]
    if claim_id == "counting_object_instances":
        return [{"OBJECT_TYPE": absent}]
    slot = "OBJECT" if claim_id == "orientation_facing_direction" else "TARGET_OBJECT"
    return [{slot: absent}]


_CHOOSERS: Mapping[str, Callable[[Scene, random.Random], Iterator[Selectors]]] = {
    "entity_basic_grounding": lambda scene, rng: _shuffled(rng, [{}]),
    "spatial_absolute_position": _one_object("TARGET_OBJECT"),
    "spatial_relative_position": _two_objects,
    "intra_class_single_instance_localization": _one_of_many,
    "scale_proportion_estimation": _one_object("TARGET_OBJECT"),
    "counting_object_instances": _kinds,
    "absence_negative_reasoning": _kinds,
    "orientation_facing_direction": _one_turned,
}
"""Candidates with an answer, by claim, in random order."""
