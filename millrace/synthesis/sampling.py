"""Grows the tree of a seed, level by level.

Knobs are the original's: nodes above `depth_threshold` get `branching_factor` children, deeper ones one, down to `max_depth`;
a failed attempt is tried again, with its error in view, up to `max_retries` times. All nodes of a level are proposed for and
executed together; results are taken in node order, so concurrency never shows in the tree.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from millrace.errors import ItemFailed
from millrace.records import trajectories
from millrace.run.ids import random_for
from millrace.synthesis.environments import Environment, Observation, Start, Unprovable
from millrace.synthesis.policies import Node, Policy, Proposal, View, signature
from millrace.synthesis.tools.calls import run_together

MAX_ENDED = 3
"""Calls of one seed that may be ended for their time or memory; a seed that goes on like that is set aside."""

NOT_PROVABLE = "not provable"
"""How the note begins on a step whose value the verifier cannot confirm."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The shape of a tree."""

    max_depth: int = 5
    branching_factor: int = 2
    depth_threshold: int = 3
    min_depth: int = 2
    max_retries: int = 3
    tool_timeout_s: float = 30.0

    def largest(self) -> int:
        """The most nodes a tree can have, the root and failed attempts left out."""
        leaves, nodes = 1, 0
        for depth in range(self.max_depth):
            leaves *= self.branching_factor if depth < self.depth_threshold else 1
            nodes += leaves
        return nodes


class Tree:
    """All nodes of one seed, root first, in the order they came to be."""

    def __init__(self, seed: str, source_id: str, start: Start, described: str = "") -> None:
        opening = f"Starting point{f' ({described})' if described else ''}: {seed}"
        root = Node("d0_t0_b0", None, 0, "start from the seed", None, Observation("ok", opening))
        self.seed, self.source_id, self.start = seed, source_id, start
        self.nodes: dict[str, Node] = {root.node_id: root}

    def add(self, parent: Node, proposal: Proposal, observation: Observation) -> Node:
        """A new child of `parent`."""
        depth = parent.depth + 1
        name = f"d{depth}_t{len(self.nodes)}_b{len(parent.children_ids)}"
        node = Node(name, parent.node_id, depth, proposal.intent, proposal.action, observation, proposal.op, proposal.args)
        node.said = proposal.said
        self.nodes[name] = node
        parent.children_ids.append(name)
        return node

    def path(self, node: Node) -> list[Node]:
        """From the root to `node`, both included."""
        found = [node]
        while found[-1].parent_id is not None:
            found.append(self.nodes[found[-1].parent_id])
        return found[::-1]

    def leaves(self, min_depth: int) -> list[Node]:
        """Usable nodes without usable children, at least `min_depth` deep, in tree order."""
        return [
            node
            for node in self.nodes.values()
            if node.depth >= max(min_depth, 1) and node.usable and not any(self.nodes[name].usable for name in node.children_ids)
        ]

    def record(self) -> trajectories.Tree:
        """The whole tree, root included, for `trees.jsonl`."""
        return trajectories.Tree(
            source_id=self.source_id,
            seed_data=self.seed,
            seed_match=self.start.match,
            start=self.start.record(),
            nodes=[node.record() for node in self.nodes.values()],
        )


async def sample_trajectories(tree: Tree, environment: Environment, policy: Policy, limits: Limits, *, run_seed: int) -> Tree:
    """Grow `tree` with real tool calls and return it.

    Raises:
        ItemFailed: the policy cannot go on for this seed.
    """
    used: set[bytes] = set()
    ended = 0
    level = [tree.nodes["d0_t0_b0"]]
    for depth in range(limits.max_depth):
        wanted = {node.node_id: limits.branching_factor if depth < limits.depth_threshold else 1 for node in level}
        grown: dict[str, list[Node]] = {node.node_id: [] for node in level}
        for attempt in range(limits.max_retries):
            asking = [node for node in level if len(grown[node.node_id]) < wanted[node.node_id]]
            views = [view_of(tree, node, used, limits, run_seed, attempt) for node in asking]
            answers = await asyncio.gather(
                *(
                    policy.propose(environment, view, wanted[node.node_id] - len(grown[node.node_id]))
                    for node, view in zip(asking, views, strict=True)
                )
            )
            todo: list[tuple[Node, Proposal]] = []
            for node, proposals in zip(asking, answers, strict=True):
                for proposal in proposals:
                    name = signature(proposal.action)
                    if name not in used:
                        used.add(name)
                        todo.append((node, proposal))
            if not any(answers):
                break
            for (node, proposal), observation in zip(todo, await execute(environment, todo, limits), strict=True):
                child = tree.add(node, proposal, observation)
                ended += observation.cause == "ended"
                if ended >= MAX_ENDED:
                    raise ItemFailed("tools_ended", f"{ended} calls had to be ended, the last: {observation.text[:200]}")
                read_value(environment, tree, child)
                if child.usable:
                    grown[node.node_id].append(child)
        level = [child for node in level for child in grown[node.node_id]]
        if not level:
            break
    return tree


def view_of(tree: Tree, node: Node, used: set[bytes], limits: Limits, run_seed: int, attempt: int) -> View:
    """What the policy is shown of a node, for one attempt at what comes next."""
    return View(
        seed=tree.seed,
        start=tree.start,
        path=tree.path(node),
        siblings=[tree.nodes[name] for name in node.children_ids],
        used=frozenset(used),
        depth_left=limits.max_depth - node.depth,
        needed=limits.min_depth - node.depth,
        rng=random_for(run_seed, tree.source_id, node.node_id, f"propose {attempt}"),
        attempt=attempt,
    )


async def execute(environment: Environment, todo: Sequence[tuple[Node, Proposal]], limits: Limits) -> list[Observation]:
    """What the tools answer to the proposals, in their order."""
    actions = [proposal.action for _, proposal in todo]
    if not environment.concurrent:
        return run_together(environment.tools, actions, timeout_s=limits.tool_timeout_s)
    hosted = all(tool.host is not None for tool in environment.tools.values())
    groups = [actions] if hosted else [[action] for action in actions]  # their host runs them side by side
    work = (asyncio.to_thread(run_together, environment.tools, group, timeout_s=limits.tool_timeout_s) for group in groups)
    return [observation for answers in await asyncio.gather(*work) for observation in answers]


def read_value(environment: Environment, tree: Tree, node: Node) -> None:
    """Read the hop's value out of the observation; a value that is none or old news makes the node a dead end."""
    if node.observation.status != "ok" or node.op is None:
        return
    operator = environment.operators[node.op]
    earlier = [tree.start.value, *(before.value for before in tree.path(node)[1:-1])]
    try:
        node.value = operator.read(node.args or {}, earlier, node.observation.text)
    except (ValueError, KeyError, IndexError) as error:
        node.note = f"no value: {error}"
        return
    if operator.evidence and (node.value in earlier or node.value in (0, 1, "", [], None)):
        node.note = "the value repeats an earlier one or says nothing"
        return
    if environment.verifier is not None:  # what cannot be proven now cannot be proven later: another action steps in
        try:
            proven = environment.verifier.apply(node.op, node.args or {}, earlier)
        except Unprovable as error:
            node.note = f"{NOT_PROVABLE}: {error}"
            return
        if proven != node.value:
            node.note = f"{NOT_PROVABLE}: the tool says {node.value!r}, the verifier {proven!r}"
