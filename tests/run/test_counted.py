"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from millrace.probing.preflight import plan_lines
from millrace.probing.settings import ProbingConfig
from millrace.run.counted import counted


@pytest.mark.parametrize(
    ("nouns", "one"),
    [
        ("machines", "machine"),
        ("failure ids", "failure id"),
        ("parts scanned", "part scanned"),
        ("processes", "process"),
        ("retries", "retry"),
        ("boxes", "box"),
        ("MB", "MB"),
    ],
)
def test_one_of_a_thing_is_not_a_plural(nouns: str, one: str) -> None:
    assert [counted(number, nouns) for number in (0, 1, 1234)] == [f"0 {nouns}", f"1 {one}", f"1,234 {nouns}"]


def test_a_plan_for_one_machine_does_not_speak_of_machines() -> None:
    config = ProbingConfig.model_validate({"target_failure_count": 1, "failure_batch_size": 1, "lake": {"images": 1}})
    said = "\n".join(plan_lines(config))
    assert "1 embedded digit scene\n" in said
    assert "until 1 failure, " in said
    assert "in units of 1 image\n" in said
    assert "(1 machine, 2 each)" in said
