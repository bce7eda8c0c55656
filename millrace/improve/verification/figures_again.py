"""Every figure of a finished run once more, from its journals, with code that shares nothing with what wrote them.

Covers: the plan's hash, the sizes of the training sets and that no test image is in them, every rate, difference, interval, test
and answer in `summary.json`. Does not cover: the crossed bootstrap (its draws are another's), intervals where every image changed
alike, and whether the models were trained as the plan says.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import cast

from millrace.improve.verification.kept_files import (
    ComparisonKept,
    DroppedLine,
    ManifestFile,
    OutcomeLine,
    PlanFile,
    RowKept,
    SummaryFile,
    TestImage,
    TrainingLine,
    lines_of,
    one_of,
)
from millrace.improve.verification.statistics_again import Again, difference_again, holm_again

WRONG = ("wrong", "wrong_abstain", "hallucinated", "format_error")
RIGHT = ("correct", "right_abstain")
CLOSE = 1e-6
CLOSE_CHANCE = 1e-4
"""Of p-values: Simpson's rule against a library's series."""

Value = str | bool | int | float | None
"""A figure, or a word for one."""

Table = dict[str, OutcomeLine]
"""What was asked, in words → its outcome."""

LINE = cast("type[OutcomeLine | DroppedLine]", OutcomeLine | DroppedLine)


class Checker:
    """Counts what was compared and keeps what differs."""

    def __init__(self) -> None:
        self.checked = 0
        self.differing: list[str] = []

    def same(self, what: str, kept: Value, again: Value, tolerance: float = CLOSE) -> None:
        """Compare two values; numbers may differ by a tolerance."""
        self.checked += 1
        if isinstance(kept, int | float) and isinstance(again, int | float) and not isinstance(kept, bool):
            agree = abs(kept - again) <= tolerance
        else:
            agree = kept == again
        if not agree:
            self.differing.append(f"{what}: {kept} there, {again} from the journals")


def differing_figures(run_dir: Path) -> tuple[int, list[str]]:
    """(figures compared, a line for each that differs).

    Raises:
        InputError: there is no finished run.
    """
    folder = run_dir / "improve"
    summary, plan = one_of(folder / "summary.json", SummaryFile), one_of(folder / "plan.json", PlanFile)
    check = Checker()
    _check_plan(check, run_dir, summary.plan)
    _check_sets(check, folder, plan)
    tables = _tables(folder / "probes", plan.test)
    together = [key for key in tables["base"] if all(key in table for table in tables.values())]
    check.same("images", summary.images, len({key.split("\n")[0] for key in together}))
    check.same("out", summary.out, len(together))
    for model, kept in summary.rates.items():
        rate = sum(tables[model][key].outcome in WRONG for key in together) / len(together)
        check.same(f"the failure rate of {model}", kept, rate)
    rare = [key for key in together if any(factor in plan.rare for factor in tables["base"][key].factors)]
    for comparison in summary.comparisons:
        _check_comparison(check, comparison, plan, tables, rare if comparison.on == "rare kinds" else together)
    for point in summary.scaling:
        size = point.images / plan.images
        arm = point.arm if size == 1 else f"{point.arm}_x{size:g}".replace(".", "p")
        rows = rare if point.on == "rare kinds" else together
        check.same(f"records of {arm}", point.records, point.images * plan.records_per_image)
        _check_row(check, f"{arm} on {point.on}", point.against_base, _again((arm, "base"), plan, tables, rows, WRONG))
    _check_cells(check, summary, plan, folder / "cells")
    _check_answers(check, summary, plan.level)
    return check.checked, check.differing


def _check_plan(check: Checker, run_dir: Path, kept: str) -> None:
    plan = json.loads((run_dir / "improve" / "plan.json").read_text(encoding="utf-8"))
    text = json.dumps([plan], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = re.sub(r"(?<=\d)e-0(\d)", r"e-\1", text)
    again = f"plan_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    check.same("the plan's hash", kept, again)
    noted = one_of(run_dir / "manifest.json", ManifestFile).flows.get("improve")
    check.same("the plan's hash in the manifest", noted.plan if noted else None, again)


def _check_sets(check: Checker, folder: Path, plan: PlanFile) -> None:
    test = {image.sha256 for image in (*plan.test, *plan.new_scenes)}
    for path in sorted((folder / "trainings").glob("*/records.jsonl")):
        lines = list(lines_of(path, TrainingLine))
        images = {line.sha256 for line in lines}
        sized = re.search(r"_x(\d+(?:p\d+)?)-\d+$", path.parent.name)
        wanted = round(float(sized[1].replace("p", ".")) * plan.images) if sized else plan.images
        check.same(f"records of {path.parent.name}", wanted * plan.records_per_image, len(lines))
        check.same(f"images of {path.parent.name}", wanted, len(images))
        check.same(f"test images in {path.parent.name}", 0, len(images & test))
        check.same(f"tuning images in {path.parent.name}", 0, len(images & set(plan.tuning)))


def _tables(folder: Path, images: list[TestImage]) -> dict[str, Table]:
    """By model: what was asked about the plan's images."""
    planned = {image.sha256 for image in images}
    return {
        path.name: {key: line for key, line in _outcomes(path).items() if line.image.sha256 in planned}
        for path in sorted(folder.iterdir())
        if path.is_dir()
    }


def _outcomes(folder: Path) -> Table:
    found = {}
    for shard in sorted(folder.glob("shard-*.jsonl")):
        for line in lines_of(shard, LINE):
            if isinstance(line, OutcomeLine) and line.outcome in WRONG + RIGHT:
                subject = json.dumps(line.prefilled, sort_keys=True)
                found[f"{line.image.sha256} {line.image.image_id}\n{line.claim_id}\n{subject}"] = line
    return found


def _check_comparison(
    check: Checker, kept: ComparisonKept, plan: PlanFile, tables: dict[str, Table], together: list[str]
) -> None:
    name = kept.name
    base = tables["base"]

    def again(rows: list[str], counted: tuple[str, ...]) -> Again | None:
        return _again((kept.treated, kept.control), plan, tables, rows, counted)

    whole = again(together, WRONG)
    _check_row(check, name, kept.whole, whole)
    if whole is not None and whole.low is not None and whole.high is not None:
        expected = {
            "fewer failures": whole.high < 0,
            "not fewer failures": whole.high >= 0,
            "no difference": whole.low <= 0 <= whole.high,
        }
        check.same(f"{name}: as expected", kept.as_expected, expected[kept.expected])
    members = {
        "claims": {row: [key for key in together if base[key].claim_id == row] for row in kept.claims},
        "factors": {row: [key for key in together if row in base[key].factors] for row in kept.factors},
        "outcomes": dict.fromkeys(kept.outcomes, together),
    }
    for group, rows in members.items():
        found = {row: again(keys, (row,) if group == "outcomes" else WRONG) for row, keys in rows.items()}
        # a row in which nothing changed has no variance to test by; it counts among the tests, and shows no harm
        tested = {row: None if one is None else 1.0 if one.p_above is None else one.p_above for row, one in found.items()}
        chances = holm_again(tested)
        for row, one in found.items():
            there, chance = kept.groups[group][row], chances[row] or 0.0
            _check_row(check, f"{name}, {row}", there, one)
            if one is not None and one.p_above is not None:
                halved = None if there.p_harm is None else min(there.p_harm, 0.5)
                check.same(f"{name}, {row}: p of harm, if below a half", halved, min(chance, 0.5), CLOSE_CHANCE)
                check.same(f"{name}, {row}: worse", there.worse, chance <= plan.level)


def _again(
    arms: tuple[str, str], plan: PlanFile, tables: dict[str, Table], rows: list[str], counted: tuple[str, ...]
) -> Again | None:
    asked: dict[str, int] = {}
    for key in rows:
        image = key.split("\n")[0]
        asked[image] = asked.get(image, 0) + 1
    sides = []
    for arm in arms:
        models = ["base" if arm == "base" else f"{arm}-{number}" for number in plan.seeds]
        sides.append([_events(tables[model], rows, counted) for model in models])
    return difference_again(sides[0], sides[1], asked, plan.level, plan.margin)


def _check_cells(check: Checker, summary: SummaryFile, plan: PlanFile, folder: Path) -> None:
    """The differences on new scenes and in new wording."""
    arms = {one.name: (one.treated, one.control) for one in summary.comparisons}
    for cell, rows in summary.cells.items():
        place = folder / cell.replace(", ", "_").replace(" ", "_")
        tables = _tables(place, plan.new_scenes if cell.startswith("new scenes") else plan.test)
        together = [key for key in tables["base"] if all(key in table for table in tables.values())]
        for name, kept in rows.items():
            _check_row(check, f"{name}, {cell}", kept, _again(arms[name], plan, tables, together, WRONG))


def _check_row(check: Checker, name: str, kept: RowKept, again: Again | None) -> None:
    check.same(f"{name}: difference", kept.difference, again.difference if again else None)
    if again is None:
        return
    for place, (one, other) in enumerate(zip(kept.by_seed, again.by_seed, strict=True)):
        check.same(f"{name}: difference of seed {place}", one, other)
    if again.low is None:
        return
    for field in ("low", "high", "upper"):
        check.same(f"{name}: {field}", getattr(kept, field), getattr(again, field), CLOSE_CHANCE)
    check.same(f"{name}: p", kept.p_value, again.p_value, CLOSE_CHANCE)


def _check_answers(check: Checker, summary: SummaryFile, level: float) -> None:
    """The verdicts from the rows that are kept: those were compared with the journals above."""
    by_name = {one.name: one for one in summary.comparisons}
    controls = all(one.as_expected is True for one in summary.comparisons if one.expected != "fewer failures")
    for name, field, answer in (("data", "verdict", summary.verdict), ("targeting", "targeting", summary.targeting)):
        names = [name, "targeting, rare kinds"] if name == "targeting" else [name]
        asked = [by_name[one] for one in names if one in by_name] if name in by_name else []
        worse = any(row.worse for one in asked for rows in one.groups.values() for row in rows.values())
        more = any(one.whole.low is not None and one.whole.low > 0 for one in asked)
        if len(asked) > 1:
            chances = holm_again({one.name: one.whole.p_value for one in asked})
            fewer = any(
                one.whole.difference is not None and one.whole.difference < 0 and (chances[one.name] or 0.0) <= level
                for one in asked
                if chances[one.name] is not None
            )
        else:
            fewer = any(one.whole.high is not None and one.whole.high < 0 for one in asked)
        again = "harms" if worse or more else "helps" if controls and fewer else "no_evidence"
        check.same(f"the answer '{field}'", answer, again)


def _events(table: Table, rows: list[str], counted: tuple[str, ...]) -> dict[str, int]:
    events: dict[str, int] = {}
    for key in rows:
        if table[key].outcome in counted:
            image = key.split("\n")[0]
            events[image] = events.get(image, 0) + 1
    return events
