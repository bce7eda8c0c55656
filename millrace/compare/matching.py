"""Whether two probings can be compared at all. What can't is refused in one sentence that names what differs."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.compare.asked import HowAsked
from millrace.compare.pairing import Pairing, pair_outcomes
from millrace.compare.runs import Asked, Side, read_side
from millrace.errors import InputError, did_you_mean

Outcomes = tuple[Sequence[Asked], Sequence[Asked]]


def matched(before: Side, after: Side, how: HowAsked, claims: Sequence[str]) -> Pairing:
    """The pairs of two probings that may be compared.

    Raises:
        InputError: they may not; the message says which of claims, judge, images and subjects differ.
    """
    check_judge(before, after, how)
    outcomes = list(read_side(before)), list(read_side(after))
    sides = (before, after)
    for side, asked in zip(sides, outcomes, strict=True):
        if not asked:
            raise InputError(f"{side.shown} has no outcome: nothing was asked there")
    _check_claim_set(sides, outcomes)
    _check_named(sides, outcomes, claims)
    pairing = pair_outcomes(*outcomes, claims)
    if not pairing.shared_images:
        raise InputError(f"{before.shown} and {after.shown} have no image in common: they were asked about other images")
    if not pairing.pairs and not _asked_together(pairing):
        seeds = " and ".join(str(side.config.get("seed")) for side in sides)
        raise InputError(
            f"{before.shown} and {after.shown} were asked about the same {pairing.shared_images} images, but about no subject in "
            f"common (probing.seed is {seeds}); probe both with the same settings"
        )
    return pairing


def check_judge(before: Side, after: Side, how: HowAsked) -> None:
    """See that one judge decided both.

    Raises:
        InputError: it did not.
    """
    differing = [one for one in how.differences(before.config, after.config) if one[0].startswith("probing.judge")]
    if differing:
        name, old, new = differing[0]
        raise InputError(f"{before.shown} and {after.shown} were judged by other judges ({name}: {old} and {new})")


def check_claims(pairing: Pairing, before: Side, after: Side) -> None:
    """See that each claim that was asked has a pair to be compared.

    Raises:
        InputError: one has none; the message says why.
    """
    compared = {pair.claim_id for pair in pairing.pairs}
    for claim_id in sorted({one.claim_id for one in pairing.left_out} - compared):
        why = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in pairing.reasons_of(claim_id).items())
        others = ", ".join(sorted(compared)) or "none"
        raise InputError(
            f"the claim '{claim_id}' has no pair to compare in {before.shown} and {after.shown} ({why}); compare those that have "
            f"one: --set compare.claims='[{others}]'"
        )


def _check_claim_set(sides: tuple[Side, Side], outcomes: Outcomes) -> None:
    found = [{asked.line.claim_set for asked in side} for side in outcomes]
    if found[0] == found[1] and len(found[0]) == 1:
        return
    names = [f"'{side.config.get('claims')}' ({', '.join(sorted(one)[:2])[:12]})" for side, one in zip(sides, found, strict=True)]
    shown = " and ".join(side.shown for side in sides)
    raise InputError(f"{shown} were asked other claim sets: {names[0]} and {names[1]}; a set that differs by a word is another")


def _check_named(sides: tuple[Side, Side], outcomes: Outcomes, claims: Sequence[str]) -> None:
    for side, asked in zip(sides, outcomes, strict=True):
        known = {str(one.line.claim_id) for one in asked}
        for claim in claims:
            if claim not in known:
                raise InputError(f"no claim '{claim}' was asked in {side.shown}{did_you_mean(claim, known)}")


def _asked_together(pairing: Pairing) -> bool:
    """Whether anything was asked of both, even if it could not be decided."""
    return any(one.before is not None and one.after is not None for one in pairing.left_out)
