"""Chooses which paths of a tree become questions, by what was measured on them.

`measured` (default): hops that matter, share of usable steps, news against what was chosen already; two chosen paths share at
most `max_overlap` of their nodes. `length` is the original's score by depth, observation length and tool variety, kept for
comparison.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from millrace.records.trajectories import Chain, Hop, Number
from millrace.synthesis.environments import Environment, Unprovable
from millrace.synthesis.policies import Node
from millrace.synthesis.sampling import Tree
from millrace.synthesis.verification import necessary_hops, recompute


@dataclass(slots=True)
class Candidate:
    """A path from the root's child to a leaf, with what was measured on it."""

    nodes: list[Node]
    score: float = 0.0
    measures: dict[str, Number] = field(default_factory=dict)
    needed: list[bool] | None = None
    """What `verification.necessary_hops` says of its hops; None: not computed."""

    @property
    def chain_hops(self) -> list[Hop]:
        """Its hops, for a chain; empty when some node has none."""
        hops = [node.record().hop for node in self.nodes]
        return [hop for hop in hops if hop is not None] if all(hops) else []


def candidates(tree: Tree, environment: Environment, *, min_depth: int, how: Literal["measured", "length"]) -> list[Candidate]:
    """All paths deep enough, best first; equal scores keep the tree's order."""
    leaves = [leaf for leaf in tree.leaves(min_depth) if leaf.op is None or environment.operators[leaf.op].answers]
    found = [Candidate(tree.path(leaf)[1:]) for leaf in leaves]
    if how == "length":
        _score_by_length(found, environment)
    else:
        for candidate in found:
            _measure(tree, candidate, environment)
    return sorted(found, key=lambda candidate: -candidate.score)


def select_trajectories(ranked: Sequence[Candidate], limit: int, max_overlap: float) -> list[Candidate]:
    """The first `limit` that do not overlap too much with one taken before, preferring operators and answers not yet taken."""
    chosen: list[Candidate] = []
    rest = list(ranked)
    while rest and len(chosen) < limit:
        taken_ops = {node.op for candidate in chosen for node in candidate.nodes}
        taken_answers = {str(candidate.nodes[-1].value) for candidate in chosen}

        def worth(candidate: Candidate, ops: set[Any] = taken_ops, answers: set[str] = taken_answers) -> float:
            new = sum(node.op not in ops for node in candidate.nodes) / len(candidate.nodes)
            return candidate.score + new - (candidate.nodes[-1].op is not None and str(candidate.nodes[-1].value) in answers)

        best = max(rest, key=worth)
        rest.remove(best)
        if all(overlap(best, other) <= max_overlap for other in chosen):
            best.measures["novelty"] = round(worth(best) - best.score, 4)
            chosen.append(best)
    return chosen


def overlap(one: Candidate, other: Candidate) -> float:
    """The share of nodes that two paths have in common (Jaccard)."""
    left, right = ({node.node_id for node in candidate.nodes} for candidate in (one, other))
    return len(left & right) / len(left | right)


def _measure(tree: Tree, candidate: Candidate, environment: Environment) -> None:
    hops = candidate.chain_hops
    needed: list[bool] = []
    if hops and environment.verifier is not None:
        chain = Chain(start=tree.start.record(), hops=hops)
        with contextlib.suppress(Unprovable):
            needed = candidate.needed = necessary_hops(environment, chain, recompute(environment.verifier, chain))
    necessary, counted = sum(needed), len(needed)
    usable = sum(node.usable and bool(node.observation.text.strip()) for node in candidate.nodes) / len(candidate.nodes)
    candidate.measures = {"evidence": round(usable, 4), "hops": counted, "necessary_hops": necessary}
    unneeded = counted - necessary
    candidate.score = usable + necessary / (1 + len(candidate.nodes)) - unneeded


def _score_by_length(found: list[Candidate], environment: Environment) -> None:
    """Depth up to 40 points (full from 5 nodes), mean observation length among the candidates 30, distinct tools 30."""
    means = [sum(len(node.observation.text) for node in candidate.nodes) / len(candidate.nodes) for candidate in found]
    low, high = min(means, default=0.0), max(means, default=0.0)
    for candidate, mean in zip(found, means, strict=True):
        tools = {node.action.tool_name for node in candidate.nodes if node.action}
        information = (mean - low) / (high - low) if high > low else 0.0
        variety = len(tools) / max(len(environment.tools), 1)
        candidate.score = min(len(candidate.nodes) / 5, 1.0) * 40 + information * 30 + variety * 30
        candidate.measures = {"length_score": round(candidate.score, 4)}
