"""An environment, a policy and seeds of the user's own: what is wrong with them is one sentence, before anything is started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.errors import UsageError
from millrace.synthesis.runs.stage import Synthesis
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.toolset import open_environment
from millrace.synthesis.work_shard import policy_of

WORLD = """
from configs.synthesis.calendar_world import CalendarEnvironment, CalendarVerifier, TABLE
from millrace.synthesis.environments import Tool

class World(CalendarEnvironment):
    pass

def open_environment(**settings):
    return World()
"""
CHANGED = "\nWorld.__init__ = lambda self: (CalendarEnvironment.__init__(self), setattr(self, 'verifier', {}))[0]"
BARE = "    tools = operators = frames = versions = {}\n"
CASES = {
    "no verifier": (
        f"\nclass World:\n    name = 'bare'\n{BARE}    def start(self, seed, rng): ...\n",
        r"World has no verifier; add it there",
    ),
    "verifier None": (
        CHANGED.format("None"),
        r"has no verifier, so that no program can make questions in it: write verifier .*, or set policy: chat",
    ),
    "verifier in part": (
        "\nclass Half:\n    name = ''\n    def origin(self, start): ...\n    def apply(self, op, args, values): ...\n"
        + CHANGED.format("Half()"),
        r"the verifier of the environment '.*': .*Half has no function alternatives\(op, args, values\)",
    ),
    "no operators": ("\nWorld.operators = {}", r"has no operators, so that no program can make questions in it"),
    "unknown tool": (
        "\nfrom dataclasses import replace\nWorld.operators = {'add_days': replace(TABLE['add_days'], tool='calender')}",
        r"the operator 'add_days' calls the tool 'calender', which it does not have; did you mean 'calendar'",
    ),
    "wrong key": ("\nWorld.operators = {'plus': TABLE['add_days']}", r"the operator 'add_days' stands under 'plus'"),
    "no start": (f"\nclass World:\n    name = ''\n    verifier = None\n{BARE}", r"has no function start\(seed, rng\)"),
    "start's arguments": ("\nWorld.start = lambda self, seed: None", r"start\(seed\) must take \(seed, rng\)"),
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Writes a module into a package of the test's own; gives its dotted path."""
    package = tmp_path / f"own_{tmp_path.name.replace('-', '_')}"
    package.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, text: str) -> str:
        (package / f"{name}.py").write_text(text)
        return f"{package.name}.{name}"

    return write


@pytest.mark.parametrize(("change", "said"), CASES.values(), ids=CASES)
def test_an_environment_that_lacks_a_part_is_told_which_and_what_to_do(
    change: str, said: str, mine: Callable[[str, str], str]
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        open_environment(SynthesisConfig(environment_mode=mine("world", WORLD + change)))
    assert "\n" not in str(caught.value)


def test_settings_that_an_environment_does_not_take_are_told_with_those_it_takes(mine: Callable[[str, str], str]) -> None:
    path = mine("world", WORLD.replace("**settings", "year=2000"))
    with pytest.raises(UsageError, match=r"environment_kwargs do not fit '.*': open_environment\(year=2000\), got an unexpected"):
        open_environment(SynthesisConfig(environment_mode=path, environment_kwargs={"yaer": 1999}))


def test_an_error_inside_an_environment_is_not_taken_for_wrong_settings(mine: Callable[[str, str], str]) -> None:
    path = mine("world", WORLD.replace("return World()", "return World(None + 1)"))
    with pytest.raises(TypeError, match="unsupported operand"):
        open_environment(SynthesisConfig(environment_mode=path))


def test_an_environment_without_seeds_of_its_own_asks_for_them(mine: Callable[[str, str], str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no seeds are shipped for the environment '.*': set seeds: FILE \(lines of text"):
        Synthesis(SynthesisConfig(environment_mode=mine("world", WORLD))).check(tmp_path / "run", [])


POLICY = """
from millrace.synthesis.policies import Policy
from millrace.synthesis.policies.programmatic import ProgrammaticPolicy

class Careful(Policy):
    name = "careful@1"
    asked = 0

    async def propose(self, environment, view, count):
        type(self).asked += 1
        return (await ProgrammaticPolicy().propose(environment, view, count))[:1]

def policy_of(config, folder, shard):
    return Careful()
"""


def test_a_policy_of_ones_own_plans_a_whole_run(mine: Callable[[str, str], str], tmp_path: Path) -> None:
    import millrace

    path = mine("policy", POLICY)
    run = millrace.synthesize(tmp_path / "run", "math", policy=path, seeds=["prime numbers up to 40"], max_depth=3)
    assert run.summary("synthesis")["items"]["verified"] > 0
    assert f"Planned by the policy `{path}`" in (run.path / "dataset" / "README.md").read_text()
    policy = policy_of(SynthesisConfig(policy=path))
    assert type(policy).asked > 0  # type: ignore[attr-defined]
    assert not policy.many_seeds
    assert asyncio.run(policy.write(None, None, None)) is None  # type: ignore[arg-type]


def test_a_policy_that_is_not_there_or_lacks_its_function_is_told(mine: Callable[[str, str], str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no policy named 'programatic'; did you mean 'programmatic'"):
        SynthesisConfig(policy="programatic")
    config = SynthesisConfig(environment_mode="math", policy=mine("empty", ""))
    with pytest.raises(UsageError, match=r"has no function policy_of\(config, folder, shard\); add it to .*empty\.py"):
        Synthesis(config).check(tmp_path / "run", [])


def test_an_export_that_lacks_its_function_is_told_before_the_run_and_not_at_its_end(
    mine: Callable[[str, str], str], tmp_path: Path
) -> None:
    config = SynthesisConfig(environment_mode="math", exports=[mine("lines", "def row(item): ...")])
    with pytest.raises(UsageError, match=r"has no function rows\(item, trajectory, tree\) \(it has 'row'\)"):
        Synthesis(config).check(tmp_path / "run", [])
