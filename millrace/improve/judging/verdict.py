"""From figures to a verdict, and the sentences that say why.

`helps`: the targeted arm fails less than the base, no claim, factor or outcome is shown to be worse by more than the margin, and
the controls behave. `harms`: it is shown to fail more, over all or somewhere beyond the margin. Anything else is `no_evidence`,
which is a result. Whether *targeting* is worth anything (against as many records drawn at random) is a question of its own; where
some kinds of images are rare, it is also asked on those alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET

from millrace.improve.plan import TARGETING_RARE
from millrace.records.results.improve import Answer, Comparison, Difference
from millrace.statistics.holm import holm

GROUPS = {"claims": "the claim", "factors": "images with", "outcomes": "the outcome"}


class Verdict(msgspec.Struct, frozen=True):
    """What a run has shown."""

    verdict: Answer
    """Of the data: the targeted arm against the base."""
    targeting: Answer
    """Of the choice: the targeted arm against the untargeted one."""
    because: tuple[str, ...]
    """One sentence for each fact that it rests on."""


def decide(comparisons: Sequence[Comparison], *, margin: float, level: float, seeds: int) -> Verdict:
    """The verdict of a run."""
    by_name = {one.name: one for one in comparisons}
    controls = [one for one in comparisons if one.expected != "fewer failures"]
    broken = [one for one in controls if one.as_expected is not True]
    because = []
    answers: dict[str, Answer] = {}
    for name, what in (("data", "the data"), ("targeting", "targeting")):
        one = by_name.get(name)
        if one is None:
            answers[name] = "no_evidence"
            because.append(f"Whether {what} helps was not asked: the arms for it are not in the plan.")
            continue
        family = [one, *(other for other in comparisons if name == "targeting" and other.name == TARGETING_RARE)]
        answers[name] = _answer(family, level, bool(broken))
        because += [sentence(each) for each in family]
        if len(family) > 1:
            because.append("Whether targeting helps is asked twice, over all and on rare kinds: its tests are corrected (Holm).")
        because += harms(one, margin)
    because += [_control(one) for one in controls]
    if not controls:
        because.append("There was no control arm: chance and the training itself cannot be separated from the data.")
    if seeds < 10:
        because.append(f"{seeds} trainings of each arm are a first look; ten or more are needed to rely on it.")
    return Verdict(answers["data"], answers["targeting"], tuple(because))


def _answer(family: Sequence[Comparison], level: float, broken: bool) -> Answer:
    """Of a question that is asked in one way or in several. More failures in one of them are harm, whatever the others show."""
    if any((one.whole.low is not None and one.whole.low > 0) or any(row.worse for row in _rows(one)) for one in family):
        return "harms"
    if len(family) == 1:
        shown = family[0].as_expected is True
    else:
        chances = holm({one.name: one.whole.p_value for one in family})
        shown = any(is_fewer(one.whole) and is_below(chances[one.name], level) for one in family)
    return "helps" if shown and not broken else "no_evidence"


def is_fewer(row: Difference) -> bool:
    """Whether the treated side failed less, by whatever much."""
    return row.difference is not None and row.difference < 0


def is_below(chance: float | None, level: float) -> bool:
    """Whether a test is significant."""
    return chance is not None and chance <= level


def _rows(one: Comparison) -> list[Difference]:
    return [row for group in GROUPS for row in getattr(one, group).values()]


def harms(one: Comparison, margin: float) -> list[str]:
    """A sentence for each row that is shown to be worse beyond the margin."""
    found = []
    for group, what in GROUPS.items():
        rows: Mapping[str, Difference] = getattr(one, group)
        found += [
            f"Worse by more than {points(margin)} ({one.treated} against {one.control}): {what} {name}, {interval(row)}."
            for name, row in rows.items()
            if row.worse
        ]
    return found


def sentence(one: Comparison) -> str:
    """A comparison in a sentence."""
    whole = one.whole
    if whole.difference is None or whole.treated is None or whole.control is None:
        return f"{one.treated} against {one.control}: nothing was decided on both sides."
    what = "fewer" if whole.high is not None and whole.high < 0 else "more" if whole.low is not None and whole.low > 0 else ""
    shown = f"{what} failures" if what else "no difference shown"
    where = "" if one.on is UNSET else f" on {one.on}"
    rates = f"{whole.treated:.1%} failed, {whole.control:.1%} there"
    return f"{one.treated} against {one.control}{where}: {rates}: {shown}, {interval(whole)}."


def _control(one: Comparison) -> str:
    words = {True: "as it must be", False: "NOT as it must be, so no gain here proves anything", None: "too little to tell"}
    what = f"Control '{one.name}' ({one.treated} against {one.control}, {one.expected} expected)"
    return f"{what}: {words[one.as_expected]}, {interval(one.whole)}."


def interval(row: Difference) -> str:
    """`-3.1 points [-4.0, -2.2]`."""
    if row.difference is None:
        return "not measured"
    if row.low is None or row.high is None:
        return f"{points(row.difference)}, no interval"
    return f"{points(row.difference)} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"


def points(share: float) -> str:
    """0.021 as `+2.1 points`."""
    return f"{100 * share:+.1f} points"
