"""Annotations: opaque bytes with a kind, understood by whoever registers for the kind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

STRANGER = """
from millrace.lake.annotations import Annotation, AnnotationKind

def read(cells):
    return Annotation("depth", cells["depth"]) if isinstance(cells["depth"], bytes) else None

KIND = AnnotationKind(("depth",), read, claims="stranger.deciding")
"""

DECIDING = """
from millrace.probing.annotated import Subject, Truth

def choose_subject(claim, row, *, seed, image_id, unanswerable_share):
    return Subject({}, {}, answerable=True)

def truth_of(claim_id, row, selectors):
    return Truth(True, True, {"DEPTH": row.annotation.data.decode()}, {"DEPTH": (row.annotation.data.decode(),)})

def read_value(slot, text):
    return text.strip()

def factors(row):
    return ("deep",)
"""

PROGRAM = """
import io, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from PIL import Image
from millrace.lake.parquet import stream_rows
from millrace.probing.baselines import Completion
from millrace.probing.claims import load_claims
from millrace.probing.judges import judge_settings, open_judge
from millrace.probing.ranks.probe_unit import Probe, probe_row

out = io.BytesIO(); Image.new("RGB", (8, 8)).save(out, "PNG")
pq.write_table(pa.table({"jpg": [out.getvalue()], "depth": [b"3 m"], "note": ["kept"]}), "lake.parquet")
(row,) = stream_rows(Path("lake.parquet"))
assert (row.annotation.kind, row.annotation.data) == ("depth", b"3 m"), row
assert set(row.metadata) == {"note"}, row.metadata

class Model:
    name = fingerprint = "model"
    def complete(self, image, prompts):
        return [Completion(True, {"DEPTH": "3 m"}, "") for prompt in prompts]

probe = Probe(load_claims("claims.yaml"), Model(), open_judge(judge_settings({})), Path("."), 1, 0.15)
(record,) = probe_row(probe, row)
assert (record.outcome, record.judge.kind, record.factors) == ("correct", "verified", ("deep",)), record
"""

CLAIMS = """
version: "1"
claims:
  - claim_id: how_deep
    name: How deep
    capability: depth
    target_failure_id: FR_DEPTH
    claim_template: The picture is [DEPTH] deep.
    slots: {DEPTH: {type: natural_language_text}}
failure_reasons:
  - {failure_id: FR_DEPTH, failure_category: depth, failure_name: depth}
"""


def test_an_installed_package_adds_a_kind_of_annotation_and_its_claims_are_decided_by_it(tmp_path: Path) -> None:
    package = tmp_path / "stranger"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "kind.py").write_text(STRANGER)
    (package / "deciding.py").write_text(DECIDING)
    installed = tmp_path / "stranger-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[millrace.lake.annotations]\ndepth = stranger.kind\n")
    (tmp_path / "claims.yaml").write_text(CLAIMS)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
