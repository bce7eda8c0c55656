"""A probed run and models under test without a model: pictures of blocks, and answers by hash."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from millrace.errors import InputError
from millrace.improve.asking import WantedLake
from millrace.lake.parquet import stream_rows
from millrace.lake.rows import LakeRow
from millrace.records.summaries import ProbingSummary
from millrace.run.context import RunContext
from millrace.run.ids import content_id, fraction_for
from millrace.run.journal import read_record, write_json, write_jsonl

CLAIMS = ("colour", "number", "place", "size")
SUBJECTS = ("left", "right")
FACTORS = ("dark", "small")
BASE = {"name": "fake", "arm": "base", "number": 0, "fails": 0.4, "claims": {}}
PROBING: dict[str, Any] = {
    "claims": "fake",
    "enabled_claims": [],
    "judge": {"name": "annotation"},
    "seed": 1,
    "unanswerable_share": 0.15,
    "baseline": BASE,
    "lake": {"path": None, "images": 60, "seed": 1},
}


def picture(seed: int) -> Image.Image:
    """Coarse random blocks: no two are alike."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((96, 96), Image.Resampling.BICUBIC)


def stored(image: Image.Image, form: str = "PNG", **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **how)
    return out.getvalue()


def write_lake(folder: Path, pictures: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image_id": list(pictures), "image": list(pictures.values())})
    pq.write_table(table, folder / "lake-00000.parquet", row_group_size=20)
    return folder


def lake_of(folder: Path, first: int, count: int) -> Path:
    return write_lake(folder, {f"img_{number}": stored(picture(number)) for number in range(first, first + count)})


def outcomes_of(lake: Path, model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every claim about both subjects of every image; wrong where the hash says so."""
    lines = []
    for file in sorted(lake.glob("*.parquet")):
        for row in stream_rows(file, lake=lake):
            assert isinstance(row, LakeRow)
            lines += [outcome_of(row, claim, subject, model) for claim in CLAIMS for subject in SUBJECTS]
    return lines


def outcome_of(row: LakeRow, claim: str, subject: str, model: Mapping[str, Any]) -> dict[str, Any]:
    ref = row.ref
    share = model["claims"].get(claim, model["fails"])
    # mostly the thing asked itself decides, so that models agree more often than by chance
    hard = fraction_for(0, "hard", ref.sha256, claim, subject)
    luck = fraction_for(0, "luck", ref.sha256, claim, subject, str(model["arm"]), str(model["number"]))
    failed = (hard if fraction_for(1, ref.sha256, claim, subject) < 0.7 else luck) < share
    answerable = fraction_for(0, "there", ref.sha256, claim, subject) > 0.15
    accepted = {"SLOT": [f"{claim} {int(hard * 5)}"]} if answerable else {}
    said = "wrong" if failed else accepted.get("SLOT", ["nothing"])[0]
    right, wrong = ("correct", "wrong") if answerable else ("right_abstain", "hallucinated")
    return {
        "kind": "outcome",
        "id": content_id("out", ref.sha256, claim, subject, dict(model), length=16),
        "image": {"image_id": ref.image_id, "file": ref.file, "row": ref.row, "sha256": ref.sha256, "width": 96, "height": 96},
        "claim_id": claim,
        "claim_set": "fake",
        "claim": f"The {claim} of the {subject} thing is [SLOT].",
        "prefilled": {"SUBJECT": subject},
        "selectors": {},
        "answerable": answerable,
        "outcome": wrong if failed else right,
        "failure_id": "fake" if failed else None,
        "baseline": {"name": "fake", "related": answerable or failed, "values": {"SLOT": said}},
        "judge": {
            "by": "annotation",
            "kind": "verified",
            "correct": {slot: values[0] for slot, values in accepted.items()},
            "accepted": accepted,
        },
        "factors": [factor for factor in FACTORS if fraction_for(0, factor, ref.sha256) < 0.3],
        "error": None,
    }


def ask(
    probing: Mapping[str, Any], model: Mapping[str, Any], lake: Path, images: int, folder: Path, logs: Path
) -> ProbingSummary:
    """What `probe_another` is for real models."""
    del probing, logs
    if (folder / "summary.json").exists():
        return read_record(folder / "summary.json", ProbingSummary)
    write_jsonl(folder / "shard-00000.jsonl", outcomes_of(lake, model))
    summary = summary_of(lake, images)
    write_json(folder / "summary.json", summary)
    return summary


def summary_of(lake: Path, images: int) -> ProbingSummary:
    """Of a probing whose figures nobody reads."""
    return ProbingSummary(
        stop="exhausted",
        images=images,
        came_in=0,
        went_out=0,
        failures=0,
        dropped={},
        outcomes={},
        claims={},
        factors={},
        shards=1,
        lake=str(lake),
    )


class FakeAsks:
    """What `AskAnother` is for real models. `test` is the folder of test images."""

    def __init__(self, test: Path, probing: Mapping[str, Any] = PROBING) -> None:
        self.test = test
        self.probing = dict(probing)

    def settings(self, run_dir: Path) -> dict[str, Any]:
        if not (run_dir / "probing").exists():
            raise InputError(f"there is no probing in {run_dir}")
        return self.probing

    def check_model(self, probing: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        assert model["name"] == "fake", probing

    def check_way(self, wanted: WantedLake, wordings: Mapping[str, str], probing: Mapping[str, Any]) -> None:
        assert set(wordings) <= set(CLAIMS), probing
        assert wanted.images > 0

    def lake(self, wanted: WantedLake, probing: Mapping[str, Any], run: RunContext) -> Path:
        del probing, run
        return wanted.path or self.test

    def function(self) -> Any:
        return ask


def probed_run(root: Path, images: int = 60) -> Path:
    """A run's folder with a finished probing of `images` pictures; returns it."""
    lake = lake_of(root / "lake", 0, images)
    run_dir = root / "run"
    write_jsonl(run_dir / "probing" / "shard-00000.jsonl", outcomes_of(lake, BASE))
    write_json(run_dir / "probing" / "summary.json", summary_of(lake, images))
    return run_dir
