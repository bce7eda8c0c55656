"""What the shipped environments keep beyond the contract (tests/testing), and how tools and trees take what goes wrong."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from millrace.plugins.loading import plugin_names
from millrace.synthesis.environments import Environment, Observation, Tool, ToolError
from millrace.synthesis.sampling import Limits
from millrace.synthesis.selection import Candidate, overlap, select_trajectories
from millrace.testing.kinds.environment import grown

NAMES = [name for name in plugin_names("millrace.synthesis.environments") if name != "sql" or find_spec("duckdb")]
ALL = [*NAMES, "configs.synthesis.calendar_world"]
ROOT = Path(__file__).parents[2]

Opener = Callable[..., Environment]


@pytest.mark.parametrize("name", ALL)
def test_every_operator_that_is_a_hop_is_said_in_english_and_chinese(name: str, opened: Opener) -> None:
    for operator in opened(name).operators.values():
        assert not operator.evidence or (operator.en and re.search(r"[\u4e00-\u9fff]", operator.zh)), operator.name


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
