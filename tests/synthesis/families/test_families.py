"""Every family keeps the promises of its kind; here are its own tests, and what holds over all of them.

The promises that a user's family keeps too are in `millrace.testing.kinds.family`: in CI on a dozen problems a level, on 200 with
`-m whole`.
"""

from __future__ import annotations

import ast
import random
import re
from pathlib import Path

import pytest

from millrace.errors import UsageError
from millrace.records.synthesis import QAItem
from millrace.run.journal import read_jsonl, read_records
from millrace.synthesis.families.catalogue import ROOMS, chosen, load_family, problem_of, rooms
from millrace.synthesis.families.code._interpreter import Machine
from millrace.synthesis.families.contract import LEVELS
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.scoring.answers import score_answer
from millrace.synthesis.scoring.reward import close_worlds, reward_of
from millrace.synthesis.settings import SynthesisConfig
from millrace.testing.kinds.family import PROMISES, Subject
from millrace.testing.kinds.family.mutants import mutants
from millrace.testing.plugin_under_test import kind_of

HERE = Path(__file__).parents[3] / "millrace" / "synthesis" / "families"
TIGHT = {"finishing_order": 3, "cheapest_route": 6}
"""Families whose problems take long to draw: fewer are drawn in CI."""


@pytest.mark.parametrize("name", rooms())
def test_a_family_keeps_every_promise_of_its_kind(name: str) -> None:
    subject = Subject(name, TIGHT.get(name, 8))
    for promise in PROMISES:
        promise(subject)


@pytest.mark.whole
@pytest.mark.parametrize("name", rooms())
def test_a_family_keeps_every_promise_on_200_problems_a_level(name: str) -> None:
    subject = Subject(name, 200)
    for promise in PROMISES:
        promise(subject)


def test_every_room_has_families_and_a_seed_in_either_language_asks_for_each() -> None:
    seeds = [
        line for line in (HERE.parents[2] / "configs/synthesis/seeds/families.txt").read_text().splitlines() if line[0] != "#"
    ]
    assert set(rooms().values()) == set(ROOMS)
    for name in rooms():
        asking = [seed for seed in seeds if re.search(load_family(name).TOPIC, seed, re.IGNORECASE)]
        assert any(seed.isascii() for seed in asking), name
        assert any(not seed.isascii() for seed in asking), name


def test_families_are_chosen_by_name_by_room_and_by_path_and_a_wrong_name_says_what_is_near() -> None:
    assert chosen(("logic", "orders", "mine.family")) == [
        "finishing_order",
        "hidden_square",
        "truth_tellers",
        "orders",
        "mine.family",
    ]
    assert chosen(()) == list(rooms())
    with pytest.raises(UsageError, match="did you mean 'truth_tellers'"):
        load_family("truth_teller")


def test_a_dishonest_family_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (HERE / "numbers" / "remainders.py").read_text()
    spoilt = {
        "its_second_method_comes_to_the_same_answers": source.replace("return count\n", "return count + 1\n"),
        "its_second_method_shares_no_function_with_the_first": source.replace(
            "    pairs = list(", "    solve(problem)\n    pairs = list(", 1
        ),
        "its_effort_grows_with_the_level": source.replace('return float(math.lcm(*problem["rows"]))', "return 1.0"),
        "it_pays_for_the_right_answer_and_for_no_other": source.replace('ANSWER_TYPE = "integer"', 'ANSWER_TYPE = "date"'),
        "its_questions_are_said_in_english_and_chinese": source.replace('language == "zh"', 'language == "fr"'),
        "its_problems_depend_on_the_seed_alone_and_are_json": source.replace(
            "rng.randrange(1, period", "random.randrange(1, period"
        ),
        "its_problems_and_answers_are_not_the_same_again_and_again": source.replace(
            "rng.sample(range(low, high + 1), count)", "[5, 7]"
        )
        .replace("rng.randrange(period // 4, period)", "30")
        .replace("rng.randrange(1, period + 1)", "rng.randrange(1, 6)"),
    }
    (tmp_path / "spoilt").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    promises = {promise.__name__: promise for promise in PROMISES}
    for number, (promise, text) in enumerate(spoilt.items()):
        assert text != source, promise
        (tmp_path / "spoilt" / f"family{number}.py").write_text(text)
        with pytest.raises(AssertionError):
            promises[promise](Subject(f"spoilt.family{number}", 8))


@pytest.mark.parametrize("name", rooms())
def test_a_familys_second_method_finds_a_wrong_answer_wrong(name: str) -> None:
    module = load_family(name)
    for level in LEVELS[:3]:
        answer = module.verify(problem_of(name, level, 77))
        assert all(wrong != str(answer) for wrong in mutants(str(answer), module.ANSWER_TYPE))
        assert all(
            score_answer(module.ANSWER_TYPE, str(answer), wrong) == 0 for wrong in mutants(str(answer), module.ANSWER_TYPE)
        )


def test_the_interpreter_of_the_code_room_does_what_python_does_on_random_arithmetic() -> None:
    rng = random.Random(5)
    for _ in range(200):
        lines = [f"a = {rng.randint(-9, 9)}", f"b = {rng.randint(1, 9)}", "c = [a, b]"]
        for _ in range(6):
            left, right = rng.choice("ab"), rng.choice("ab")
            lines.append(f"{left} = {left} {rng.choice('+-*')} {right} % 7 - {rng.randint(1, 5)} // 2")
            lines.append(
                f"if {left} {rng.choice(['<', '>=', '==', '!='])} {right}:\n    c.append({left})\nelse:\n    c[0] += {right}"
            )
        lines += ["for x in c:", "    a += x", "while len(c) > 1 and c[0] != 99:", "    b += c.pop()"]
        names: dict[str, object] = {}
        exec(compile(ast.parse("\n".join(lines)), "<test>", "exec"), names)
        machine = Machine("\n".join(lines))
        assert {name: names[name] for name in "abc"} == {name: machine.names[name] for name in "abc"}


def test_a_run_over_families_gives_proven_items_with_their_level_and_rewards_that_hold(tmp_path: Path) -> None:
    (tmp_path / "seeds.txt").write_text("logic puzzles, level 1\n行程应用题，难度 2\nprobability\nTransformer architecture\n")
    settings = {"environment_kwargs": {"families": ["truth_tellers", "meeting_time", "chance"], "levels": [1, 2, 3]}}
    config = SynthesisConfig(environment_mode="families", seeds=tmp_path / "seeds.txt", max_depth=1, min_depth=1,
                             branching_factor=4,
                             max_selected_traj=4, max_answer_share=1, exports=["rl"], **settings)  # fmt: skip
    statistics = run_serially(config, tmp_path / "run")
    items = list(read_records(tmp_path / "run" / "qa.jsonl", QAItem))
    rows = list(read_jsonl(tmp_path / "run" / "dataset" / "rl.jsonl"))
    assert len(items) == len(rows) == statistics.items.verified >= 8
    assert {item.language for item in items} == {"en", "zh"}
    by_seed = {item.metadata.seed_data: item.quality.difficulty for item in items}
    assert by_seed["logic puzzles, level 1"] == 1
    assert by_seed["行程应用题，难度 2"] == 2
    assert {row["difficulty"] for row in rows} <= {1, 2, 3}
    assert {item.provenance.seed_match for item in items if "Transformer" in item.metadata.seed_data} <= {"fallback"}
    for row in rows:
        assert reward_of(row["verifier_args"], f"Final answer: {row['answer']}") == 1
        assert all(reward_of(row["verifier_args"], wrong) == 0 for wrong in mutants(row["answer"], row["answer_type"]))
    close_worlds()


def test_a_family_is_told_from_other_kinds_of_plug_in_also_when_a_part_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (HERE / "numbers" / "remainders.py").read_text()
    (tmp_path / "halves").mkdir()
    (tmp_path / "halves" / "family.py").write_text(source.replace("DIAL = ", "dial = "))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert kind_of("halves.family") == "family"
    with pytest.raises(UsageError, match="DIAL"):
        load_family("halves.family")
