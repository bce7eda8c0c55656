"""Where one of several digits of a kind is among its like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random

from millrace.digits.claim_vocabulary import read_value as read_kind
from millrace.digits.geometry import (
    EXTREME_MARGIN,
    LARGER,
    ORIENTABLE,
    READABLE,
    Selector,
    Selectors,
    centre_of,
    could_be,
    long_side,
    matches,
    members,
)
from millrace.digits.kinds import nothing
from millrace.digits.references import absent, category_words, feature_words, shuffled
from millrace.digits.scenes.scene import Scene, SceneDigit
from millrace.lake.places import PLACES
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth
from millrace.qa.annotated import Reading
from millrace.qa.writing.answer_vocabulary import NONE, read_value

__all__ = ["ASPECTS", "CLAIM", "PIPELINE", "SUBJECT", "read_answer", "read_value", "readings", "subjects", "truth"]

CLAIM = "intra_class_single_instance_localization"
PIPELINE = "object_intra_class_instance_positioning"
ASPECTS = {"RELATIVE_POSITION": "place"}
SUBJECT = {"OBJECT_CATEGORY": category_words, "DISTINCTIVE_FEATURE": feature_words}

CERTAINLY_OTHER = 0.03
"""A digit that lies further in than another by this share of the picture's side certainly does not lie furthest out."""
COMPARED = 0.7
"""Share of its ink that every digit must show among which one is to be found."""


def subjects(scene: Scene, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """A kind of which there are two or more, with a feature; or with a feature that none of them has."""
    if not answerable:
        return iter([_with_absent(scene, rng, way) for way in absent(scene, rng)])
    kinds = _repeated_kinds(scene)
    pairs: list[Selectors] = [
        {"OBJECT_CATEGORY": kind, "DISTINCTIVE_FEATURE": feature} for kind in kinds for feature in _features(scene, kind)
    ]
    return shuffled(rng, pairs)


def _with_absent(scene: Scene, rng: Random, way: Selector) -> Selectors:
    feature: Selector = {"label": way["label"]} if "label" in way else way
    kinds = [kind for kind in _repeated_kinds(scene) if not kind.keys() & feature.keys()]
    if not kinds:
        return {"OBJECT_CATEGORY": feature, "DISTINCTIVE_FEATURE": {"extreme": "largest"}}
    return {"OBJECT_CATEGORY": rng.choice(kinds), "DISTINCTIVE_FEATURE": feature}


def _repeated_kinds(scene: Scene) -> list[Selector]:
    """Kinds of which there are two or more."""
    colours = [digit.colour for digit in scene.digits]
    labels = [digit.label for digit in scene.digits]
    kinds: list[Selector] = [{}] if len(scene.digits) > 1 else []
    kinds += [{"colour": colour} for colour in sorted(set(colours)) if colours.count(colour) > 1]
    kinds += [{"label": label} for label in sorted(set(labels)) if labels.count(label) > 1]
    return kinds


def _features(scene: Scene, kind: Selector) -> list[Selector]:
    features: list[Selector] = [{"extreme": "largest"}, {"extreme": "smallest"}]
    if any(digit.turn == 2 for digit in scene.digits):
        features.append({"turn": 2})
    if "label" not in kind:
        features += [{"label": label} for label in sorted({digit.label for digit in scene.digits})]
    if "colour" not in kind:
        features += [{"colour": colour} for colour in sorted({digit.colour for digit in scene.digits})]
    return features


def truth(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    """The side on which it lies furthest out, where it leads visibly."""
    alike = members(scene, selectors["OBJECT_CATEGORY"])
    if alike is None:
        return UNCLEAR
    if len(alike) < 2:
        return NOT_ANSWERABLE
    chosen = _distinct(alike, selectors["DISTINCTIVE_FEATURE"])
    if isinstance(chosen, Truth):
        return chosen
    lead = _leads(chosen, alike, scene)
    best = max(lead, key=lambda name: lead[name])
    if lead[best] < EXTREME_MARGIN:
        return UNCLEAR
    accepted = tuple(sorted((name for name, ahead in lead.items() if ahead > 0), key=lambda name: -lead[name]))
    return Truth(True, True, {"RELATIVE_POSITION": best}, {"RELATIVE_POSITION": accepted})


def _distinct(alike: Sequence[SceneDigit], feature: Selector) -> SceneDigit | Truth:
    """The one of `alike` that has the feature."""
    if "extreme" in feature:
        ranked = sorted(alike, key=long_side, reverse=feature["extreme"] == "largest")
        small, large = sorted((long_side(ranked[0]), long_side(ranked[1])))
        return ranked[0] if large >= LARGER * small and ranked[0].visible >= READABLE else UNCLEAR
    if "turn" in feature:
        turned = [digit for digit in alike if digit.turn != 0]
        found = [digit for digit in turned if digit.turn == feature["turn"] and digit.label in ORIENTABLE]
        if not turned:
            return NOT_ANSWERABLE
        return found[0] if len(found) == len(turned) == 1 and found[0].visible >= READABLE else UNCLEAR
    if any(could_be(digit, feature) for digit in alike):
        return UNCLEAR
    found = [digit for digit in alike if matches(digit, feature)]
    if not found:
        return NOT_ANSWERABLE
    return found[0] if len(found) == 1 else UNCLEAR


def _leads(chosen: SceneDigit, alike: Sequence[SceneDigit], scene: Scene) -> dict[str, float]:
    """By place (leftmost …): how far the chosen one lies further out than all others, in shares of the picture's side."""
    x, y = centre_of(chosen, scene)
    others = [centre_of(digit, scene) for digit in alike if digit.id != chosen.id]
    return {
        "leftmost": min(other[0] for other in others) - x,
        "rightmost": x - max(other[0] for other in others),
        "topmost": min(other[1] for other in others) - y,
        "bottommost": y - max(other[1] for other in others),
    }


def readings(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    """Places at which another digit lies certainly further out."""
    alike = [digit for digit in scene.digits if matches(digit, selectors["OBJECT_CATEGORY"])]
    if len(alike) == 1:
        return []  # one alone has a place and has none
    if not truth.answerable:
        return [nothing("place", dict.fromkeys(PLACES, "other_place"))]
    if any(digit.visible < COMPARED for digit in alike):
        return []
    chosen = _distinct(alike, selectors["DISTINCTIVE_FEATURE"])
    assert isinstance(chosen, SceneDigit)
    lead = _leads(chosen, alike, scene)
    best = truth.correct["RELATIVE_POSITION"]
    wrong = {name: "other_place" for name in PLACES if lead[name] < -CERTAINLY_OTHER}
    sole = all(lead[name] < 0 for name in PLACES if name != best)
    return [Reading("place", "place", (best,), wrong | {NONE: "absent_subject"}, sole=sole)]


def read_answer(slot: str, text: str) -> str | None:
    """One of the four places."""
    del slot
    return read_kind("place", text)
