"""The reward of a real record: paid for its answer, not for stopping a hop early, and only in the world that it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millrace.errors import UsageError
from millrace.run.journal import read_jsonl
from millrace.synthesis.scoring.reward import close_worlds, reward_of
from millrace.synthesis.writing import answer_text


@pytest.fixture(autouse=True, scope="module")
def _worlds_closed() -> Iterator[None]:
    yield
    close_worlds()


@pytest.mark.parametrize("name", ["math", "python", "rag", "web"])
def test_a_records_answer_is_paid_and_the_value_of_no_earlier_hop(name: str, preset_run: Callable[[str], Path]) -> None:
    items = list(read_jsonl(preset_run(name) / "qa.jsonl"))
    assert items
    for row in read_jsonl(preset_run(name) / "dataset" / "rl.jsonl"):
        assert reward_of(row["verifier_args"], f"I think so.\nFinal answer: {row['answer']}") == 1
        assert all(reward_of(row["verifier_args"], f"\\boxed{{{alias}}}") == 1 for alias in row["aliases"])
        assert reward_of(row["verifier_args"], "") == 0
    for item in items:
        args = item["verifier"]["args"]
        earlier = [args["chain"]["start"]["value"], *(hop["value"] for hop in args["chain"]["hops"][:-1])]
        assert all(reward_of(args, answer_text(value)) == 0 for value in earlier)


def test_a_question_about_another_world_is_not_scored_in_this_one(
    preset_run: Callable[[str], Path],
) -> None:
    item = next(iter(read_jsonl(preset_run("web") / "qa.jsonl")))
    args = item["verifier"]["args"]
    assert f"tzdata {args['world']['tzdata']}" in item["question"]
    args["world"]["tzdata"] = "1999.1"
    with pytest.raises(UsageError, match=r"about tzdata 1999\.1"):
        reward_of(args, item["answer"])
