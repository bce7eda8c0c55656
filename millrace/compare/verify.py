"""Every figure of a finished comparison once more, from the journals of the two probings, by code that shares nothing with the
one that wrote them: plain loops over plain JSON (`plain_statistics.py`).

Covers: which pairs there are, every count, rate, difference, interval and p-value, Holm, no harm, power, the verdict, and that
the journals are those that were compared. Does not cover: that an outcome is right, which is the judge's.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from millrace.compare import plain_statistics as plain
from millrace.errors import InputError

FAILED = ("wrong", "wrong_abstain", "hallucinated", "format_error")
PASSED = ("correct", "right_abstain")
SHOWN = 20
"""Differing figures that are printed."""
TOLERANCE = 1e-9


def verify(run_dir: Path) -> tuple[list[str], bool]:
    """Compute the figures again; returns what to print, and whether all are the same.

    Raises:
        InputError: there is no finished comparison, or its journals are gone.
    """
    try:
        summary = json.loads((run_dir / "summary.json").read_text())
        sides = {name: Path(summary["sides"][name]["folder"]) for name in ("before", "after")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run_dir} holds no finished comparison: there is no summary.json of one") from error
    claims = json.loads((run_dir / "config.json").read_text())["compare"]["claims"]
    lines = {name: _lines(folder) for name, folder in sides.items()}
    found: dict[str, Any] = {}
    for name in sides:
        found[f"sides.{name}.sha256"] = hashlib.sha256(b"".join(lines[name])).hexdigest()
    pairs, left_out, asked = _paired(*(_outcomes(lines[name], claims) for name in ("before", "after")))
    found |= {"in": len(pairs) + sum(left_out.values()), "out": len(pairs)}
    found |= {f"dropped.{reason}": count for reason, count in left_out.items()}
    flips = Counter((one["before"] in FAILED, one["after"] in FAILED) for one in pairs)
    found |= {"flips.worse": flips[False, True], "flips.better": flips[True, False]}
    found |= _figures(pairs, asked, summary["settings"])
    found |= {"verdict": _verdict(found), "no_harm": _harmless(found)}
    return _compared(found, summary, run_dir)


def _compared(found: dict[str, Any], summary: dict[str, Any], run_dir: Path) -> tuple[list[str], bool]:
    differing = []
    for name, value in found.items():
        written = _at(summary, name)
        if not _same(value, written):
            differing.append(f"{name}: {written} was written, {value} is computed")
    written_rows = sum(len(summary[group]) for group in ("claims", "factors", "outcomes"))
    rows = len({name.rsplit(".", 1)[0] for name in found if name.startswith(("claims.", "factors.", "outcomes."))})
    if rows != written_rows or sum(summary["dropped"].values()) + summary["out"] != summary["in"]:
        differing.append(f"{written_rows} rows were written, {rows} are computed")
    if not differing:
        return [f"{run_dir}: {len(found)} figures computed again from the journals, all the same"], True
    more = [f"and {len(differing) - SHOWN} more"] if len(differing) > SHOWN else []
    return [f"{run_dir}: {len(differing)} of {len(found)} figures differ", *differing[:SHOWN], *more], False


def _lines(folder: Path) -> list[bytes]:
    shards = sorted(folder.glob("shard-*.jsonl"))
    if not shards:
        raise InputError(f"the journals that were compared are no longer in {folder}")
    return [line for shard in shards for line in shard.read_bytes().splitlines(keepends=True)]


def _outcomes(lines: list[bytes], claims: list[str]) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in lines]
    return [record for record in records if record["kind"] == "outcome" and (not claims or record["claim_id"] in claims)]


def _question(record: dict[str, Any]) -> str:
    about = [record["image"]["sha256"], record["claim_id"], record["prefilled"], record["selectors"]]
    return json.dumps(about, sort_keys=True)


def _paired(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Counter[str], set[str]]:
    """(pairs, why the rest was left out → how many, claims that were asked)."""
    left_out: Counter[str] = Counter()
    tables: list[dict[str, dict[str, Any]]] = []
    for records, side in ((first, "before"), (second, "after")):
        table: dict[str, dict[str, Any]] = {}
        for record in records:
            if not record["image"]["sha256"]:
                left_out[f"image_without_hash_{side}"] += 1
            elif _question(record) in table:
                left_out[f"asked_again_{side}"] += 1
            else:
                table[_question(record)] = record
        tables.append(table)
    pairs: list[dict[str, Any]] = []
    for place, side in enumerate(("before", "after")):
        here, other = tables[place], tables[1 - place]
        claims_there = {record["claim_id"] for record in other.values()}
        images_there = {record["image"]["sha256"] for record in other.values()}
        for question, record in here.items():
            if question in other:
                if side == "before":
                    _add(pairs, left_out, record, other[question])
                continue
            claim, image = record["claim_id"], record["image"]["sha256"]
            what = "claim" if claim not in claims_there else "subject" if image in images_there else "image"
            left_out[f"{what}_only_{side}"] += 1
    return pairs, left_out, {record["claim_id"] for record in (*first, *second)}


def _add(pairs: list[dict[str, Any]], left_out: Counter[str], first: dict[str, Any], second: dict[str, Any]) -> None:
    unclear = [
        f"{record['outcome']}_{side}"
        for record, side in ((first, "before"), (second, "after"))
        if record["outcome"] not in FAILED + PASSED
    ]
    if unclear:
        left_out["_".join(unclear)] += 1
        return
    kept = {"image": first["image"]["sha256"], "claim": first["claim_id"], "factors": set(first["factors"])}
    pairs.append({**kept, "before": first["outcome"], "after": second["outcome"]})


def _figures(pairs: list[dict[str, Any]], asked: set[str], settings: dict[str, Any]) -> dict[str, Any]:
    rows: dict[str, list[tuple[str, bool, bool]]] = {"whole": []}
    rows |= {f"claims.{claim}": [] for claim in sorted(asked)}
    rows |= {f"factors.{factor}": [] for factor in sorted({factor for pair in pairs for factor in pair["factors"]})}
    rows |= {f"outcomes.{outcome}": [] for outcome in PASSED + FAILED}
    for pair in pairs:
        failed = (pair["image"], pair["before"] in FAILED, pair["after"] in FAILED)
        for name in ("whole", f"claims.{pair['claim']}", *(f"factors.{factor}" for factor in pair["factors"])):
            rows[name].append(failed)
        for outcome in PASSED + FAILED:
            rows[f"outcomes.{outcome}"].append((pair["image"], pair["before"] == outcome, pair["after"] == outcome))
    images = sorted({pair["image"] for pair in pairs})
    changes, counts = (np.zeros((len(images), len(rows))) for _ in range(2))
    number = {image: place for place, image in enumerate(images)}
    for column, events in enumerate(rows.values()):
        for image, before, after in events:
            changes[number[image], column] += after - before
            counts[number[image], column] += 1
    drawn = plain.drawn_differences(len(images), changes, counts, draws=settings["draws"], seed=settings["seed"])
    tests = {group: sum(bool(events) for name, events in rows.items() if name.split(".")[0] == group) for group in _GROUPS}
    found: dict[str, Any] = {}
    for column, (name, events) in enumerate(rows.items()):
        group = name.split(".")[0]
        row = _row(events, drawn[:, column].tolist(), changes[:, column], counts[:, column], settings, tests[group], name)
        found |= {f"{name}.{field}": value for field, value in row.items()}
    return found | _corrected(found, rows, settings["alpha"])


_GROUPS = ("whole", "claims", "factors", "outcomes")


def _row(
    events: list[tuple[str, bool, bool]],
    drawn: list[float],
    changes: Any,
    counts: Any,
    settings: dict[str, Any],
    tests: int,
    name: str,
) -> dict[str, Any]:
    n = len(events)
    before, after = sum(event[1] for event in events), sum(event[2] for event in events)
    up, down = sum(not event[1] and event[2] for event in events), sum(event[1] and not event[2] for event in events)
    row: dict[str, Any] = {"pairs": n, "failures_before": before, "failures_after": after, "worse": up, "better": down}
    if not n:
        return row | {"images": 0, "difference": None, "low": None, "p_value": None}
    change_of, size_of = ([int(value) for value in values[counts > 0]] for values in (changes, counts))
    effect = plain.effect_of_clusters(change_of, size_of, up + down)
    alpha, margin, clusters = settings["alpha"], settings["margin"], len(size_of)
    few = (up / effect, down / effect, n / effect)
    low, high = plain.interval(drawn, clusters, *few, alpha / 2)
    upper = plain.interval(drawn, clusters, *few, alpha)[1]
    discordance = (up + down + 2) / (n + 4)
    needed = plain.pairs_needed(settings["difference"], discordance, alpha / max(1, tests), effect)
    row |= {"images": clusters, "rate_before": before / n, "rate_after": after / n, "difference": (after - before) / n}
    row |= {"low": low, "high": high, "upper": upper, "p_value": plain.sign_test(change_of), "design_effect": effect}
    row |= {"images_to_see": math.ceil(needed / (n / clusters)), "no_harm": None, "p_no_harm": None}
    if name.removeprefix("outcomes.") not in PASSED:
        excluded = plain.pairs_to_exclude(margin, discordance, alpha, effect)
        row |= {"no_harm": upper < margin, "p_no_harm": plain.NORMAL.cdf(plain.tango(*few, margin))}
        row |= {"images_for_no_harm": math.ceil(excluded / (n / clusters))}
    return row


def _corrected(found: dict[str, Any], rows: dict[str, Any], alpha: float) -> dict[str, Any]:
    more: dict[str, Any] = {}
    for group in _GROUPS:
        members = [name for name in rows if name.split(".")[0] == group]
        corrected = plain.holm_by_hand({name: found[f"{name}.p_value"] for name in members})
        for name, p in corrected.items():
            more[f"{name}.p_holm"] = p
            if p is None:
                more[f"{name}.verdict"] = "not_compared"
                continue
            bad = (found[f"{name}.difference"] > 0) != (name.removeprefix("outcomes.") in PASSED)
            more[f"{name}.verdict"] = "no_evidence" if p > alpha else "worse" if bad else "better"
    return more


def _verdict(found: dict[str, Any]) -> str:
    no_failure = {f"outcomes.{outcome}.verdict" for outcome in PASSED}
    verdicts = {name: value for name, value in found.items() if name.endswith(".verdict") and name not in no_failure}
    whole = verdicts.pop("whole.verdict")
    if whole == "better":
        return "mixed" if "worse" in verdicts.values() else "better"
    if whole == "worse":
        return "worse"
    return "mixed" if {"worse", "better"} & set(verdicts.values()) else "no_evidence"


def _harmless(found: dict[str, Any]) -> bool:
    rows = {name.removesuffix(".pairs") for name in found if name.endswith(".pairs")}
    needed = [name for name in rows if not name.startswith("factors.") and name.removeprefix("outcomes.") not in PASSED]
    return all(found.get(f"{name}.no_harm") for name in needed)


def _at(summary: dict[str, Any], name: str) -> Any:
    """The figure of a dotted name; a claim's id may have dots itself."""
    group, _, rest = name.partition(".")
    if group in {"claims", "factors", "outcomes"}:
        member, _, field = rest.rpartition(".")
        return summary[group].get(member, {}).get(field)
    value: Any = summary
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, int | float) and not isinstance(other, bool):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(one == other)
