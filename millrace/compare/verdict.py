"""What a comparison shows, in sentences that its figures support and in no others.

The verdict rests on the whole, which is tested alone. Claims, factors and kinds of outcome are three groups, each corrected by
itself (Holm): a statement about a single row holds at the level of its group.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from millrace.compare.figures import Figures
from millrace.compare.settings import CompareSettings
from millrace.records.outcome import FAILURES
from millrace.records.results.compare import Row, Verdict
from millrace.reporting.charts import NBSP, number, percent, points, span_points, words

NAMED = 5
"""Rows that got better which are named in a sentence; what got worse is always named whole."""


class Conclusion(msgspec.Struct, frozen=True):
    """The verdict and what stands out."""

    verdict: Verdict
    no_harm: bool
    """Whether a rise by the margin is excluded over all, for every claim and for every kind of failure."""
    title: str
    sentences: tuple[str, ...]


def conclude(
    figures: Figures, settings: CompareSettings, labels: tuple[str, str], claims: Mapping[str, str] | None = None
) -> Conclusion:
    """The conclusion.

    Args:
        figures: of the comparison.
        settings: level and margin.
        labels: what the two models are called.
        claims: claim id → name.
    """
    worse = _rows_that(figures, "worse", claims or {})
    better = _rows_that(figures, "better", claims or {})
    verdict = _verdict(figures.whole, worse, better)
    sentences = [_whole(figures.whole, settings, labels)]
    if worse:
        sentences.append(f"Worse at {_named(worse, len(worse))}.")
    if better:
        sentences.append(f"Better at {_named(better, NAMED)}.")
    if not worse:
        sentences.append("No claim, factor or kind of failure is shown to be worse by itself.")
    sentences += [_no_harm(figures, settings), _power(figures, settings)]
    return Conclusion(verdict, _harmless(figures), _title(verdict, labels), tuple(sentences))


def _verdict(whole: Row, worse: Mapping[str, Row], better: Mapping[str, Row]) -> Verdict:
    if whole.verdict == "better":
        return "mixed" if worse else "better"
    if whole.verdict == "worse":
        return "worse"
    return "mixed" if worse or better else "no_evidence"


def _title(verdict: Verdict, labels: tuple[str, str]) -> str:
    before, after = labels
    return {
        "better": f"“{after}” fails less often than “{before}”",
        "worse": f"“{after}” fails more often than “{before}”",
        "mixed": f"“{after}” is better than “{before}” in some places and worse in others",
        "no_evidence": f"No difference between “{after}” and “{before}” is shown",
    }[verdict]


def _whole(row: Row, settings: CompareSettings, labels: tuple[str, str]) -> str:
    if row.difference is None:
        return "Nothing could be compared."
    rates = f"“{labels[1]}” fails {percent(row.rate_after, 1)} of {number(row.pairs)} claims about {number(row.images)} images"
    level = f"{100 * (1 - settings.alpha):g}{NBSP}% interval"
    return (
        f"{rates}, “{labels[0]}” {percent(row.rate_before, 1)} of the same: {points(row.difference)} "
        f"({level} {span_points(row.low, row.high)}); {number(row.better)} got right, {number(row.worse)} got wrong."
    )


def _no_harm(figures: Figures, settings: CompareSettings) -> str:
    margin = points(settings.margin, signed=False)
    if _harmless(figures):
        return f"No harm: a rise by {margin} is excluded over all, for every claim and for every kind of failure."
    groups = {"claims": figures.claims, "kinds of failure": _failures(figures), "factors": figures.factors}
    shown = []
    for name, rows in groups.items():
        compared = [row for row in rows.values() if row.no_harm is not None]
        if compared:
            shown.append(f"{sum(bool(row.no_harm) for row in compared)} of {len(compared)} {name}")
    whole = "excluded over all" if figures.whole.no_harm else "not excluded over all"
    return f"A rise by {margin} is {whole}; it is excluded for {', '.join(shown)}."


def _named(rows: Mapping[str, Row], most: int) -> str:
    """The rows with their differences, the largest first; beyond `most` only their number."""
    order = sorted(rows.items(), key=lambda one: -abs(one[1].difference or 0.0))
    named = ", ".join(f"{name} ({points(row.difference)})" for name, row in order[:most])
    return named + (f" and {len(order) - most} more" if len(order) > most else "")


def _power(figures: Figures, settings: CompareSettings) -> str:
    whole = figures.whole
    if whole.seen is None:
        return f"With {number(whole.images)} images no difference could have been shown."
    claims = [row for row in figures.claims.values() if row.seen is not None]
    said = f"With a chance of 80{NBSP}% this comparison shows a difference of {points(whole.seen, signed=False)} over all"
    if not claims:
        return f"{said}."
    each = points(max(row.seen or 0.0 for row in claims), signed=False)
    images = number(max(row.images_to_see or 0 for row in claims))
    wanted = points(settings.difference, signed=False)
    return f"{said} and of {each} for each claim; {wanted} for each claim take about {images} images."


def _rows_that(figures: Figures, verdict: str, claims: Mapping[str, str]) -> dict[str, Row]:
    rows = {f"“{claims.get(name, name)}”": row for name, row in figures.claims.items() if row.verdict == verdict}
    rows |= {f"the outcome “{words(name)}”": row for name, row in _failures(figures).items() if row.verdict == verdict}
    return rows | {f"the factor “{words(name)}”": row for name, row in figures.factors.items() if row.verdict == verdict}


def _failures(figures: Figures) -> dict[str, Row]:
    return {name: row for name, row in figures.outcomes.items() if name in FAILURES}


def _harmless(figures: Figures) -> bool:
    """A claim that could not be compared is not shown to be unharmed."""
    return all(row.no_harm for row in (figures.whole, *figures.claims.values(), *_failures(figures).values()))
