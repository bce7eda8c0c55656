"""A new kind of claim is three files: added to a copy of the package, it is probed, asked about and verified."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

KIND = """
from millrace.digits.geometry import centre_of, members, one_value
from millrace.digits.references import ALL_LABELS, category_words
from millrace.probing.annotated import UNCLEAR
from millrace.qa.annotated import Reading

CLAIM, PIPELINE, ASPECTS = "fuller_half", "fuller_half_of_digits", {"HALF": "fuller"}
SUBJECT = {"OBJECT_TYPE": category_words}

def subjects(scene, rng, *, answerable):
    return iter([{"OBJECT_TYPE": {}}] if answerable else [])

def truth(scene, selectors):
    found = members(scene, selectors["OBJECT_TYPE"])
    places = [centre_of(digit, scene)[0] for digit in found or ()]
    left, right = sum(place < 0.45 for place in places), sum(place > 0.55 for place in places)
    if left == right or left + right < len(places):
        return UNCLEAR
    return one_value("HALF", "left" if left > right else "right")

def readings(scene, selectors, truth):
    right = truth.correct["HALF"]
    return [Reading("fuller", "fuller", (right,), {"left" if right == "right" else "right": "other_half"}, sole=True)]

def read_answer(slot, text):
    return next((half for half in ("left", "right") if half in text), None)

def read_value(aspect, text):
    return read_answer("HALF", text)
"""

WORDINGS = """
pipelines:
  fuller_half_of_digits:
    {intent: fuller_half, description: The half with more digits., answer_type: half, slots: {HALF: fuller}}
en:
  none: {fuller: there is no digit}
  questions:
    fuller:
      fill_in_blank: ["Complete with a side: of the {kind}, more are in the ____ half of the picture."]
      yes_no: ["Are more of the {kind} in the {value} half of the picture than in the other?"]
  explanations: {fuller: "Of the {kind}, more are in the {value} half."}
"""

VERIFIER = """
from millrace.digits.verifiers import Checks, those
from millrace.digits.verifiers._reading import one_of

HALVES = {"left": ("left",), "right": ("right",)}

def holds(evidence, selectors, value):
    places = [mark.x / evidence.width for mark in those(evidence, selectors["OBJECT_TYPE"])]
    left, right = sum(place < 0.5 for place in places), sum(place >= 0.5 for place in places)
    return None if left == right else value == ("left" if left > right else "right")

CHECKS = {"fuller": Checks(lambda said: one_of(said, HALVES), holds, rivals=tuple(HALVES))}
"""

CLAIMS = """
version: "1"
claims:
  - claim_id: fuller_half
    name: The fuller half
    capability: distribution
    target_failure_id: FR_HALF
    claim_template: Of the [OBJECT_TYPE], more are in the [HALF] half of the picture.
    prefill_slots: [OBJECT_TYPE]
    slots:
      OBJECT_TYPE: {type: object_category}
      HALF: {type: spatial_descriptor, values: [left, right]}
failure_reasons:
  - {failure_id: FR_HALF, failure_category: distribution, failure_name: names the emptier half}
"""

PROGRAM = """
from pathlib import Path
from millrace.digits.lake_build import build_lake
from millrace.filtering.routing import parse_routes
from millrace.filtering.selection_shards import selection_record
from millrace.lake.parquet import stream_rows
from millrace.probing.baselines import baseline_settings, open_baseline
from millrace.probing.claims import load_claims
from millrace.probing.judges import judge_settings, open_judge
from millrace.probing.ranks.probe_unit import Probe, probe_row
from millrace.qa.checking.check_shards import check_shard
from millrace.qa.settings import QaSettings
from millrace.qa.writing.write_shards import plan_questions, survey_shard, write_shard
from millrace.run.journal import read_jsonl, write_jsonl

lake = Path("lake")
build_lake(lake, images=40, pool="probe", seed=3)
row = {"failure_id": "FR_HALF", "pipeline_type": "fuller_half_of_digits", "pipeline_name": "Fuller half"}
routes = parse_routes({"version": "1", "pipelines": [row]}, where="here")
guesser = open_baseline(baseline_settings({"name": "guess"}))
probe = Probe(load_claims("claims.yaml"), guesser, open_judge(judge_settings({})), lake, 1, 0.0)
rows = [one for file in sorted(lake.glob("*.parquet")) for one in stream_rows(file, lake=lake)]
records = [record for one in rows for record in probe_row(probe, one)]
failures = [record for record in records if getattr(record, "failure_id", None)]
assert len(failures) >= 3, records
assert {record.judge.kind for record in failures} == {"verified"}
write_jsonl(Path("selection.jsonl"), [selection_record(one, sample_index=n, routes=routes) for n, one in enumerate(failures)])
qa = QaSettings(blind_check="report", items_per_failure=2)
plan = plan_questions([survey_shard(Path("selection.jsonl"), lake, qa)], qa)
write_shard(Path("selection.jsonl"), Path("written.jsonl"), lake, qa, plan)
check_shard(Path("written.jsonl"), None, Path("checked.jsonl"), Path("rejected.jsonl"), lake, qa)
items = list(read_jsonl(Path("checked.jsonl")))
assert {item["pipeline_name"] for item in items} == {"fuller_half_of_digits"}, list(read_jsonl(Path("rejected.jsonl")))
assert {item["verification"]["status"] for item in items} == {"verified"}
assert {item["question_type"] for item in items} == {"fill_in_blank", "yes_no"}
"""


@pytest.mark.slow
def test_three_files_make_a_new_kind_of_claim_about_digits(tmp_path: Path) -> None:
    for name in ("millrace", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder, ending, text in (("kinds", "py", KIND), ("wordings", "yaml", WORDINGS), ("verifiers", "py", VERIFIER)):
        (tmp_path / "millrace" / "digits" / folder / f"fuller_half.{ending}").write_text(text)
    (tmp_path / "claims.yaml").write_text(CLAIMS)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
