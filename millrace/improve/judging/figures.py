"""The figures: for every hypothesis how much the failure rate differs over images and seeds, and the same for each claim, factor
and outcome of the two that the verdict is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from millrace.improve.judging.judged import Judged, by_image
from millrace.improve.plan import BASE
from millrace.records.improve import Hypothesis, Plan
from millrace.records.outcome import FAILURES
from millrace.records.results.improve import Comparison, Difference
from millrace.statistics.crossed import CrossedDifference, crossed_difference
from millrace.statistics.holm import holm

DRAWS = 500
"""Of the crossed bootstrap beside the interval: enough to see that the two agree."""
GROUP_DRAWS = 10
"""The same where only the interval is shown."""

Events = Callable[[str], NDArray[np.float64]]
"""Model → 1 where what is counted happened."""


IN_DETAIL = ("data", "targeting")
"""Hypotheses that are also looked at by claim, factor and outcome."""


def compare_all(judged: Judged, plan: Plan) -> list[Comparison]:
    """Every hypothesis of the plan."""
    return [compare(judged, plan, hypothesis) for hypothesis in plan.hypotheses]


def compare(judged: Judged, plan: Plan, hypothesis: Hypothesis) -> Comparison:
    """One hypothesis."""
    rows = None if hypothesis.on is UNSET else rows_of_rare_kinds(judged, plan)
    whole = difference(judged, plan, hypothesis, judged.failed, rows, DRAWS)
    groups: dict[str, dict[str, Difference]] = {"claims": {}, "factors": {}, "outcomes": {}}
    if hypothesis.name in IN_DETAIL:
        for group, parts in (("claims", rows_by(judged.claims)), ("factors", rows_by_many(judged.factors))):
            found = {name: difference(judged, plan, hypothesis, judged.failed, chosen) for name, chosen in parts.items()}
            groups[group] = corrected(found, plan)
        found = {name: difference(judged, plan, hypothesis, counting(judged, name), None) for name in sorted(FAILURES)}
        groups["outcomes"] = corrected(found, plan)
    return Comparison(
        name=hypothesis.name,
        treated=hypothesis.treated,
        control=hypothesis.control,
        expected=hypothesis.expected,
        on=hypothesis.on,
        whole=whole,
        as_expected=as_expected(whole, hypothesis.expected),
        **groups,
    )


def as_expected(whole: Difference, expected: str) -> bool | None:
    """Whether a difference is what was expected of it, at the plan's level."""
    if whole.low is None or whole.high is None:
        return None
    if expected == "fewer failures":
        return whole.high < 0
    return whole.high >= 0 if expected == "not fewer failures" else whole.low <= 0 <= whole.high


def difference(
    judged: Judged, plan: Plan, hypothesis: Hypothesis, events: Events, rows: Sequence[int] | None, draws: int = GROUP_DRAWS
) -> Difference:
    """The difference over images and seeds of what `events` counts, in all things asked or in `rows`."""
    asked_K = by_image(np.ones(len(judged.keys)), judged, rows)
    treated_RK, control_RK = (
        np.stack([by_image(events(model), judged, rows) for model in models_of(arm, plan)])
        for arm in (hypothesis.treated, hypothesis.control)
    )
    pairs_RK = np.broadcast_to(asked_K, treated_RK.shape).copy()
    found = crossed_difference(treated_RK - control_RK, pairs_RK, draws=draws, seed=plan.seed, alpha=plan.level)
    asked = int(asked_K.sum())
    return Difference(
        asked=asked,
        images=found.clusters,
        control=_rate(control_RK, pairs_RK),
        treated=_rate(treated_RK, pairs_RK),
        difference=found.difference,
        low=found.low,
        high=found.high,
        upper=found.upper,
        p_value=found.p_value,
        by_seed=found.by_seed,
        bootstrap_low=found.bootstrap_low if draws == DRAWS else None,
        bootstrap_high=found.bootstrap_high if draws == DRAWS else None,
        share=asked / len(judged.keys),
        p_harm=_p_above(found, plan),
        within_margin=None if found.upper is None else found.upper < plan.margin,
    )


def rows_of_rare_kinds(judged: Judged, plan: Plan) -> list[int]:
    """What was asked about images of a rare kind."""
    rare = set(plan.rare or ())
    return [place for place, factors in enumerate(judged.factors) if rare & set(factors)]


def models_of(arm: str, plan: Plan) -> list[str]:
    """The models of an arm, seed by seed; the base is one and the same under every seed."""
    return [BASE if arm == BASE else f"{arm}-{number}" for number in plan.seeds]


def counting(judged: Judged, outcome: str) -> Events:
    """Counts one outcome among all things asked."""
    return lambda model: np.array([found == outcome for found in judged.outcomes[model]], dtype=np.float64)


def corrected(rows: Mapping[str, Difference], plan: Plan) -> dict[str, Difference]:
    """The rows of a group with their tests of harm corrected for being several."""
    p_values = holm({name: row.p_harm for name, row in rows.items()})
    return {
        name: msgspec.structs.replace(row, p_harm=p_values[name], worse=_below(p_values[name], plan.level))
        for name, row in rows.items()
    }


def rows_by(names: Sequence[str]) -> dict[str, list[int]]:
    """Name → where it stands, sorted by name."""
    return rows_by_many([(name,) for name in names])


def rows_by_many(names: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """The same where several names stand at a place."""
    rows: dict[str, list[int]] = {}
    for place, found in enumerate(names):
        for name in set(found):
            rows.setdefault(name, []).append(place)
    return dict(sorted(rows.items()))


def _p_above(found: CrossedDifference, plan: Plan) -> float | None:
    """One-sided, that the true difference is at most the margin, by the same error and degrees of freedom as the interval."""
    if found.difference is None or found.upper is None or found.low is None or found.high is None:
        return None
    from scipy.special import stdtr, stdtrit

    freedom = found.degrees_of_freedom
    one, both = (float(stdtrit(freedom, 1 - tail)) for tail in (plan.level, plan.level / 2))
    # an end may have been cut off at a difference of 1: the farthest says how wide the interval is
    reach = (found.upper - found.difference) / one, (found.high - found.difference) / both, (found.difference - found.low) / both
    error = max(reach)
    if not error:
        return 1.0 if found.difference <= plan.margin else 0.0
    return float(stdtr(freedom, (plan.margin - found.difference) / error))


def _below(p_value: float | None, level: float) -> bool:
    return p_value is not None and p_value <= level


def _rate(events_RK: NDArray[np.float64], asked_RK: NDArray[np.float64]) -> float | None:
    asked = float(asked_RK.sum())
    return float(events_RK.sum()) / asked if asked else None
