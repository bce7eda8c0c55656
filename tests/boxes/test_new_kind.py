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
from millrace.boxes.geometry import area, one_value, the_kind
from millrace.probing.annotated import UNCLEAR
from millrace.qa.annotated import Reading

CLAIM, PIPELINE, SLOT, ASPECT = "largest_thing", "largest_object", "LARGEST", "largest"
SUBJECT = {}

def subjects(picture, rng, *, answerable):
    return iter([{}] if answerable else [])

def truth(picture, selectors):
    ranked = sorted(picture.boxes.things, key=lambda thing: -area(thing.corners))
    if len(ranked) < 2 or area(ranked[0].corners) < 2 * area(ranked[1].corners):
        return UNCLEAR
    return one_value(SLOT, ranked[0].label)

def readings(picture, selectors, truth, rng):
    right = truth.correct[SLOT]
    others = {thing.label for thing in picture.boxes.things} | set(picture.boxes.absent)
    return [Reading(ASPECT, ASPECT, (right,), dict.fromkeys(sorted(others - {right}), "smaller"))]

def read_value(text):
    return text.strip() or None
"""

WORDINGS = """
pipelines:
  largest_object:
    {intent: largest_object, description: The label of the largest thing., answer_type: label, slots: {LARGEST: largest}}
en:
  questions:
    largest:
      multiple_choice: ["Around which of these things is the largest box in the picture?"]
      yes_no: ["Is the largest box in the picture that around the {value}?"]
  explanations: {largest: "The largest box is that around the {value}."}
"""

VERIFIER = """
from millrace.boxes.verifiers import Checks

def holds(evidence, selectors, value):
    size = lambda mark: (mark.right - mark.left) * (mark.bottom - mark.top)
    first, second = sorted(evidence.marks, key=size)[-2:][::-1]
    return None if size(first) < 1.5 * size(second) else first.label == value

def state(said):
    return said.partition("around the ")[2].rstrip("? ") or None

CHECKS = {"largest": Checks(lambda said: said or None, holds, state, subject=False)}
"""

CLAIMS = """
version: "1"
claims:
  - claim_id: largest_thing
    name: The largest
    capability: size
    target_failure_id: FR_LARGEST
    claim_template: The largest box in the picture is that around the [LARGEST].
    slots: {LARGEST: {type: object_category}}
failure_reasons:
  - {failure_id: FR_LARGEST, failure_category: size, failure_name: picks a smaller one}
"""

PROGRAM = """
from pathlib import Path
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

lake = Path("configs/full/photographs")
row = {"failure_id": "FR_LARGEST", "pipeline_type": "largest_object", "pipeline_name": "Largest"}
routes = parse_routes({"version": "1", "pipelines": [row]}, where="here")
guesser = open_baseline(baseline_settings({"name": "guess"}))
probe = Probe(load_claims("claims.yaml"), guesser, open_judge(judge_settings({})), lake, 1, 0.0)
records = [record for one in stream_rows(lake / "lake-00000.parquet") for record in probe_row(probe, one)]
failures = [record for record in records if getattr(record, "failure_id", None)]
assert len(failures) >= 3, records
assert {record.judge.kind for record in failures} == {"verified"}
write_jsonl(Path("selection.jsonl"), [selection_record(one, sample_index=n, routes=routes) for n, one in enumerate(failures)])
qa = QaSettings(blind_check="report", items_per_failure=2)
plan = plan_questions([survey_shard(Path("selection.jsonl"), lake, qa)], qa)
write_shard(Path("selection.jsonl"), Path("written.jsonl"), lake, qa, plan)
check_shard(Path("written.jsonl"), None, Path("checked.jsonl"), Path("rejected.jsonl"), lake, qa)
items = list(read_jsonl(Path("checked.jsonl")))
assert {item["pipeline_name"] for item in items} == {"largest_object"}, list(read_jsonl(Path("rejected.jsonl")))
assert {item["verification"]["status"] for item in items} == {"verified"}
assert {item["question_type"] for item in items} == {"multiple_choice", "yes_no"}
"""


@pytest.mark.slow
def test_three_files_make_a_new_kind_of_claim(tmp_path: Path) -> None:
    for name in ("millrace", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder, ending, text in (("kinds", "py", KIND), ("wordings", "yaml", WORDINGS), ("verifiers", "py", VERIFIER)):
        (tmp_path / "millrace" / "boxes" / folder / f"largest.{ending}").write_text(text)
    (tmp_path / "claims.yaml").write_text(CLAIMS)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
