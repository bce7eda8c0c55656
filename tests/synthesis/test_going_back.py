"""A seed that would give nothing is gone back to, within the size of its tree; every other tree stays as it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from millrace.synthesis.environments import Environment
from millrace.synthesis.going_back import go_back, makes_a_question
from millrace.synthesis.policies.programmatic import ProgrammaticPolicy
from millrace.synthesis.sampling import Limits, Tree, sample_trajectories

Opener = Callable[..., Environment]
DEEP = Limits(max_depth=10, branching_factor=2, depth_threshold=2, min_depth=8)


def grown(environment: Environment, seed: str, limits: Limits) -> Tree:
    tree = Tree(seed, f"src_{seed}", environment.start(seed, random.Random(seed)))
    return asyncio.run(sample_trajectories(tree, environment, ProgrammaticPolicy(), limits, run_seed=0))


def gone_back(tree: Tree, environment: Environment, limits: Limits, wanted: int = 5) -> Tree:
    asyncio.run(go_back(tree, environment, ProgrammaticPolicy(), limits, run_seed=0, wanted=wanted))
    return tree


def questions(tree: Tree, environment: Environment, limits: Limits) -> int:
    return sum(makes_a_question(tree, node, environment, limits) for node in tree.leaves(limits.min_depth))


@pytest.mark.parametrize("seed", ["Finland", "AI in medicine", "exceptions"])
def test_a_seed_whose_paths_all_end_too_early_gives_questions(seed: str, opened: Opener) -> None:
    environment = opened("web")
    tree = grown(environment, seed, DEEP)
    assert questions(tree, environment, DEEP) == 0
    assert questions(gone_back(tree, environment, DEEP), environment, DEEP) >= 1
    assert sum(node.usable for node in tree.nodes.values()) <= DEEP.largest() + 1
    assert max(node.depth for node in tree.nodes.values()) <= DEEP.max_depth


def test_a_tree_that_gives_a_question_stays_as_it_is(opened: Opener) -> None:
    environment, limits = opened("math"), Limits(max_depth=4, depth_threshold=2)
    tree = grown(environment, "prime numbers up to 40", limits)
    before = tree.record()
    assert questions(tree, environment, limits) > 0
    assert gone_back(tree, environment, limits).record() == before


def test_going_back_takes_the_same_way_each_time(opened: Opener) -> None:
    environment = opened("web")
    once, again = (gone_back(grown(environment, "Finland", DEEP), environment, DEEP, wanted=1) for _ in range(2))
    assert once.record() == again.record()
