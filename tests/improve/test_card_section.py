"""The verdict on the dataset's card."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.improve.judging.card_section import write_on_card
from millrace.records.results.improve import ImproveSummary
from millrace.run.journal import read_record

CARD = "---\nlicense: mit\n---\n\n# Data\n\nQuestions.\n\n## Lineage\n\nWhere from.\n\n## Limits\n\nMany.\n"


@pytest.fixture
def summary(done: Path) -> ImproveSummary:
    return read_record(done / "improve" / "summary.json", ImproveSummary)


def test_the_card_says_the_verdict_with_its_sentences_before_its_limits(tmp_path: Path, summary: ImproveSummary) -> None:
    (tmp_path / "README.md").write_text(CARD)
    assert write_on_card(tmp_path, summary)
    card = (tmp_path / "README.md").read_text()
    assert card.index("## Lineage") < card.index("## Does it help?") < card.index("## Limits")
    assert all(sentence in card for sentence in summary.because)
    assert summary.plan in card
    assert "the questions of this dataset were not trained on" in card


def test_a_second_verdict_takes_the_place_of_the_first_and_nothing_else_changes(tmp_path: Path, summary: ImproveSummary) -> None:
    (tmp_path / "README.md").write_text(CARD)
    write_on_card(tmp_path, summary)
    once = (tmp_path / "README.md").read_text()
    write_on_card(tmp_path, summary)
    assert (tmp_path / "README.md").read_text() == once
    start, end = once.index("<!-- improve: begin"), once.index("## Limits")
    assert once[:start] + once[end:] == CARD


def test_a_card_of_another_form_gets_it_at_the_end(tmp_path: Path, summary: ImproveSummary) -> None:
    (tmp_path / "README.md").write_text("# My own card\n")
    write_on_card(tmp_path, summary)
    write_on_card(tmp_path, summary)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("# My own card\n")
    assert card.count("## Does it help?") == 1


def test_a_run_without_a_dataset_has_no_card_to_write_on(tmp_path: Path, summary: ImproveSummary) -> None:
    assert not write_on_card(tmp_path / "dataset", summary)
    assert list(tmp_path.iterdir()) == []


def test_the_stage_writes_on_the_card_of_its_run(done: Path) -> None:
    assert "## Does it help?" in (done / "dataset" / "README.md").read_text()
