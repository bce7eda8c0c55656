"""The embedded judge: has the right answer computed from the image's annotation, so its verdicts are verified.

Covers: the claims that the annotation's own module can decide. Does not cover: images without one, other claims, and subjects
without a clear answer; all of these are `judge_uncertain`, never a guess.
"""

from __future__ import annotations

from typing import Any, Literal

from millrace.config import Settings
from millrace.probing.annotated import ClaimRules, Subject, Truth, claim_rules
from millrace.probing.answer_words import NOT_RELATED
from millrace.probing.baselines import Completion
from millrace.probing.claims import Claim, Slot
from millrace.probing.judges import Verdict

ZERO = "0"
"""A count of zero says the same as an abstention: there is none of the kind."""


class JudgeSettings(Settings):
    """Decide by the image's annotation."""

    name: Literal["annotation"] = "annotation"
    """Which judge."""


class AnnotationJudge:
    """Decides by the annotation in the image's row."""

    name = "annotation"

    def judge(self, claim: Claim, subject: Subject, completion: Completion, row: Any) -> Verdict:
        """The verdict on `completion`."""
        rules = claim_rules(row)
        truth = rules.truth_of(claim.claim_id, row, subject.selectors) if rules is not None else None
        if rules is None or truth is None or not truth.clear:
            return Verdict(
                "judge_uncertain", "unverified", explanation="The annotation does not settle this claim.", by=self.name
            )
        accepted = {slot: _accepted(claim.slots[slot], values) for slot, values in truth.accepted.items()}
        outcome, explanation = _outcome(rules, claim, truth, accepted, completion)
        return Verdict(outcome, "verified", dict(truth.correct), accepted, explanation, self.name)


def open_judge(settings: JudgeSettings) -> AnnotationJudge:
    """The judge, ready for use."""
    del settings
    return AnnotationJudge()


def _outcome(
    rules: ClaimRules, claim: Claim, truth: Truth, accepted: dict[str, list[str]], completion: Completion
) -> tuple[str, str]:
    answers = {slot: completion.values.get(slot, "") for slot in claim.answer_slots}
    readings = {slot: _read(rules, slot, claim.slots[slot], text) for slot, text in answers.items()}
    if not completion.related or all(reading == NOT_RELATED for reading in readings.values()):
        if truth.answerable:
            return "wrong_abstain", f"The claim applies; right is {_said(truth.correct)}."
        return "right_abstain", "The claim does not apply to this picture."
    unread = [slot for slot, reading in readings.items() if reading in {None, NOT_RELATED}]
    if unread:
        return "format_error", f"{unread[0]} can't be read from '{answers[unread[0]][:80]}'."
    if not truth.answerable:
        return "hallucinated", f"The claim does not apply to this picture, and was answered with {_said(answers)}."
    wrong = [slot for slot, reading in readings.items() if not _is_right(claim.slots[slot], str(reading), accepted[slot])]
    if wrong:
        return "wrong", f"{wrong[0]} is {truth.correct[wrong[0]]}, not {readings[wrong[0]]}."
    return "correct", f"Right: {_said(truth.correct)}."


def _read(rules: ClaimRules, slot_name: str, slot: Slot, text: str) -> str | None:
    """The value in its one spelling; None when it can't be read or the slot does not allow it."""
    if text.strip().upper().replace(" ", "_") == NOT_RELATED:
        return NOT_RELATED
    value = rules.read_value(slot_name, text)
    if slot_name == "COUNT" and value == ZERO:
        return NOT_RELATED
    if value is None or (slot.values and value not in {rules.read_value(slot_name, allowed) for allowed in slot.values}):
        return None
    return value


def _accepted(slot: Slot, values: tuple[str, ...]) -> list[str]:
    """What counts as right: the values, or the two ends of the tolerance."""
    if slot.tolerance is None:
        return list(values)
    low, high = slot.tolerance.bounds(_number(values[0]))
    return [f"{low:.1f}%", f"{high:.1f}%"]


def _is_right(slot: Slot, value: str, accepted: list[str]) -> bool:
    if slot.tolerance is None:
        return value in accepted
    return _number(accepted[0]) <= _number(value) <= _number(accepted[1])


def _number(percent: str) -> float:
    return float(percent.rstrip("%"))


def _said(values: dict[str, str]) -> str:
    return ", ".join(values.values())
