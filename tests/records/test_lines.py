"""The lines in lines/ were written before records were types: each is read, and written again with the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace.errors import RunFailed
from millrace.records.compare import LeftOutRecord, PairRecord
from millrace.records.improve import Plan
from millrace.records.outcome import PROBED_CLAIM, ForeignOutcome, OutcomeRecord
from millrace.records.question import REFUSED_QUESTION, AskedQuestion, ExaminedQuestion, Item
from millrace.records.record import decode, encode
from millrace.records.results.compare import CompareStageSummary, CompareSummary
from millrace.records.results.improve import ImproveSummary
from millrace.records.selection import LostSelection, Selection, UnreadableOutcome
from millrace.records.summaries import DatasetReport, ProbingSummary
from millrace.run.journal import read_record, read_records, write_json, write_jsonl

LINES = Path(__file__).parent / "lines"

KINDS: dict[str, Any] = {
    "outcome": PROBED_CLAIM,
    "dropped_claim": PROBED_CLAIM,
    "selection": Selection,
    "unreadable_outcome": UnreadableOutcome,
    "qa": Item,
    "dropped_question": REFUSED_QUESTION,
    "rejected_question": REFUSED_QUESTION,
    "asked_question": AskedQuestion,
    "examined_question": ExaminedQuestion,
    "pair": PairRecord,
    "left_out": LeftOutRecord,
}


def test_every_file_of_lines_is_looked_at() -> None:
    assert {path.stem for path in LINES.glob("*.jsonl")} == KINDS.keys()


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_record_is_written_as_it_was_before_it_had_a_type(name: str, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "again.jsonl", read_records(LINES / f"{name}.jsonl", KINDS[name]))
    assert (tmp_path / "again.jsonl").read_bytes() == (LINES / f"{name}.jsonl").read_bytes()


FILES = {
    "compare_stage_summary": CompareStageSummary,
    "compare_summary": CompareSummary,
    "probing_summary": ProbingSummary,
    "dataset_manifest": DatasetReport,
    "improve_plan": Plan,
    "improve_summary": ImproveSummary,
}


@pytest.mark.parametrize(("name", "kind"), sorted(FILES.items()))
def test_a_file_that_is_one_record_is_written_as_before(name: str, kind: Any, tmp_path: Path) -> None:
    write_json(tmp_path / "again.json", read_record(LINES / f"{name}.json", kind))
    assert (tmp_path / "again.json").read_bytes() == (LINES / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_field_of_another_type_is_one_error_that_names_file_and_line(name: str, tmp_path: Path) -> None:
    first = (LINES / f"{name}.jsonl").read_bytes().splitlines()[0]
    path = tmp_path / "shard-00000.jsonl"
    key = b'"proof"' if name == "examined_question" else b'"detail"' if name == "unreadable_outcome" else b'"id"'
    wrong = first.replace(key + b":", key + b':[1],"was":', 1)
    path.write_bytes(first + b"\n" + wrong + b"\n")
    with pytest.raises(RunFailed, match=r"shard-00000\.jsonl, line 2 .*expected `(int \| )?str.*got `array`"):
        list(read_records(path, KINDS[name]))


@pytest.mark.parametrize(("name", "now", "later"), [("selection", b"selection/1", b"selection/7"), ("qa", b"qa/1", b"qa/7")])
def test_a_line_of_a_later_schema_says_which_version_is_read(name: str, now: bytes, later: bytes, tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.jsonl"
    path.write_bytes((LINES / f"{name}.jsonl").read_bytes().replace(now, later))
    with pytest.raises(RunFailed, match=rf"line 1 has the schema 'millrace\.{later.decode()}' where this version reads"):
        list(read_records(path, KINDS[name]))


def test_an_outcome_that_no_version_knows_is_an_error_and_not_a_success(tmp_path: Path) -> None:
    path = tmp_path / "unit-000000.jsonl"
    path.write_bytes((LINES / "outcome.jsonl").read_bytes().replace(b'"outcome":"wrong"', b'"outcome":"odd"', 1))
    with pytest.raises(RunFailed, match=r"line 1 .*outcome: invalid enum value 'odd'"):
        list(read_records(path, PROBED_CLAIM))


def test_filtering_takes_an_outcome_of_probing_and_one_from_elsewhere_with_little_in_it() -> None:
    line = (LINES / "outcome.jsonl").read_bytes()
    own, taken = decode(line, OutcomeRecord, "here"), decode(line, ForeignOutcome, "here")
    assert (own.id, own.image, own.baseline, own.judge) == (taken.id, taken.image, taken.baseline, taken.judge)
    little = b'{"id":"x","outcome":"wrong","failure_id":"FR","image":{"image_id":"i"},"unknown":[1]}'
    assert decode(little, ForeignOutcome, "here").baseline is None


def test_a_lost_selection_has_the_fields_it_had() -> None:
    lost = LostSelection(id="out_1", file="a.jsonl", offset=7, reason="missing_file", detail="gone")
    assert encode(lost) == b'{"id":"out_1","file":"a.jsonl","offset":7,"reason":"missing_file","detail":"gone"}'
