"""Goes back in a tree that would give no question, and takes other actions there.

The default policy plans one step ahead, so with a large `min_depth` most paths end too early, or hold a hop that changes nothing.
What dead ends leave of the tree's size (as many nodes as its depth and branching allow) is spent here, deepest nodes first. Only
a seed that would otherwise give nothing is worked on, and only for a policy that costs nothing: every other tree stays as it is.
"""

from __future__ import annotations

from millrace.records.trajectories import Chain, Hop
from millrace.synthesis.environments import Environment, Unprovable
from millrace.synthesis.policies import Node, Policy, signature
from millrace.synthesis.sampling import Limits, Tree, execute, read_value, view_of
from millrace.synthesis.verification import necessary_hops, recompute

TRIES = 6
"""Other actions that are tried from one node."""


async def go_back(tree: Tree, environment: Environment, policy: Policy, limits: Limits, *, run_seed: int, wanted: int) -> None:
    """Add paths to `tree` until `wanted` of them make a question, or it is as large as it may be.

    Raises:
        ItemFailed: the policy cannot go on for this seed.
    """
    leaves = tree.leaves(limits.min_depth)
    if environment.verifier is None or any(makes_a_question(tree, leaf, environment, limits) for leaf in leaves):
        return
    open_nodes = Open(tree, environment, limits)
    used = {signature(node.action) for node in tree.nodes.values() if node.action}
    found, usable = 0, sum(node.usable for node in tree.nodes.values())
    while found < wanted and usable <= limits.largest() and (node := open_nodes.next(tree)) is not None:
        attempt = limits.max_retries + open_nodes.tries[node.node_id]
        proposals = await policy.propose(environment, view_of(tree, node, used, limits, run_seed, attempt), 1)
        fresh = [proposal for proposal in proposals[:1] if signature(proposal.action) not in used]
        open_nodes.tried(node, bool(fresh))
        for proposal in fresh:
            used.add(signature(proposal.action))
            (observation,) = await execute(environment, [(node, proposal)], limits)
            child = tree.add(node, proposal, observation)
            if observation.cause == "ended":
                return  # what was found stands; a call that had to be ended is no place to go on from
            read_value(environment, tree, child)
            open_nodes.add(child)
            usable += child.usable
            found += makes_a_question(tree, child, environment, limits)


def hops_of(tree: Tree, node: Node) -> list[Hop]:
    """The hops from the root to a node; empty when one of them has no value."""
    hops = [before.record().hop for before in tree.path(node)[1:]]
    return [hop for hop in hops if hop is not None] if all(hops) else []


def each_hop_matters(tree: Tree, node: Node, environment: Environment) -> bool:
    """Whether every hop up to a node changes the node's value: one that doesn't will not do it further on either."""
    hops = hops_of(tree, node)
    if not hops or environment.verifier is None:
        return False
    chain = Chain(start=tree.start.record(), hops=hops)
    try:
        return all(necessary_hops(environment, chain, recompute(environment.verifier, chain)))
    except Unprovable:
        return False


def makes_a_question(tree: Tree, node: Node, environment: Environment, limits: Limits) -> bool:
    """Whether the path to a node is deep enough, ends in an answer, and has no hop too many."""
    answers = node.op is not None and environment.operators[node.op].answers
    return node.usable and node.depth >= limits.min_depth and answers and each_hop_matters(tree, node, environment)


class Open:
    """The nodes from which other actions can still be tried, deepest first; of equals the one tried least, then the oldest."""

    def __init__(self, tree: Tree, environment: Environment, limits: Limits) -> None:
        self.tries: dict[str, int] = {}
        """Node → actions tried from it since."""
        self._tree, self._environment, self._limits = tree, environment, limits
        for node in list(tree.nodes.values()):
            self.add(node)

    def add(self, node: Node) -> None:
        """Take a node in, where anything can come of it."""
        if not node.usable or node.depth >= self._limits.max_depth:
            return
        finds_the_place = node.op is not None and not self._environment.operators[node.op].evidence
        if node.parent_id is None or finds_the_place or each_hop_matters(self._tree, node, self._environment):
            self.tries[node.node_id] = 0

    def next(self, tree: Tree) -> Node | None:
        """The node to try next; None: there is none left."""
        if not self.tries:
            return None
        place = {name: number for number, name in enumerate(tree.nodes)}
        name = min(self.tries, key=lambda name: (-tree.nodes[name].depth, self.tries[name], place[name]))
        return tree.nodes[name]

    def tried(self, node: Node, found: bool) -> None:
        """Count a try; a node with no action left, or tried often enough, is closed."""
        self.tries[node.node_id] += 1
        if not found or self.tries[node.node_id] >= TRIES:
            del self.tries[node.node_id]
