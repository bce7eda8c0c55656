"""The scaling curve: the same arms at other sizes, and how many untargeted items do the work of the targeted ones.

A size is a multiple of `improve.images`. Steps, images in a step and settings stay the same: only how much there is differs.
Sizes above 1 are trained for the untargeted arm alone, to see how far the targeted one reaches.
"""

from __future__ import annotations

from collections.abc import Sequence

from millrace.improve.figures import difference, rows_of_rare_kinds
from millrace.improve.judged import Judged
from millrace.improve.plan import BASE
from millrace.improve.sizes import SCALED, name_of
from millrace.records.improve import Hypothesis, Plan
from millrace.records.results.improve import Difference, ItemsSaved, ScalePoint


def curve(judged: Judged, plan: Plan) -> tuple[ScalePoint, ...]:
    """The failure rates at all sizes, over all images and, where there are any, on rare kinds."""
    sizes = sorted({1.0, *(plan.scaling or ())})
    ways = [("all", None), *([("rare kinds", rows_of_rare_kinds(judged, plan))] if plan.rare else [])]
    points = []
    for on, rows in ways:
        for arm in SCALED:
            for size in sizes:
                if arm not in plan.arms or (arm == "targeted" and size > 1):
                    continue
                asked = Hypothesis(name="scaling", treated=name_of(arm, size), control=BASE, expected="fewer failures")
                images = round(size * plan.images)
                points.append(
                    ScalePoint(
                        arm=arm,
                        on=on,
                        images=images,
                        records=images * plan.records_per_image,
                        against_base=difference(judged, plan, asked, judged.failed, rows),
                    )
                )
    return tuple(points)


def saved(points: Sequence[ScalePoint]) -> tuple[ItemsSaved, ...]:
    """How many untargeted records bring the failure rate down as far as all targeted ones do: read off the curve, by straight
    lines between its points, made to fall. None: not even the largest untargeted size does."""
    found = []
    for on in dict.fromkeys(point.on for point in points):
        targeted = [point for point in points if (point.on, point.arm) == (on, "targeted")]
        plain = [point for point in points if (point.on, point.arm) == (on, "untargeted")]
        if targeted and plain:
            most = max(targeted, key=lambda point: point.records)
            found.append(
                ItemsSaved(
                    on=on,
                    targeted=most.records,
                    untargeted=records_for(change_of(most.against_base), plain),
                    tried=max(point.records for point in plain),
                )
            )
    return tuple(found)


def records_for(change: float, points: Sequence[ScalePoint]) -> int | None:
    """The records at which a falling curve reaches a change of the failure rate; 0 when none is needed."""
    at, reached = 0, 0.0
    if change >= 0:
        return 0
    for point in sorted(points, key=lambda point: point.records):
        here = min(reached, change_of(point.against_base))
        if here <= change:
            return round(at + (point.records - at) * (reached - change) / (reached - here))
        at, reached = point.records, here
    return None


def change_of(row: Difference) -> float:
    """Against the base; 0 where nothing was asked."""
    return row.difference or 0.0


def sentences(found: Sequence[ItemsSaved]) -> list[str]:
    """What the curve says, in words."""
    lines = []
    for one in found:
        where = "Over all images" if one.on == "all" else f"On {one.on}"
        what = (
            f"do more than {one.tried:,} untargeted ones, the most that were tried"
            if one.untargeted is None
            else f"do the work of {one.untargeted:,} untargeted ones (read off the curve)"
        )
        lines.append(f"{where}, {one.targeted:,} targeted items {what}.")
    return lines
