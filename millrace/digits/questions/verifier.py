"""The second opinion: does a finished question have exactly the answer that it claims?

The question is read as a person would read it (`lexicon`), every option is held against what the pixels show
(`pixel_evidence`), and the claim stands only if the answer is true and everything else false, each beyond the margins below.
Nothing here is shared with the code that wrote the question (`facts`, `answer_vocabulary`, `phrasing`): an error there does not
repeat itself here.

Covers: wrong answers, second right options, options that can't be read, a question about another subject than recorded, an
annotation that contradicts the image. Does not cover: bad style, and leaks (see `question_checks`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from millrace.digits.questions.lexicon import ABSENT, WORDS, names_subject, read_answer, read_statement
from millrace.digits.questions.pixel_evidence import Evidence, Mark, look
from millrace.errors import ItemFailed
from millrace.lake.rows import LakeRow

BY = "pixels and handwriting labels"
"""Named in every record that passes."""

BORDER = 0.01
"""Share of the side by which a mean must lie inside a region to count."""
AHEAD = 1.4
"""How many times larger the shift along the named direction must be than across it."""
ASIDE = 0.15
"""A shift of less than this share of the larger one is no direction."""
RIGHT_SHARE, WRONG_SHARE = 1.3, 1.5
"""A stated share of the area is right within the first factor of the measured one, wrong beyond the second."""
FEW_PIXELS = 4
"""So many pixels of a digit in a part of the picture make the part occupied; fewer (but some) leave it undecided."""
COVERED_PIXELS = 8
"""Ink of one digit that another's pixels must cover before one is in front."""

Truth = bool | None
"""None: too near to call."""


class Finding(msgspec.Struct, frozen=True):
    """The verifier's word on one question."""

    status: Literal["verified", "refuted", "unable"]
    reason: str = ""
    detail: str = ""
    by: str = BY


def verify(item: Mapping[str, Any], row: LakeRow) -> Finding:
    """Hold a finished question against its image.

    Returns:
        verified; refuted with the reason; unable when the image has no second view of its content.
    """
    task = item["task"]
    try:
        evidence = look(row)
    except ItemFailed as failure:
        status: Literal["refuted", "unable"] = "unable" if failure.reason == "no_second_view" else "refuted"
        return Finding(status, failure.reason, failure.detail)
    if task["aspect"] != "label" and not names_subject(item["question"], task["selectors"]):
        return Finding("refuted", "other_subject", f"the question does not name its subject {task['selectors']}")
    rule = _READERS[item["question_type"]]
    return rule(item, lambda value: holds(task["aspect"], evidence, task["selectors"], value))


def _options(item: Mapping[str, Any], true: Callable[[str], Truth]) -> Finding:
    seen: dict[str, Truth] = {}
    for key, text in item["options"].items():
        value = read_answer(item["task"]["aspect"], text)
        if value is None:
            return Finding("refuted", "unreadable_option", f"option {key} '{text}' is no answer to this kind of question")
        seen[key] = true(value)
    if seen.get(item["answer"]) is not True:
        return Finding("refuted", "wrong_answer", f"the pixels do not show that {item['answer']} is right ({seen})")
    others = {key: truth for key, truth in seen.items() if key != item["answer"]}
    if any(truth is not False for truth in others.values()):
        return Finding("refuted", "second_answer", f"another option may be right as well ({seen})")
    return Finding("verified")


def _yes_no(item: Mapping[str, Any], true: Callable[[str], Truth]) -> Finding:
    yes = {"yes": True, "no": False, "是": True, "否": False}.get(str(item["options"].get(item["answer"], "")).casefold())
    if item["task"].get("form") == "presence":
        truth = true(ABSENT)
        truth = None if truth is None else not truth
    else:
        value = read_statement(item["task"]["aspect"], item["question"])
        if value is None:
            return Finding("refuted", "unreadable_statement", "what the question states can't be read off it")
        truth = true(value)
    if yes is None or truth is None or yes is not truth:
        return Finding("refuted", "wrong_answer", f"the pixels say {truth}, the answer {item['answer']}")
    return Finding("verified")


def _blank(item: Mapping[str, Any], true: Callable[[str], Truth]) -> Finding:
    aspect = item["task"]["aspect"]
    values = {read_answer(aspect, text) for text in (item["answer"], *item["accepted_answers"])}
    value = values.pop()
    if values or value is None:
        return Finding("refuted", "unreadable_option", f"'{item['answer']}' is not one answer to this kind of question")
    if true(value) is not True:
        return Finding("refuted", "wrong_answer", f"the pixels do not show that '{value}' is right")
    rivals = [other for other in WORDS.get(aspect, {}) if other != value and not other.endswith("half")]
    open_rivals = [other for other in rivals if true(other) is not False]
    if open_rivals:
        return Finding("refuted", "second_answer", f"'{open_rivals[0]}' may fill the gap as well")
    return Finding("verified")


_READERS: dict[str, Callable[[Mapping[str, Any], Callable[[str], Truth]], Finding]] = {
    "multiple_choice": _options,
    "yes_no": _yes_no,
    "fill_in_blank": _blank,
}


def holds(aspect: str, evidence: Evidence, selectors: Mapping[str, Mapping[str, Any]], value: str) -> Truth:
    """Whether `value` is true of the subject in the picture; None when it is too near to call."""
    return _RULES[aspect](evidence, selectors, value)


def _label(evidence: Evidence, selectors: Mapping[str, Mapping[str, Any]], value: str) -> Truth:
    del selectors
    ranked = sorted(evidence.marks, key=lambda mark: -mark.extent)
    if value == ABSENT or not ranked:
        return value == ABSENT and not ranked
    if len(ranked) > 1 and ranked[0].extent < 1.1 * ranked[1].extent:
        return None
    return str(ranked[0].label) == value


def _count(evidence: Evidence, selectors: Mapping[str, Mapping[str, Any]], value: str) -> Truth:
    return value == str(len(_those(evidence, selectors["OBJECT_TYPE"])))


def _region(evidence: Evidence, selectors: Mapping[str, Mapping[str, Any]], value: str) -> Truth:
    found = _those(evidence, selectors["TARGET_OBJECT"])
    if len(found) != 1 or value == ABSENT:
        return None if len(found) > 1 else (value == ABSENT) == (not found)
    x, y = found[0].x / evidence.width, found[0].y / evidence.height
    vertical = {"top": 0, "middle": 1, "bottom": 2}.get(value.split(maxsplit=1)[0], 1)
    horizontal = {"left": 0, "right": 2}.get(value.rsplit(maxsplit=1)[-1], 1)
    return _both(_within(x, horizontal / 3, (horizontal + 1) / 3), _within(y, vertical / 3, (vertical + 1) / 3))


def _within(place: float, low: float, high: float) -> Truth:
    if low + (BORDER if low > 0 else 0) <= place < high - (BORDER if high < 1 else 0):
        return True
    return False if place < low - BORDER or place >= high + BORDER else None


def _both(first: Truth, second: Truth) -> Truth:
    if first is False or second is False:
        return False
    return None if first is None or second is None else True


def _direction(evidence: Evidence, selectors: Mapping[str, Mapping[str, Any]], value: str) -> Truth:
    pair = _those(evidence, selectors["OBJECT_A"]), _those(evidence, selectors["OBJECT_B"])
    missing = any(not found for found in pair)
    if value == ABSENT or missing:
        return (value == ABSENT) == missing
    if any(len(found) > 1 for found in pair) or pair[0][0].number == pair[1][0].number:
        return None
    first, second = pair[0][0], pair[1][0]
    hidden = int((first.drawn & (evidence.owner == second.number)).sum())
    hiding = int((second.drawn & (evidence.owner == first.number)).sum())
    covers = max(hidden, hiding) >= COVERED_PIXELS
    if value in ("in front of", "behind"):
        if not covers:
            return False
        on_top, below = (hiding, hidden) if value == "in front of" else (hidden, hiding)
        return True if on_top > 2 * below else False if below > 2 * on_top else None
    dx, dy = first.x - second.x, first.y - second.y
    ahead, across = {"left of": (-dx, dy), "right of": (dx, dy), "above": (-dy, dx), "below": (dy, dx)}[value]
    if ahead < ASIDE * abs(across):
        return False
    return True if ahead >= AHEAD * abs(across) and not covers else None


def _place(evidence: Evidence, selectors: Mapping[str, Mapping[str, Any]], value: str) -> Truth:
    members = _those(evidence, selectors["OBJECT_CATEGORY"])
    chosen = _featured(members, selectors["DISTINCTIVE_FEATURE"])
    if chosen is None or len(chosen) > 1:
        return None
    if value == ABSENT or not chosen:
        return (value == ABSENT) == (not chosen)
    others = [mark for mark in members if mark.number != chosen[0].number]
    side = {"leftmost": (1, 0), "rightmost": (-1, 0), "topmost": (0, 1), "bottommost": (0, -1)}[value]
    reach = [side[0] * mark.x / evidence.width + side[1] * mark.y / evidence.height for mark in (chosen[0], *others)]
    lead = min(reach[1:], default=math.inf) - reach[0]
    return True if lead > BORDER else False if lead < -BORDER else None


def _featured(members: list[Mark], feature: Mapping[str, Any]) -> list[Mark] | None:
    """Those that have the feature; None when that can't be told."""
    if "extreme" in feature:
        ranked = sorted(members, key=lambda mark: mark.extent, reverse=feature["extreme"] == "largest")
        if len(ranked) < 2:
            return []
        sizes = sorted((ranked[0].extent, ranked[1].extent))
        return ranked[:1] if sizes[1] >= 1.1 * sizes[0] else None
    if "turn" in feature:
        unsure = [mark for mark in members if mark.turn is None and mark.label in (2, 3, 4, 5, 7)]
        return None if unsure else [mark for mark in members if mark.turn == feature["turn"] and mark.label in (3, 4, 7)]
    return [mark for mark in members if _is(mark, feature)]


def _percent(evidence: Evidence, selectors: Mapping[str, Mapping[str, Any]], value: str) -> Truth:
    found = _those(evidence, selectors["TARGET_OBJECT"])
    if len(found) != 1 or value == ABSENT:
        return None if len(found) > 1 else (value == ABSENT) == (not found)
    x0, y0, x1, y1 = found[0].box
    measured = 100 * (x1 - x0) * (y1 - y0) / (evidence.width * evidence.height)
    off = abs(math.log(float(value.rstrip("%")) / measured))
    return True if off <= math.log(RIGHT_SHARE) else False if off >= math.log(WRONG_SHARE) else None


def _area(evidence: Evidence, selectors: Mapping[str, Mapping[str, Any]], value: str) -> Truth:
    members = [mark.number for mark in _those(evidence, selectors["OBJECT_TYPE"])]
    ink = sum((evidence.owner == number for number in members), start=evidence.owner > 255)
    middle_x, middle_y = evidence.width // 2, evidence.height // 2
    rows = {"top": slice(0, middle_y), "bottom": slice(middle_y, None)}
    columns = {"left": slice(0, middle_x), "right": slice(middle_x, None)}
    if value == ABSENT:
        return all(int(ink[row, column].sum()) >= FEW_PIXELS for row in rows.values() for column in columns.values())
    words = value.split()
    row = next((rows[word] for word in words if word in rows), slice(None))
    column = next((columns[word] for word in words if word in columns), slice(None))
    there = int(ink[row, column].sum())
    return True if there == 0 else False if there >= FEW_PIXELS else None


def _turned(names: tuple[str, ...]) -> Callable[[Evidence, Mapping[str, Mapping[str, Any]], str], Truth]:
    def rule(evidence: Evidence, selectors: Mapping[str, Mapping[str, Any]], value: str) -> Truth:
        found = _those(evidence, selectors["OBJECT"])
        if len(found) != 1 or value == ABSENT:
            return None if len(found) > 1 else (value == ABSENT) == (not found)
        return None if found[0].turn is None else names[found[0].turn] == value

    return rule


def _those(evidence: Evidence, selector: Mapping[str, Any]) -> list[Mark]:
    return [mark for mark in evidence.marks if _is(mark, selector)]


def _is(mark: Mark, selector: Mapping[str, Any]) -> bool:
    return selector.get("label") in (None, mark.label) and selector.get("colour") in (None, mark.colour)


_RULES: dict[str, Callable[[Evidence, Mapping[str, Mapping[str, Any]], str], Truth]] = {
    "label": _label,
    "count": _count,
    "region": _region,
    "direction": _direction,
    "place": _place,
    "percent": _percent,
    "area": _area,
    "point": _turned(("up", "right", "down", "left")),
    "turn": _turned(("upright", "turned clockwise", "upside down", "turned counter-clockwise")),
}
