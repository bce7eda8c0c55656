"""The contract of every environment: the shipped ones, and one of a user's own by its dotted path."""

from __future__ import annotations

import ast
import asyncio
import random
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.plugins.loading import plugin_names
from millrace.synthesis.environments import Environment, Observation, Tool, ToolError, argument_errors
from millrace.synthesis.policies import signature
from millrace.synthesis.policies.programmatic import ProgrammaticPolicy
from millrace.synthesis.sampling import Limits, Tree, sample_trajectories
from millrace.synthesis.selection import Candidate, overlap, select_trajectories

ALL = [*plugin_names("millrace.synthesis.environments"), "configs.synthesis.calendar_world"]
SEEDS = {"python": "a sentence about sailing ships and maps", "web": "Finland"}
ROOT = Path(__file__).parents[2]

Opener = Callable[..., Environment]


def grown(
    environment: Environment, seed: str = "prime numbers up to 40", limits: Limits | None = None, run_seed: int = 0
) -> Tree:
    tree = Tree(seed, "src_test", environment.start(seed, random.Random(1)))
    return asyncio.run(
        sample_trajectories(
            tree, environment, ProgrammaticPolicy(), limits or Limits(max_depth=4, depth_threshold=2), run_seed=run_seed
        )
    )


@pytest.mark.parametrize("name", ALL)
def test_an_environment_keeps_the_contract(name: str, opened: Opener) -> None:
    environment = opened(name, fresh=True)
    kinds = {operator.gives for operator in environment.operators.values()}
    assert environment.tools
    assert environment.verifier is not None
    assert environment.versions
    for tool in environment.tools.values():
        assert tool.description
        assert argument_errors(tool.parameters, {"no such argument": 1})
        assert tool.run({}).status == "error"
        assert tool.run("nonsense").status == "error"  # type: ignore[arg-type]
    for operator_name, operator in environment.operators.items():
        assert operator.name == operator_name
        assert operator.tool in environment.tools
        assert not operator.evidence or (operator.en and re.search(r"[\u4e00-\u9fff]", operator.zh)), operator_name
    start = environment.start(SEEDS.get(name, "anything at all 12"), random.Random(0))
    assert start.kind in {operator.takes for operator in environment.operators.values()}
    assert kinds
    environment.close()
    environment.close()


@pytest.mark.parametrize("name", ALL)
def test_a_tree_has_the_shape_that_was_asked_for_and_no_action_twice(name: str, opened: Opener) -> None:
    tree = grown(opened(name), SEEDS.get(name, "prime numbers up to 40"))
    nodes = list(tree.nodes.values())
    actions = [signature(node.action) for node in nodes if node.action]
    assert len(actions) == len(set(actions))
    for node in nodes:
        usable = [tree.nodes[child] for child in node.children_ids if tree.nodes[child].usable]
        assert len(usable) <= (2 if node.depth < 2 else 1)
        assert node.depth <= 4
        assert all(tree.nodes[child].parent_id == node.node_id for child in node.children_ids)
    assert all(node.usable for leaf in tree.leaves(2) for node in tree.path(leaf))


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_grows_the_same_tree_and_another_run_seed_another(name: str, opened: Opener) -> None:
    seed = SEEDS.get(name, "prime numbers up to 40")
    environment = opened(name)
    assert grown(environment, seed).record() == grown(environment, seed).record()
    assert grown(environment, seed).record() != grown(environment, seed, run_seed=1).record()


@pytest.mark.parametrize("name", plugin_names("millrace.synthesis.environments"))
def test_a_verifier_shares_no_code_with_the_tools_and_operators_it_checks(name: str) -> None:
    def imported(path: Path) -> set[str]:
        tree = ast.parse(path.read_text())
        return {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module} | {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }

    folder = ROOT / "millrace" / "synthesis" / "environments" / name
    names = set().union(*(imported(path) for path in (folder / "verifier.py", folder / "raw_text.py") if path.exists()))
    own = f"millrace.synthesis.environments.{name}.raw_text"  # a second file of the verifier, held to the same rules
    ours = {found for found in names if found.startswith("millrace")} - {own}
    assert ours == {"millrace.synthesis.environments"}  # the protocol's types
    assert not names & {"sympy", "zlib", "base64", "datetime", "ipaddress", "bm25s", "httpx", "re"}


@pytest.mark.parametrize("name", ["math", "python", "rag", "web"])
def test_there_are_at_least_ten_operators_with_a_second_way(name: str, opened: Opener) -> None:
    environment = opened(name)
    assert len([operator for operator in environment.operators.values() if operator.answers and operator.evidence]) >= 10


def test_a_tool_that_hangs_becomes_an_observation() -> None:
    hanging = threading.Event()
    tool = Tool(
        name="slow", description="hangs", parameters={"type": "object"}, call=lambda: (hanging.wait(60) and "late") or "late"
    )
    observation = tool.run({}, timeout_s=0.2)
    hanging.set()
    assert observation.status == "error"
    assert "no answer within 0.2 s" in observation.text


def test_a_tool_that_raises_becomes_an_observation_and_a_long_answer_is_cut() -> None:
    def fails() -> str:
        raise KeyError("x")

    assert Tool("t", "", {"type": "object"}, fails).run({}) == Observation("error", "t: KeyError: 'x'", "ended")
    long = Tool("t", "", {"type": "object"}, lambda: "x" * 50_000).run({}, max_chars=100)
    assert long.status == "ok"
    assert "cut after 100 of 50000" in long.text


def _refusing(expressions: list[str]) -> str:
    raise ToolError("not today")


def test_error_observations_are_kept_in_the_tree_and_never_lead_on(opened: Opener) -> None:
    environment = opened("math", fresh=True)
    broken = Tool("calculator", "", environment.tools["calculator"].parameters, _refusing, contained=True)
    environment.tools = {**environment.tools, "calculator": broken}
    tree = grown(environment)
    failed = [node for node in tree.nodes.values() if node.observation.status == "error"]
    assert failed
    assert not any(node.children_ids for node in failed)
    assert not any(node in failed for leaf in tree.leaves(1) for node in tree.path(leaf))


def test_the_largest_tree_is_as_computed() -> None:
    assert Limits(max_depth=5, branching_factor=2, depth_threshold=3).largest() == 30
    assert Limits(max_depth=10, branching_factor=2, depth_threshold=2).largest() == 38
    assert Limits(max_depth=4, branching_factor=2, depth_threshold=2).largest() == 14


def test_selected_paths_do_not_overlap_more_than_allowed(opened: Opener) -> None:
    tree = grown(opened("math"), limits=Limits(max_depth=4, branching_factor=3, depth_threshold=4))
    paths = [Candidate(tree.path(leaf)[1:], score=1.0) for leaf in tree.leaves(2)]
    chosen = select_trajectories(paths, 99, 0.3)
    assert len(chosen) > 1
    assert all(overlap(one, other) <= 0.3 for one in chosen for other in chosen if one is not other)
