"""RUN_DIR/improve/report.html: the verdict at a look, what got better and worse, flips with their pictures, the protocol."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import msgspec

from millrace.errors import ItemFailed
from millrace.improve.judging.judged import Judged, Key, read_outcomes
from millrace.improve.judging.verdict import interval, points
from millrace.improve.plan import BASE, plan_hash
from millrace.records.improve import Plan
from millrace.records.outcome import FAILURES, ImagePlace, OutcomeRecord
from millrace.records.results.improve import Comparison, Difference, ImproveSummary
from millrace.run.ids import fraction_for
from millrace.run.journal import write_atomic

FLIPS_SHOWN = 6
"""Of each kind."""
PICTURE = 224
"""Pixels on a picture's longer side in the report."""
RARE = 0.05
"""A kind of image with at most this share of what was asked is called rare."""


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """One thing asked whose answer became right, or wrong, under every seed."""

    better: bool
    claim_id: str
    asked: str
    right: str
    before: str
    after: str
    picture: str | None
    """A data URL; None: the picture can no longer be read."""


def gallery_of(judged: Judged, probes: Path, models: Sequence[str], lake: Path, seed: int) -> list[Flip]:
    """Things that the base got wrong and every targeted model right, and the reverse; some of each, drawn by hash."""
    targeted = [name for name in models if name.rpartition("-")[0] == "targeted"]
    if not targeted:
        return []
    before = judged.outcomes[BASE]
    found: dict[bool, list[Key]] = {True: [], False: []}
    for place, key in enumerate(judged.keys):
        after = {judged.outcomes[name][place] in FAILURES for name in targeted}
        if len(after) == 1 and (before[place] in FAILURES) not in after:
            found[before[place] in FAILURES].append(key)
    old, new = read_outcomes(probes / BASE), read_outcomes(probes / targeted[0])
    return [
        _flip(better, old[key], new[key], lake)
        for better in (False, True)
        for key in sorted(found[better], key=lambda key: fraction_for(seed, "flip", *key[:3], key[3].decode()))[:FLIPS_SHOWN]
    ]


def _flip(better: bool, old: OutcomeRecord, new: OutcomeRecord, lake: Path) -> Flip:
    correct = old.judge.correct if old.judge is not None else {}
    return Flip(
        better=better,
        claim_id=old.claim_id,
        asked=old.claim,
        right=", ".join(correct.values()) or "does not apply",
        before=answer_in_words(old),
        after=answer_in_words(new),
        picture=_picture(old.image, lake),
    )


def answer_in_words(record: OutcomeRecord) -> str:
    """What a model said."""
    reply = record.baseline
    if reply is None:
        return "nothing"
    return ", ".join(reply.said.values()) or ("does not apply" if reply.abstained else "nothing")


def _picture(place: ImagePlace, lake: Path) -> str | None:
    from millrace.lake.images import decode_image
    from millrace.lake.parquet import stream_rows
    from millrace.lake.rows import BadRow

    file = lake if lake.is_file() else lake / place.file
    try:
        row = next(iter(stream_rows(file, [place.row], lake=lake)))
        if isinstance(row, BadRow):
            return None
        image = decode_image(row.image_bytes)
    except (ItemFailed, StopIteration, OSError):
        return None
    image.thumbnail((PICTURE, PICTURE))
    out = BytesIO()
    image.save(out, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


def write_report(
    path: Path, summary: ImproveSummary, comparisons: Sequence[Comparison], plan: Plan, flips: Sequence[Flip]
) -> None:
    """Write the page, all or nothing."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from millrace.reporting import charts

    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, charts.PAGE_PARTS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda share: charts.percent(share, 1),
        "interval": interval,
        "points": points,
        "words": charts.words,
        "number": charts.number,
        "with_slots": charts.with_slots,
    }
    by_name = {one.name: one for one in comparisons}
    page = environment.get_template("report_page.html.j2").render(
        summary=summary,
        comparisons=comparisons,
        bars={one.name: bar(one.whole, comparisons) for one in comparisons},
        data=by_name.get("data"),
        targeting=by_name.get("targeting"),
        plan=plan,
        plan_hash=plan_hash(plan),
        flips=flips,
        rare=RARE,
        answers={"helps": "helps", "harms": "harms", "no_evidence": "no evidence"},
    )
    write_atomic(path, page)


def bar(row: Difference, comparisons: Sequence[Comparison]) -> dict[str, float] | None:
    """Where an interval lies on an axis with 0 in the middle, in percent of its width."""
    if row.difference is None or row.low is None or row.high is None:
        return None
    ends = [abs(end) for one in comparisons for end in (one.whole.low, one.whole.high) if end is not None]
    reach = max([*ends, 0.01])
    left, dot, right = (50 + 50 * value / reach for value in (row.low, row.difference, row.high))
    return {"left": round(left, 2), "width": round(right - left, 2), "dot": round(dot, 2)}
