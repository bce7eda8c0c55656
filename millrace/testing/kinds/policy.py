"""Policies: what one proposes is held to the limits, and a seed comes to an end."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from millrace.synthesis.environments import Environment
from millrace.synthesis.policies import Policy, Proposal, View
from millrace.synthesis.sampling import Limits, Tree, sample_trajectories
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.toolset import open_environment
from millrace.synthesis.work_shard import policy_of
from millrace.testing.kinds import kept
from millrace.testing.material import SEEDS

FOLDER = "millrace.synthesis.policies"
WORD = "policy"


class Opened(NamedTuple):
    """A policy in the environment `math`."""

    policy: Policy
    environment: Environment


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Opened]:
    """The policy; `settings` are further ones of the synthesis config (`chat: {model: …}`)."""
    config = SynthesisConfig.model_validate({"environment_mode": "math", "policy": name, **settings})
    environment = open_environment(config)
    try:
        yield Opened(policy_of(config), environment)
    finally:
        environment.close()


def it_proposes_no_more_than_it_is_asked_for(subject: Opened) -> None:
    """Fewer is fine; none ends the path."""
    start = subject.environment.start(SEEDS[0], random.Random(0))
    tree = Tree(SEEDS[0], "src_test", start)
    for count in (1, 2):
        view = View(SEEDS[0], start, tree.path(next(iter(tree.nodes.values()))), [], frozenset(), 3, 2, random.Random(1))
        found = asyncio.run(subject.policy.propose(subject.environment, view, count))
        kept(isinstance(found, list) and len(found) <= count, f"asked for {count}, it proposed {found!r}")
        kept(all(isinstance(one, Proposal) for one in found), f"it proposed something that is no Proposal: {found!r}")


def a_seed_comes_to_an_end_within_the_limits(subject: Opened) -> None:
    """Whatever it proposes, the tree is no larger than was allowed."""
    limits = Limits(max_depth=3, depth_threshold=2)
    tree = Tree(SEEDS[0], "src_test", subject.environment.start(SEEDS[0], random.Random(1)))
    asyncio.run(sample_trajectories(tree, subject.environment, subject.policy, limits, run_seed=0))
    kept(all(node.depth <= 3 for node in tree.nodes.values()), "the tree is deeper than max_depth")


def it_closes_twice(subject: Opened) -> None:
    """It may be closed again while a run cleans up."""
    asyncio.run(subject.policy.close())
    asyncio.run(subject.policy.close())


PROMISES = (it_proposes_no_more_than_it_is_asked_for, a_seed_comes_to_an_end_within_the_limits, it_closes_twice)
