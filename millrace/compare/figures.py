"""The figures of a comparison: for the whole, each claim, each factor and each outcome, how two models differ and how surely."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from millrace.compare.pairing import Pair
from millrace.compare.settings import CompareSettings
from millrace.records.outcome import FAILURES, OUTCOMES, SUCCESSES
from millrace.records.results.compare import Row
from millrace.statistics.cluster_table import Stratum, cluster_table
from millrace.statistics.differences import Difference, differences
from millrace.statistics.holm import holm
from millrace.statistics.power import pairs_for_no_harm, pairs_to_see, smallest_seen


class Figures(msgspec.Struct, frozen=True):
    """All rows."""

    whole: Row
    claims: dict[str, Row]
    factors: dict[str, Row]
    outcomes: dict[str, Row]


def figures_of(pairs: Sequence[Pair], claims: Sequence[str], settings: CompareSettings) -> Figures:
    """Compute every row.

    Args:
        pairs: from `pair_outcomes`, decided on both sides.
        claims: rows that there should be, also for claims without a pair.
        settings: level, margin, draws, seed.
    """
    images, strata = strata_of(pairs, claims)
    margin, alpha = settings.margin, settings.alpha
    found = differences(cluster_table(len(images), strata), draws=settings.draws, seed=settings.seed, alpha=alpha, margin=margin)
    groups: dict[str, dict[str, Difference]] = {"claim": {}, "factor": {}, "outcome": {}}
    for name, one in found.items():
        group, _, member = name.partition(":")
        if member:
            groups[group][member] = one
    rows = {group: _rows(members, settings, harmful=group != "outcome") for group, members in groups.items()}
    whole = _rows({"": found["all"]}, settings, harmful=True)[""]
    return Figures(whole, rows["claim"], rows["factor"], rows["outcome"])


def strata_of(pairs: Sequence[Pair], claims: Sequence[str]) -> tuple[list[str], dict[str, Stratum]]:
    """(images in the order of their hashes, strata by `all`, `claim:ID`, `factor:NAME`, `outcome:NAME`)."""
    images = sorted({pair.image for pair in pairs})
    number = {image: place for place, image in enumerate(images)}
    cluster_P = np.array([number[pair.image] for pair in pairs], dtype=np.int64)
    failed_P2 = np.array([pair.failed for pair in pairs], dtype=bool).reshape(-1, 2)
    before, after = (np.array([pair[side].line.outcome for pair in pairs], dtype=object) for side in (0, 1))
    members: dict[str, list[int]] = {f"claim:{claim}": [] for claim in sorted(claims)}
    for factor in sorted({factor for pair in pairs for factor in pair.before.line.factors}):
        members[f"factor:{factor}"] = []
    for place, pair in enumerate(pairs):
        members[f"claim:{pair.claim_id}"].append(place)
        for factor in set(pair.before.line.factors):
            members[f"factor:{factor}"].append(place)
    strata = {"all": Stratum(cluster_P, failed_P2[:, 0], failed_P2[:, 1])}
    for name, places in members.items():
        chosen = np.array(places, dtype=np.int64)
        strata[name] = Stratum(cluster_P[chosen], failed_P2[chosen, 0], failed_P2[chosen, 1])
    for outcome in (name for name in OUTCOMES if name in FAILURES | SUCCESSES):
        strata[f"outcome:{outcome}"] = Stratum(cluster_P, before == outcome, after == outcome)
    return images, strata


def _rows(members: Mapping[str, Difference], settings: CompareSettings, *, harmful: bool) -> dict[str, Row]:
    """The rows of a group, corrected together. `harmful`: the event is a failure in every row."""
    corrected = holm({name: one.p_value for name, one in members.items()})
    tests = max(1, sum(p is not None for p in corrected.values()))
    return {
        name: _row(one, corrected[name], tests, settings, harmful=harmful or name in FAILURES) for name, one in members.items()
    }


def _row(one: Difference, corrected: float | None, tests: int, settings: CompareSettings, *, harmful: bool) -> Row:
    alpha, margin = settings.alpha, settings.margin
    counts = {
        "pairs": one.pairs,
        "images": one.clusters,
        "failures_before": one.before,
        "failures_after": one.after,
        "worse": one.appeared,
        "better": one.vanished,
    }
    known = {
        "rate_before": one.before / one.pairs if one.pairs else None,
        "rate_after": one.after / one.pairs if one.pairs else None,
        "difference": one.difference,
        "low": one.low,
        "high": one.high,
        "upper": one.upper,
        "p_value": one.p_value,
        "p_holm": corrected,
        "p_no_harm": one.p_no_harm if harmful else None,
        "design_effect": one.design_effect,
    }
    if not one.pairs or one.upper is None or one.difference is None:
        unknown = {"no_harm": None, "seen": None, "images_to_see": None, "images_for_no_harm": None}
        return Row(**counts, **known, **unknown, verdict="not_compared")  # type: ignore[arg-type]
    shown = corrected is not None and corrected <= alpha
    risen = (one.difference > 0) == harmful
    discordance = (one.appeared + one.vanished + 2) / (one.pairs + 4)  # never 0: a share estimated from few is uncertain
    noise = {"discordance": discordance, "alpha": alpha, "effect": one.design_effect or 1.0}
    each = one.pairs / one.clusters
    needed = pairs_to_see(settings.difference, tests=tests, **noise)
    return Row(
        **counts,  # type: ignore[arg-type]
        **known,  # type: ignore[arg-type]
        no_harm=one.upper < margin if harmful else None,
        verdict="no_evidence" if not shown else "worse" if risen else "better",
        seen=smallest_seen(one.pairs, tests=tests, **noise),
        images_to_see=math.ceil(needed / each),
        images_for_no_harm=math.ceil(pairs_for_no_harm(margin, **noise) / each) if harmful else None,
    )
