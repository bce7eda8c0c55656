"""Every operator and every tool of every environment is called once and does its work."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace.records.synthesis import QAItem
from millrace.records.trajectories import Call, CallCause, Node, Start, Trajectory
from millrace.records.trajectories import Tree as TreeRecord
from millrace.run.journal import read_jsonl, read_records, write_jsonl
from millrace.synthesis.environments import Environment, Observation
from millrace.synthesis.environments.math.cas import OPERATIONS, cas
from millrace.synthesis.exports.preference import rows
from millrace.synthesis.policies.programmatic import ProgrammaticPolicy
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.sampling import Limits, Tree, sample_trajectories
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.work_shard import synthesise_shard

ARGUMENTS: dict[str, dict[str, Any]] = {
    "prime_count": {"n": 100}, "nth_prime": {"n": 10}, "divisor_sum": {"n": 12}, "divisor_count": {"n": 12}, "totient": {"n": 12},
    "largest_prime_factor": {"n": 84}, "fibonacci_mod": {"n": 30, "modulus": 97}, "partitions": {"n": 10},
    "power_sum_of_roots": {"coefficients": [1, -3, 2], "power": 3}, "discriminant": {"coefficients": [1, -3, 2]},
    "integral": {"coefficients": [3, 0, 0], "low": 0, "high": 2}, "derivative_at": {"coefficients": [1, 0, 0, 0], "at": 2},
    "determinant": {"rows": [[1, 2], [3, 4]]}, "triangle_area_doubled": {"points": [[0, 0], [4, 0], [0, 3]]},
    "sum_of_powers": {"n": 4, "power": 2},
}  # fmt: skip
VALUES = {
    "prime_count": "25", "nth_prime": "29", "divisor_sum": "28", "divisor_count": "6",
    "totient": "4", "largest_prime_factor": "7",
    "fibonacci_mod": "71", "partitions": "42", "power_sum_of_roots": "9", "discriminant": "1", "integral": "8",
    "derivative_at": "12",
    "determinant": "-2", "triangle_area_doubled": "12", "sum_of_powers": "30",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_of_the_algebra_tool_gives_its_value(name: str) -> None:
    assert cas(name, ARGUMENTS[name]).rpartition(" = ")[2] == VALUES[name]


def starts(name: str) -> list[tuple[str, Any]]:
    return {
        "math": [("integer", n) for n in (7, 12, 30, 60, 97, 840)] + [("fraction", "5/12")],
        "python": [
            ("text", "the-Quick-brown-Fox-jumps-over-it-12"),
            ("words", ["the", "Quick", "brown", "fox", "ox"]),
            ("integers", [5, 3, 9, 2, 14]),
            ("integer", 4711),
        ],
    }[name]


@pytest.mark.parametrize("name", ["math", "python"])
def test_every_operator_is_carried_out_and_confirmed_by_the_verifier(name: str, opened: Callable[..., Environment]) -> None:
    environment = opened(name)
    assert environment.verifier is not None
    undone = set(environment.operators)
    for operator in environment.operators.values():
        for kind, value in starts(name):
            if kind != operator.takes or operator.name not in undone:
                continue
            values = [9, value]
            constants = operator.draw(random.Random(4), values)
            if constants is None:
                continue
            seen = environment.tools[operator.tool].run(operator.act(constants, values))
            assert seen.status == "ok", (operator.name, seen)
            assert operator.read(constants, values, seen.text) == environment.verifier.apply(operator.name, constants, values)
            undone.discard(operator.name)
    assert not undone


@pytest.mark.parametrize("name", ["math", "rag", "web", "configs.synthesis.calendar_world"])
def test_no_step_of_a_program_fails_at_its_tool(name: str, opened: Callable[..., Environment]) -> None:
    environment = opened(name)
    for seed in ("prime numbers up to 40", "partitions of a set", "Finland", "exceptions and context managers"):
        tree = Tree(seed, "src", environment.start(seed, random.Random(1)))
        limits = Limits(max_depth=4, branching_factor=4, depth_threshold=2)
        asyncio.run(sample_trajectories(tree, environment, ProgrammaticPolicy(), limits, run_seed=2))
        assert [node.observation.text for node in tree.nodes.values() if node.observation.status == "error"] == []


def test_the_rejected_side_of_a_pair_is_never_an_infrastructure_error(tmp_path: Path) -> None:
    def node(name: str, *, cause: CallCause = "", note: str = "", observation: str = "seen") -> Node:
        return Node(
            node_id=name,
            parent_id="root",
            children_ids=[],
            depth=1,
            intent="",
            action=Call(tool_name="t", parameters={"name": name}),
            observation=observation,
            status="error" if cause else "ok",
            cause=cause,
            note=note,
            hop=None,
        )

    chosen = node("chosen")
    others = [
        node("ended", cause="ended"),
        node("unproven", note="not provable: two readings"),
        node("refused", cause="refused", observation="t: division by zero"),
        node("repeats", note="the value repeats an earlier one or says nothing"),
    ]
    start = Start(kind="k", value=1, args={})
    path = Trajectory(
        trajectory_id="t", source_id="s", seed_data="", total_depth=1, nodes=[chosen], start=start, measures={}
    )  # fmt: skip
    tree = TreeRecord(source_id="s", seed_data="", seed_match="text", start=start, nodes=[chosen, *others])
    config = SynthesisConfig(environment_mode="math", number_of_seed=1, max_depth=2)
    run_serially(config, tmp_path)
    item = next(read_records(tmp_path / "qa.jsonl", QAItem))
    pairs = list(rows(item, path, tree))
    assert [pair.id.rpartition("_")[2] for pair in pairs] == ["refused", "repeats"]


def test_a_plug_ins_value_that_json_cannot_hold_is_a_failure_of_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = work_on(tmp_path, "configs.synthesis.calendar_world", monkeypatch, versions={"made": {1, 2}})
    assert record["failure"]["reason"] == "value_not_json"


def test_a_failure_keeps_the_end_of_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = work_on(tmp_path, "configs.synthesis.calendar_world", monkeypatch, verifier=object())
    assert record["failure"]["reason"] == "internal_error"
    assert "AttributeError" in record["failure"]["traceback"]
    assert "sampling.py" in record["failure"]["traceback"]


def work_on(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, **attributes: Any) -> dict[str, Any]:
    """The journal record of one seed in an environment that is broken in some of its attributes."""
    from millrace.synthesis import work_shard

    config = SynthesisConfig(environment_mode=name)
    environment = work_shard.worker_environment(config)
    for attribute, value in attributes.items():
        monkeypatch.setattr(environment, attribute, value)
    for inner in ("plan", "shards"):
        (folder / inner).mkdir()
    write_jsonl(
        folder / "plan" / "s.jsonl", [{"source_id": "s", "content": "1 March 2021", "kwargs": {}, "problem": "", "detail": ""}]
    )
    synthesise_shard(config, folder / "plan" / "s.jsonl", folder / "shards" / "s.jsonl")
    return next(iter(read_jsonl(folder / "shards" / "s.jsonl")))


def test_a_run_that_makes_no_question_fails_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("nothing to hold on to\n\nhere either")
    (tmp_path / "seeds.txt").write_text("one\ntwo\n")
    config = SynthesisConfig(
        environment_mode="rag", environment_kwargs={"corpus": str(tmp_path / "corpus")}, seeds=tmp_path / "seeds.txt"
    )
    from millrace.errors import RunFailed

    with pytest.raises(RunFailed, match="no question came of 2 seeds"):
        run_serially(config, tmp_path / "run")


def test_an_observation_says_whether_the_tool_refused_or_was_ended() -> None:
    assert Observation("ok", "x").cause == ""
