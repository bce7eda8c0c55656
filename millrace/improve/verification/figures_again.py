"""Every figure of a finished run once more, from its journals, with code that shares nothing with what wrote them.

Covers: the plan's hash, the sizes of the training sets and that no test image is in them, every rate, difference, interval, test
and answer in `summary.json`. Does not cover: the crossed bootstrap (its draws are another's), intervals where every image changed
alike, and whether the models were trained as the plan says.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from millrace.errors import InputError
from millrace.improve.verification.statistics_again import Again, difference_again, holm_again

WRONG = ("wrong", "wrong_abstain", "hallucinated", "format_error")
RIGHT = ("correct", "right_abstain")
CLOSE = 1e-6
CLOSE_CHANCE = 1e-4
"""Of p-values: Simpson's rule against a library's series."""

Table = dict[str, dict[str, Any]]


class Checker:
    """Counts what was compared and keeps what differs."""

    def __init__(self) -> None:
        self.checked = 0
        self.differing: list[str] = []

    def same(self, what: str, kept: Any, again: Any, tolerance: float = CLOSE) -> None:
        """Compare two values; numbers may differ by a tolerance."""
        self.checked += 1
        numbers = isinstance(kept, int | float) and isinstance(again, int | float) and not isinstance(kept, bool)
        if not (abs(kept - again) <= tolerance if numbers else kept == again):
            self.differing.append(f"{what}: {kept} there, {again} from the journals")


def differing_figures(run_dir: Path) -> tuple[int, list[str]]:
    """(figures compared, a line for each that differs).

    Raises:
        InputError: there is no finished run.
    """
    folder = run_dir / "improve"
    summary, plan = _json(folder / "summary.json"), _json(folder / "plan.json")
    check = Checker()
    _check_plan(check, run_dir, plan, summary)
    _check_sets(check, folder, plan)
    tables = {path.name: _outcomes(path) for path in sorted((folder / "probes").iterdir()) if path.is_dir()}
    together = [key for key in tables["base"] if all(key in table for table in tables.values())]
    check.same("images", summary["images"], len({key.split("\n")[0] for key in together}))
    check.same("out", summary["out"], len(together))
    for model, kept in summary["rates"].items():
        rate = sum(tables[model][key]["outcome"] in WRONG for key in together) / len(together)
        check.same(f"the failure rate of {model}", kept, rate)
    for comparison in summary["comparisons"]:
        _check_comparison(check, comparison, plan, tables, together)
    _check_answers(check, summary)
    return check.checked, check.differing


def _check_plan(check: Checker, run_dir: Path, plan: dict[str, Any], summary: dict[str, Any]) -> None:
    text = json.dumps([plan], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = re.sub(r"(?<=\d)e-0(\d)", r"e-\1", text)
    again = f"plan_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    check.same("the plan's hash", summary["plan"], again)
    manifest = _json(run_dir / "manifest.json")
    check.same("the plan's hash in the manifest", manifest["flows"]["improve"].get("plan"), again)


def _check_sets(check: Checker, folder: Path, plan: dict[str, Any]) -> None:
    test = {image["sha256"] for image in plan["test"]}
    for path in sorted((folder / "trainings").glob("*/records.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        images = {line["sha256"] for line in lines}
        check.same(f"records of {path.parent.name}", plan["images"] * plan["records_per_image"], len(lines))
        check.same(f"images of {path.parent.name}", plan["images"], len(images))
        check.same(f"test images in {path.parent.name}", 0, len(images & test))
        check.same(f"tuning images in {path.parent.name}", 0, len(images & set(plan["tuning"])))


def _outcomes(folder: Path) -> Table:
    found = {}
    for shard in sorted(folder.glob("shard-*.jsonl")):
        for record in _lines(shard):
            if record["kind"] == "outcome" and record["outcome"] in WRONG + RIGHT:
                image = record["image"]
                subject = json.dumps(record["prefilled"], sort_keys=True)
                found[f"{image['sha256']} {image['image_id']}\n{record['claim_id']}\n{subject}"] = record
    return found


def _check_comparison(
    check: Checker, kept: dict[str, Any], plan: dict[str, Any], tables: dict[str, Table], together: list[str]
) -> None:
    name = kept["name"]
    base = tables["base"]

    def again(rows: list[str], counted: tuple[str, ...]) -> Again | None:
        asked: dict[str, int] = {}
        for key in rows:
            image = key.split("\n")[0]
            asked[image] = asked.get(image, 0) + 1
        sides = []
        for arm in (kept["treated"], kept["control"]):
            models = ["base" if arm == "base" else f"{arm}-{number}" for number in plan["seeds"]]
            sides.append([_events(tables[model], rows, counted) for model in models])
        return difference_again(sides[0], sides[1], asked, plan["level"], plan["margin"])

    whole = again(together, WRONG)
    _check_row(check, name, kept["whole"], whole)
    if whole is not None and whole.low is not None and whole.high is not None:
        expected = {
            "fewer failures": whole.high < 0,
            "not fewer failures": whole.high >= 0,
            "no difference": whole.low <= 0 <= whole.high,
        }
        check.same(f"{name}: as expected", kept["as_expected"], expected[kept["expected"]])
    members = {
        "claims": {row: [key for key in together if base[key]["claim_id"] == row] for row in kept["claims"]},
        "factors": {row: [key for key in together if row in base[key]["factors"]] for row in kept["factors"]},
        "outcomes": dict.fromkeys(kept["outcomes"], together),
    }
    for group, rows in members.items():
        found = {row: again(keys, (row,) if group == "outcomes" else WRONG) for row, keys in rows.items()}
        # a row in which nothing changed has no variance to test by; it counts among the tests, and shows no harm
        tested = {row: None if one is None else 1.0 if one.p_above is None else one.p_above for row, one in found.items()}
        chances = holm_again(tested)
        for row, one in found.items():
            _check_row(check, f"{name}, {row}", kept[group][row], one)
            if one is not None and one.p_above is not None:
                there, again_p = (min(p, 0.5) for p in (kept[group][row]["p_harm"], chances[row] or 0.0))
                check.same(f"{name}, {row}: p of harm, if below a half", there, again_p, CLOSE_CHANCE)
                check.same(f"{name}, {row}: worse", kept[group][row]["worse"], (chances[row] or 0.0) <= plan["level"])


def _check_row(check: Checker, name: str, kept: dict[str, Any], again: Again | None) -> None:
    check.same(f"{name}: difference", kept["difference"], again.difference if again else None)
    if again is None:
        return
    for place, (one, other) in enumerate(zip(kept["by_seed"], again.by_seed, strict=True)):
        check.same(f"{name}: difference of seed {place}", one, other)
    if again.low is None:
        return
    for field in ("low", "high", "upper"):
        check.same(f"{name}: {field}", kept[field], getattr(again, field), CLOSE_CHANCE)
    check.same(f"{name}: p", kept["p_value"], again.p_value, CLOSE_CHANCE)


def _check_answers(check: Checker, summary: dict[str, Any]) -> None:
    """The verdicts from the rows that are kept: those were compared with the journals above."""
    by_name = {one["name"]: one for one in summary["comparisons"]}
    controls = all(one["as_expected"] is True for one in summary["comparisons"] if one["expected"] != "fewer failures")
    for name, field in (("data", "verdict"), ("targeting", "targeting")):
        one = by_name.get(name)
        again = "no_evidence"
        if one is not None:
            low, high = one["whole"]["low"], one["whole"]["high"]
            worse = any(row["worse"] for group in ("claims", "factors", "outcomes") for row in one[group].values())
            if worse or (low is not None and low > 0):
                again = "harms"
            elif controls and high is not None and high < 0:
                again = "helps"
        check.same(f"the answer '{field}'", summary[field], again)


def _events(table: Table, rows: list[str], counted: tuple[str, ...]) -> dict[str, int]:
    events: dict[str, int] = {}
    for key in rows:
        if table[key]["outcome"] in counted:
            image = key.split("\n")[0]
            events[image] = events.get(image, 0) + 1
    return events


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"there is no finished proof in {path.parent.parent}: {path} is missing; run flows.improve") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error})") from error
    return value
