"""From a question back to its picture, and on to what became of models that were trained on it: `millrace trace RUN ITEM`.

    image → outcome → selection → question → arms that contained it → claims of the same kind on test images that flipped

Reads the run's own records and nothing else. What a run has not done (no questions, no training) is said, not guessed.

Covers: items, selections, outcomes and images of a run of `full`, `probing` or `improve`, by their ids. Does not cover: training
sets in a format that keeps no ids (`openai_chat`); an image whose lake has changed since.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from millrace.errors import InputError, UsageError
from millrace.records.outcome import FAILURES, SUCCESSES

ARMS = "improve/trainings"
PROBES = "improve/probes"
BASE = "base"
DECIDED = FAILURES | SUCCESSES
"""What says something about a model."""

Line = dict[str, Any]
"""A record as it stands in its file: what is shown is text."""


def trace(run_dir: Path, wanted: str) -> list[str]:
    """The lines to print about an item, a selection, an outcome or an image.

    Raises:
        InputError: there is no run in the folder that has any.
        UsageError: the run has nothing with this id.
    """
    if not any(run_dir.glob("probing/shard-*.jsonl")):
        raise InputError(f"there are no outcomes in {run_dir}; trace works on the folder of a run of full, probing or improve")
    items = [one for one in _lines(run_dir / "qa", wanted) if wanted in {one.get("id"), one.get("trace_id"), _outcome_id(one)}]
    selected = [
        one
        for one in _lines(run_dir / "filtering", items[0]["trace_id"] if items else wanted)
        if (items and one.get("id") == items[0]["trace_id"]) or wanted in {one.get("id"), _outcome_id(one)}
    ]
    outcome_id = next((found for one in (*items, *selected) if (found := _outcome_id(one))), wanted)
    outcomes = [one for one in _lines(run_dir / "probing", outcome_id) if _is(one, outcome_id)]
    if not outcomes:
        raise UsageError(
            f"{run_dir} has no item, selection, outcome or image '{wanted}'; items stand in {run_dir / 'dataset'}, outcomes in "
            f"{run_dir / 'probing'}"
        )
    image = outcomes[0]["image"]
    lines = [f"image      {image['image_id']}  {image['file']}, row {image['row']}, sha256 {image.get('sha256')}"]
    lines += [line for one in outcomes for line in _outcome_lines(one)]
    lines += [f"selection  {one['id']}  → {one['pipeline_type']}" for one in selected] or ["selection  none: it was not selected"]
    lines += [line for one in items for line in _item_lines(one)] or ["question   none was kept about it"]
    asked = {one["id"] for one in outcomes}
    claims = {one["claim_id"] for one in outcomes}
    return [*lines, *_arm_lines(run_dir, asked, str(image.get("sha256"))), *_flip_lines(run_dir, claims)]


def _outcome_id(one: Line) -> str | None:
    found = (one.get("lineage") or {}).get("outcome_id")
    return None if found is None else str(found)


def _is(one: Line, wanted: str) -> bool:
    image = one.get("image") or {}
    return one.get("kind") == "outcome" and wanted in {one["id"], image.get("image_id"), image.get("sha256")}


def _outcome_lines(one: Line) -> list[str]:
    reply, judge = one.get("baseline") or {}, one.get("judge") or {}
    said = ", ".join((reply.get("values") or {}).values()) or ("does not apply" if reply.get("related") is False else "nothing")
    right = ", ".join((judge.get("correct") or {}).values()) or "does not apply"
    return [
        f"outcome    {one['id']}  {one['claim_id']}: {one['outcome']}",
        f"           asked: {one['claim']}",
        f"           said: {said}; right: {right} ({judge.get('kind')}, by {judge.get('by')})",
        f"           factors of the image: {', '.join(one['factors']) or 'none'}",
    ]


def _item_lines(one: Line) -> list[str]:
    checked = one.get("verification") or {}
    return [
        f"question   {one['id']}  {one['question']}",
        f"           answer: {one['answer']} ({one['answer_text']}; {checked.get('status')}, by {checked.get('by')})",
    ]


def _arm_lines(run_dir: Path, outcomes: set[str], sha256: str) -> list[str]:
    """In which training sets the record stands, or at least its picture."""
    sets = sorted(path for path in run_dir.glob(f"{ARMS}/*/*") if path.name in {"records.jsonl", "llava.json"})
    if not sets:
        return ["arms       none: no model was trained in this run on records with ids"]
    with_record: dict[str, list[str]] = {}
    with_image: dict[str, list[str]] = {}
    for path in sets:
        arm, _, number = path.parent.name.rpartition("-")
        text = path.read_bytes()
        for found, there in ((with_record, any(one.encode() in text for one in outcomes)), (with_image, sha256.encode() in text)):
            found.setdefault(arm, [])
            if there:
                found[arm].append(number)
    return [
        f"arm        {arm}: the record under {_seeds(with_record[arm])}, its picture under {_seeds(with_image[arm])}"
        for arm in sorted(with_record)
    ]


def _seeds(numbers: list[str]) -> str:
    return f"seed {', '.join(sorted(numbers, key=int))}" if numbers else "no seed"


def _flip_lines(run_dir: Path, claims: set[str]) -> list[str]:
    """What became of the same claims on the test images, arm by arm, over all its seeds."""
    if not (run_dir / PROBES / BASE).is_dir():
        return ["flips      none: no trained model was asked"]
    before = _answers(run_dir / PROBES / BASE, claims)
    counts: dict[str, list[int]] = {}
    for folder in sorted((run_dir / PROBES).iterdir()):
        if folder.is_dir() and folder.name != BASE:
            after = _answers(folder, claims)
            better, worse, asked = counts.setdefault(folder.name.rpartition("-")[0], [0, 0, 0])
            both = before.keys() & after.keys()
            better += sum(before[key] and not after[key] for key in both)
            worse += sum(after[key] and not before[key] for key in both)
            counts[folder.name.rpartition("-")[0]] = [better, worse, asked + len(both)]
    return [
        f"flips      {arm}: of {asked} answers to {', '.join(sorted(claims))} on test images {better} became right, {worse} wrong"
        for arm, (better, worse, asked) in sorted(counts.items())
    ]


def _answers(folder: Path, claims: set[str]) -> dict[tuple[str, str, str], bool]:
    """(image, claim, subject) → whether the model failed, where it was decided."""
    return {
        (one["image"]["image_id"], one["claim_id"], repr(sorted(one["prefilled"].items()))): one["outcome"] in FAILURES
        for claim in claims
        for one in _lines_in(folder, claim)
        if one.get("kind") == "outcome" and one["claim_id"] == claim and one["outcome"] in DECIDED
    }


def _lines(folder: Path, wanted: str) -> list[Line]:
    return list(_lines_in(folder, wanted))


def _lines_in(folder: Path, wanted: str) -> Iterator[Line]:
    """The records of a stage's finished shards that hold a text somewhere; the others are not read as records."""
    needle = orjson.dumps(wanted).strip(b'"')
    for path in sorted(folder.glob("shard-*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                if needle in line:
                    yield orjson.loads(line)
