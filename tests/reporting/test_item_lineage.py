"""`millrace trace`: from a question back to its picture, and on to the models that were trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace.cli import main
from millrace.errors import InputError, UsageError
from millrace.reporting.item_lineage import trace
from millrace.run.journal import write_jsonl

IMAGE = {"image_id": "img_1", "file": "lake-00000.parquet", "row": 7, "sha256": "aa11"}


def outcome(name: str, outcome: str = "wrong", image: dict[str, Any] = IMAGE, claim: str = "counting") -> dict[str, Any]:
    return {
        "kind": "outcome",
        "id": name,
        "image": image,
        "claim_id": claim,
        "claim": "There are [COUNT] red digits.",
        "prefilled": {"OBJECT": "red digits"},
        "outcome": outcome,
        "baseline": {"related": True, "values": {"COUNT": "3"}},
        "judge": {"by": "annotation", "kind": "verified", "correct": {"COUNT": "2"}},
        "factors": ["low_light"],
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with one item, two arms of two seeds, and two test images."""
    write_jsonl(tmp_path / "probing" / "shard-00000.jsonl", [outcome("out_1"), outcome("out_2", "correct", claim="place")])
    lineage = {"outcome_id": "out_1"}
    write_jsonl(tmp_path / "filtering" / "shard-00000.jsonl", [{"id": "sel_1", "pipeline_type": "counting", "lineage": lineage}])
    item = {
        "kind": "item",
        "id": "qa_1",
        "trace_id": "sel_1",
        "question": "How many red digits are there?",
        "answer": "B",
        "answer_text": "2",
        "verification": {"status": "verified", "by": "pixels"},
        "lineage": lineage,
    }
    write_jsonl(tmp_path / "qa" / "shard-00000.jsonl", [item])
    sets = {"targeted-0": ["out_1"], "targeted-1": ["out_1"], "untargeted-0": ["out_2"], "untargeted-1": []}
    for model, records in sets.items():
        lines = [{"id": name, "sha256": "aa11"} for name in records]
        write_jsonl(tmp_path / "improve" / "trainings" / model / "records.jsonl", lines)
    images = [{**IMAGE, "image_id": f"test_{number}"} for number in range(3)]
    answers = {
        "base": ("wrong", "correct", "infra_error"),
        "targeted-0": ("correct", "correct", "correct"),
        "targeted-1": ("correct", "wrong", "correct"),
        "untargeted-0": ("wrong", "correct", "correct"),
        "untargeted-1": ("wrong", "correct", "correct"),
    }
    for model, said in answers.items():
        lines = [outcome(f"{model} {place}", one, images[place]) for place, one in enumerate(said)]
        write_jsonl(tmp_path / "improve" / "probes" / model / "shard-00000.jsonl", lines)
    return tmp_path


@pytest.mark.parametrize("wanted", ["qa_1", "sel_1", "out_1"])
def test_an_item_its_selection_and_its_outcome_lead_to_the_same_lines(run: Path, wanted: str) -> None:
    text = "\n".join(trace(run, wanted))
    parts = ("img_1", "row 7", "out_1  counting: wrong", "said: 3; right: 2", "low_light", "sel_1  → counting", "qa_1  How many")
    for part in parts:
        assert part in text
    assert "targeted: the record under seed 0, 1, its picture under seed 0, 1" in text
    assert "untargeted: the record under no seed, its picture under seed 0" in text


def test_flips_count_what_was_decided_on_both_sides_and_only_claims_of_the_same_kind(run: Path) -> None:
    lines = [line for line in trace(run, "qa_1") if line.startswith("flips")]
    assert lines == [
        "flips      targeted: of 4 answers to counting on test images 2 became right, 1 wrong",
        "flips      untargeted: of 4 answers to counting on test images 0 became right, 0 wrong",
    ]


def test_an_image_has_all_its_outcomes(run: Path) -> None:
    assert sum(line.startswith("outcome") for line in trace(run, "img_1")) == 2


def test_what_was_not_done_is_said(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "probing" / "shard-00000.jsonl", [outcome("out_1")])
    text = "\n".join(trace(tmp_path, "out_1"))
    assert "it was not selected" in text
    assert "no model was trained" in text
    assert "no trained model was asked" in text


def test_an_unknown_id_and_a_folder_without_a_run_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no item, selection, outcome or image 'qa_9'"):
        trace(run, "qa_9")
    with pytest.raises(InputError, match="there are no outcomes in"):
        trace(tmp_path / "nowhere", "qa_1")


def test_the_command_prints_it_and_ends_as_every_command_does(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", str(run), "qa_1"]) == 0
    assert "How many red digits" in capsys.readouterr().out
    assert main(["trace", str(run), "qa_9"]) == 2
    assert "qa_9" in capsys.readouterr().err
