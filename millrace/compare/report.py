"""RUN_DIR/report.html of a comparison: is it better, where is it worse, how surely, on one page that needs nothing else.

The page has the look of the main job's report and its rules: no script, no request, all text escaped, pictures decoded and
encoded anew, unknown is said in words.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from millrace.compare.figures import Figures
from millrace.compare.gallery import Flip
from millrace.compare.settings import CompareSettings
from millrace.lake.annotations import factor_words
from millrace.records.outcome import FAILURES
from millrace.records.results.compare import Row, SideFacts
from millrace.reporting import charts
from millrace.reporting.full_report import OUTCOMES, picture_uri
from millrace.run.journal import write_atomic


class ReportData(msgspec.Struct, frozen=True):
    """Everything that the page shows."""

    title: str
    verdict: str
    no_harm: bool
    sentences: tuple[str, ...]
    created: str
    labels: tuple[str, str]
    figures: Figures
    names: dict[str, str]
    """Claim id → name, as far as known."""
    asks: dict[str, str]
    """Claim id → sentence with its slots."""
    flips: tuple[Flip, ...]
    flips_found: dict[str, int]
    """`worse`, `better` → how many there are."""
    asked: int
    left_out: dict[str, int]
    left_out_file: str
    sides: dict[str, SideFacts]
    differing: tuple[tuple[str, str, str], ...]
    """Settings of the two probings that differ: (name, before, after)."""
    settings: CompareSettings
    versions: dict[str, str]


class Line(msgspec.Struct, frozen=True):
    """One row of a forest plot."""

    name: str
    sub: str
    row: Row
    dot: float
    left: float
    width: float
    """Percent of the axis."""


def write_report(data: ReportData, path: Path) -> Path:
    """Write the report to `path`, all at once, and return the path."""
    write_atomic(path, render(data))
    return path


def render(data: ReportData) -> str:
    """The page."""
    figures = data.figures
    claims = _sorted(figures.claims)
    rows = [figures.whole, *figures.claims.values(), *figures.factors.values(), *figures.outcomes.values()]
    ends = [end for row in rows[: 1 + len(figures.claims)] for end in (row.low, row.high) if end is not None]
    axis = charts.signed_axis_for([*ends, data.settings.margin])
    other = [end for row in rows[1 + len(figures.claims) :] for end in (row.low, row.high) if end is not None]
    other_axis = charts.signed_axis_for([*other, data.settings.margin])
    return _template().render(
        data=data,
        whole=_line("All claims", f"{charts.number(figures.whole.images)} images", figures.whole, axis),
        claims=[_line(data.names.get(claim, claim), data.asks.get(claim, ""), row, axis) for claim, row in claims.items()],
        factors=[
            _line(charts.words(name), factor_words(name), row, other_axis) for name, row in _sorted(figures.factors).items()
        ],
        outcomes=[
            _line(charts.words(name), OUTCOMES[name], row, other_axis)
            for name, row in figures.outcomes.items()
            if name in FAILURES or row.failures_before or row.failures_after
        ],
        axis=axis,
        other_axis=other_axis,
        margin=data.settings.margin,
        gallery={
            kind: [(flip, picture_uri(flip.image)) for flip in data.flips if flip.kind == kind] for kind in ("worse", "better")
        },
        failures=FAILURES,
    )


def p_words(p: float | None) -> str:
    """0.0341 as `0.034`, what is smaller than 0.001 as `< 0.001`."""
    return charts.UNKNOWN if p is None else f"<{charts.NBSP}0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_of(p: float | None) -> str:
    """`p = 0.034`, `p < 0.001`."""
    text = p_words(p)
    return f"p{charts.NBSP}{text}" if text.startswith("<") else f"p{charts.NBSP}={charts.NBSP}{text}"


def span(row: Row) -> str:
    """`−9.1 to −1.3 points`."""
    return charts.span_points(row.low, row.high)


def _sorted(rows: dict[str, Row]) -> dict[str, Row]:
    """What got worse first; what was not compared last."""
    return dict(sorted(rows.items(), key=lambda one: (-(one[1].difference if one[1].difference is not None else -2.0), one[0])))


def _line(name: str, sub: str, row: Row, axis: charts.SignedAxis) -> Line:
    if row.difference is None or row.low is None or row.high is None:
        return Line(name, sub, row, 0.0, 0.0, 0.0)
    left, right = axis.place(row.low), axis.place(row.high)
    return Line(name, sub, row, axis.place(row.difference), left, round(right - left, 2))


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, charts.PAGE_PARTS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=charts.percent,
        number=charts.number,
        points=charts.points,
        words=charts.words,
        slots=charts.with_slots,
        p_words=p_words,
        p_of=p_of,
        span=span,
    )
    environment.globals.update(unknown=charts.UNKNOWN)
    return environment.get_template("report_page.html.j2")
