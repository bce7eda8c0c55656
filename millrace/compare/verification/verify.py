"""Every figure of a finished comparison once more, from the journals of the two probings, by code that shares nothing with the
code that wrote them: plain loops (`plain_statistics.py`) over shapes of its own (`kept_files.py`).

Covers: which pairs there are, every count, rate, difference, interval and p-value, Holm, no harm, power, the verdict, and that
the journals are those that were compared. Does not cover: that an outcome is right, which is the judge's.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.compare.verification import plain_statistics as plain
from millrace.compare.verification.kept_files import (
    LINE,
    Json,
    OutcomeKept,
    SettingsKept,
    Summary,
    claims_asked,
    decoded,
    read_summary,
)
from millrace.errors import InputError

FAILED = ("wrong", "wrong_abstain", "hallucinated", "format_error")
PASSED = ("correct", "right_abstain")
SHOWN = 20
"""Differing figures that are printed."""
TOLERANCE = 1e-9


Figure = str | bool | int | float | None
Figures = dict[str, Figure]
"""Dotted name in the summary → value."""


class Event(NamedTuple):
    """What is counted in a row, of one pair."""

    image: str
    before: bool
    after: bool


class Pair(NamedTuple):
    """Two outcomes of the same question."""

    image: str
    claim: str
    factors: frozenset[str]
    before: str
    after: str


def verify(run_dir: Path) -> tuple[list[str], bool]:
    """Compute the figures again; returns what to print, and whether all are the same.

    Raises:
        InputError: there is no finished comparison, it has another shape, or its journals are gone.
    """
    summary = read_summary(run_dir)
    claims = claims_asked(run_dir)
    shards = {name: _shards(Path(summary.kept.sides[name].folder)) for name in ("before", "after")}
    found: Figures = {}
    for name, files in shards.items():
        found[f"sides.{name}.sha256"] = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    pairs, left_out, asked = _paired(*(_outcomes(files, claims) for files in shards.values()))
    found |= {"in": len(pairs) + sum(left_out.values()), "out": len(pairs)}
    found |= {f"dropped.{reason}": count for reason, count in left_out.items()}
    flips = Counter((one.before in FAILED, one.after in FAILED) for one in pairs)
    found |= {"flips.worse": flips[False, True], "flips.better": flips[True, False]}
    found |= _figures(pairs, asked, summary.kept.settings)
    found |= {"verdict": _verdict(found), "no_harm": _harmless(found)}
    return _compared(found, summary, run_dir)


def _compared(found: Figures, summary: Summary, run_dir: Path) -> tuple[list[str], bool]:
    differing = []
    for name, value in found.items():
        written = _at(summary, name)
        if not _same(value, written):
            differing.append(f"{name}: {written} was written, {value} is computed")
    written_rows = sum(len(summary.rows(group)) for group in _GROUPS[1:])
    rows = len({name.rsplit(".", 1)[0] for name in found if name.startswith(("claims.", "factors.", "outcomes."))})
    if rows != written_rows or sum(summary.kept.dropped.values()) + summary.kept.out != summary.kept.went_in:
        differing.append(f"{written_rows} rows were written, {rows} are computed")
    if not differing:
        return [f"{run_dir}: {len(found)} figures computed again from the journals, all the same"], True
    more = [f"and {len(differing) - SHOWN} more"] if len(differing) > SHOWN else []
    return [f"{run_dir}: {len(differing)} of {len(found)} figures differ", *differing[:SHOWN], *more], False


def _shards(folder: Path) -> list[Path]:
    shards = sorted(folder.glob("shard-*.jsonl"))
    if not shards:
        raise InputError(f"the journals that were compared are no longer in {folder}")
    return shards


def _outcomes(shards: list[Path], claims: list[str]) -> list[OutcomeKept]:
    found = []
    for shard in shards:
        for number, raw in enumerate(shard.read_bytes().splitlines(), 1):
            line = decoded(raw, LINE, f"{shard}, line {number},")
            if isinstance(line, OutcomeKept) and (not claims or line.claim_id in claims):
                found.append(line)
    return found


def _question(line: OutcomeKept) -> str:
    return json.dumps([line.image.sha256, line.claim_id, line.prefilled, line.selectors], sort_keys=True)


def _paired(first: list[OutcomeKept], second: list[OutcomeKept]) -> tuple[list[Pair], Counter[str], set[str]]:
    """(pairs, why the rest was left out → how many, claims that were asked)."""
    left_out: Counter[str] = Counter()
    tables: list[dict[str, OutcomeKept]] = []
    for lines, side in ((first, "before"), (second, "after")):
        table: dict[str, OutcomeKept] = {}
        for line in lines:
            if not line.image.sha256:
                left_out[f"image_without_hash_{side}"] += 1
            elif _question(line) in table:
                left_out[f"asked_again_{side}"] += 1
            else:
                table[_question(line)] = line
        tables.append(table)
    pairs: list[Pair] = []
    for place, side in enumerate(("before", "after")):
        here, other = tables[place], tables[1 - place]
        claims_there = {line.claim_id for line in other.values()}
        images_there = {line.image.sha256 for line in other.values()}
        for question, line in here.items():
            if question in other:
                if side == "before":
                    _add(pairs, left_out, line, other[question])
                continue
            what = "claim" if line.claim_id not in claims_there else "subject" if line.image.sha256 in images_there else "image"
            left_out[f"{what}_only_{side}"] += 1
    return pairs, left_out, {line.claim_id for line in (*first, *second)}


def _add(pairs: list[Pair], left_out: Counter[str], first: OutcomeKept, second: OutcomeKept) -> None:
    unclear = [
        f"{line.outcome}_{side}" for line, side in ((first, "before"), (second, "after")) if line.outcome not in FAILED + PASSED
    ]
    if unclear:
        left_out["_".join(unclear)] += 1
        return
    pairs.append(Pair(first.image.sha256 or "", first.claim_id, frozenset(first.factors), first.outcome, second.outcome))


def _figures(pairs: list[Pair], asked: set[str], settings: SettingsKept) -> Figures:
    rows: dict[str, list[Event]] = {"whole": []}
    rows |= {f"claims.{claim}": [] for claim in sorted(asked)}
    rows |= {f"factors.{factor}": [] for factor in sorted({factor for pair in pairs for factor in pair.factors})}
    rows |= {f"outcomes.{outcome}": [] for outcome in PASSED + FAILED}
    for pair in pairs:
        failed = Event(pair.image, pair.before in FAILED, pair.after in FAILED)
        for name in ("whole", f"claims.{pair.claim}", *(f"factors.{factor}" for factor in pair.factors)):
            rows[name].append(failed)
        for outcome in PASSED + FAILED:
            rows[f"outcomes.{outcome}"].append(Event(pair.image, pair.before == outcome, pair.after == outcome))
    images = sorted({pair.image for pair in pairs})
    changes, counts = (np.zeros((len(images), len(rows))) for _ in range(2))
    number = {image: place for place, image in enumerate(images)}
    for column, events in enumerate(rows.values()):
        for image, before, after in events:
            changes[number[image], column] += after - before
            counts[number[image], column] += 1
    drawn = plain.drawn_differences(len(images), changes, counts, draws=settings.draws, seed=settings.seed)
    tests = {group: sum(bool(events) for name, events in rows.items() if name.split(".")[0] == group) for group in _GROUPS}
    found: Figures = {}
    for column, (name, events) in enumerate(rows.items()):
        group = name.split(".")[0]
        row = _row(events, drawn[:, column].tolist(), changes[:, column], counts[:, column], settings, tests[group], name)
        found |= {f"{name}.{field}": value for field, value in row.items()}
    return found | _corrected(found, list(rows), settings.alpha)


_GROUPS = ("whole", "claims", "factors", "outcomes")


def _row(
    events: list[Event],
    drawn: list[float],
    changes: NDArray[np.float64],
    counts: NDArray[np.float64],
    settings: SettingsKept,
    tests: int,
    name: str,
) -> Figures:
    n = len(events)
    before, after = sum(event.before for event in events), sum(event.after for event in events)
    up, down = (
        sum(not event.before and event.after for event in events),
        sum(event.before and not event.after for event in events),
    )
    row: Figures = {"pairs": n, "failures_before": before, "failures_after": after, "worse": up, "better": down}
    if not n:
        return row | {"images": 0, "difference": None, "low": None, "p_value": None}
    change_of, size_of = ([int(value) for value in values[counts > 0]] for values in (changes, counts))
    effect = plain.effect_of_clusters(change_of, size_of, up + down)
    alpha, margin, clusters = settings.alpha, settings.margin, len(size_of)
    few = (up / effect, down / effect, n / effect)
    low, high = plain.interval(drawn, clusters, *few, alpha / 2)
    upper = plain.interval(drawn, clusters, *few, alpha)[1]
    discordance = (up + down + 2) / (n + 4)
    needed = plain.pairs_needed(settings.difference, discordance, alpha / max(1, tests), effect)
    row |= {"images": clusters, "rate_before": before / n, "rate_after": after / n, "difference": (after - before) / n}
    row |= {"low": low, "high": high, "upper": upper, "p_value": plain.sign_test(change_of), "design_effect": effect}
    row |= {"images_to_see": math.ceil(needed / (n / clusters)), "no_harm": None, "p_no_harm": None}
    if name.removeprefix("outcomes.") not in PASSED:
        excluded = plain.pairs_to_exclude(margin, discordance, alpha, effect)
        row |= {"no_harm": upper < margin, "p_no_harm": plain.NORMAL.cdf(plain.tango(*few, margin))}
        row |= {"images_for_no_harm": math.ceil(excluded / (n / clusters))}
    return row


def _corrected(found: Figures, rows: list[str], alpha: float) -> Figures:
    more: Figures = {}
    for group in _GROUPS:
        members = [name for name in rows if name.split(".")[0] == group]
        corrected = plain.holm_by_hand({name: _number(found[f"{name}.p_value"]) for name in members})
        for name, p in corrected.items():
            more[f"{name}.p_holm"] = p
            if p is None:
                more[f"{name}.verdict"] = "not_compared"
                continue
            risen = (_number(found[f"{name}.difference"]) or 0.0) > 0
            bad = risen != (name.removeprefix("outcomes.") in PASSED)
            more[f"{name}.verdict"] = "no_evidence" if p > alpha else "worse" if bad else "better"
    return more


def _number(figure: Figure) -> float | None:
    return figure if isinstance(figure, int | float) else None


def _verdict(found: Figures) -> str:
    no_failure = {f"outcomes.{outcome}.verdict" for outcome in PASSED}
    verdicts = {name: value for name, value in found.items() if name.endswith(".verdict") and name not in no_failure}
    whole = verdicts.pop("whole.verdict")
    if whole == "better":
        return "mixed" if "worse" in verdicts.values() else "better"
    if whole == "worse":
        return "worse"
    return "mixed" if {"worse", "better"} & set(verdicts.values()) else "no_evidence"


def _harmless(found: Figures) -> bool:
    rows = {name.removesuffix(".pairs") for name in found if name.endswith(".pairs")}
    needed = [name for name in rows if not name.startswith("factors.") and name.removeprefix("outcomes.") not in PASSED]
    return all(found.get(f"{name}.no_harm") for name in needed)


def _at(summary: Summary, name: str) -> Json:
    """The figure of a dotted name; a claim's id may have dots itself."""
    group, _, rest = name.partition(".")
    if group in _GROUPS[1:]:
        member, _, field = rest.rpartition(".")
        row = summary.rows(group).get(member)
        return row.get(field) if isinstance(row, dict) else None
    value: Json = summary.whole
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _same(one: Figure, other: Json) -> bool:
    if isinstance(one, float) and isinstance(other, int | float) and not isinstance(other, bool):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(one == other)
