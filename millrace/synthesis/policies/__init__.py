"""What a policy is: it looks at a node of the tree and proposes the next actions.

One file in this folder is one policy; a user's own is a module with `policy_of`, named by its dotted path. Two ship:
`programmatic` (plans typed operators, deterministic, no model) and `chat` (a chat model with native tool calls). Both see the
same view and are held to the same rules by the sampler: valid arguments, no action twice in a tree, errors fed back.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from millrace.llm import Message
from millrace.plugins.contracts import optional
from millrace.records import synthesis as records
from millrace.records import trajectories
from millrace.records.trajectories import Arguments
from millrace.run.ids import canonical
from millrace.synthesis.environments import Action, Environment, Observation, Start, Value

if TYPE_CHECKING:
    from millrace.llm.settings import ModelSettings

PACKAGE = "millrace.synthesis.policies"


@dataclass(frozen=True, slots=True)
class Said:
    """A call as a chat model made it: its whole turn, which the server may want to see again as it was, and which call of it."""

    turn: Message
    place: int


@dataclass(slots=True)
class Node:
    """One node of a tree: an action that was taken and what came of it; the root has no action."""

    node_id: str
    parent_id: str | None
    depth: int
    intent: str
    action: Action | None
    observation: Observation
    op: str | None = None
    args: Arguments | None = None
    value: Value = None
    """What was read out of the observation; None without an operator."""
    said: Said | None = None
    """Where a chat model asked for the action; None for one that a program planned. Not written down."""
    note: str = ""
    """Why an `ok` observation leads no further (`the value repeats an earlier one`); empty otherwise."""
    children_ids: list[str] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether it can be built upon: errors and dead ends are kept in the tree and never used as evidence."""
        return self.observation.status == "ok" and not self.note

    def record(self) -> trajectories.Node:
        """The node as it is written to `trees.jsonl`: the original's names, and ours."""
        return trajectories.Node(
            node_id=self.node_id,
            parent_id=self.parent_id,
            children_ids=self.children_ids,
            depth=self.depth,
            intent=self.intent,
            action=trajectories.Call(tool_name=self.action.tool_name, parameters=self.action.parameters) if self.action else None,
            observation=self.observation.text,
            status=self.observation.status,
            cause=self.observation.cause,
            note=self.note,
            hop=trajectories.Hop(op=self.op, args=self.args or {}, value=self.value) if self.op else None,
        )


@dataclass(frozen=True, slots=True)
class View:
    """What a policy may know when it proposes."""

    seed: str
    start: Start
    path: Sequence[Node]
    """From the root to the node to expand."""
    siblings: Sequence[Node]
    """The children this node already has, failed ones included: their error texts are the feedback."""
    used: frozenset[bytes]
    """Signatures of every action in the tree (see `signature`)."""
    depth_left: int
    """How many more actions a path may hold, this one included."""
    needed: int
    """How many more actions the path must hold to be selected at all; 0 or less: it may stop here."""
    rng: random.Random
    """Depends on the run's seed, the seed and the node; nothing else."""
    attempt: int = 0
    """How often this node was asked about before: the same question to a chat model wants another answer."""

    @property
    def values(self) -> list[Value]:
        """The chain's values so far, the start's first."""
        return [self.start.value, *(node.value for node in self.path[1:])]


@dataclass(frozen=True, slots=True)
class Proposal:
    """An action a policy wants taken; with an operator when its result is to be a hop of a provable chain."""

    action: Action
    intent: str
    op: str | None = None
    args: Arguments | None = None
    said: Said | None = None
    """Where a chat model asked for it."""


class Policy(Protocol):
    """Chooses what to try."""

    name: str
    many_seeds: bool = False
    """Whether several seeds may be worked on at the same time (`chat.seeds_in_flight`): it waits for others."""
    goes_back: bool = False
    """Whether a tree that would give no question may be asked for more, beyond its branching: it is free (see `going_back`)."""

    async def propose(self, environment: Environment, view: View, count: int) -> list[Proposal]:
        """Up to `count` different actions for the last node of `view.path`; none: this path ends here.

        Raises:
            ItemFailed: nothing more can be done for this seed.
        """
        ...

    @optional
    async def write(self, config: Any, environment: Environment, tree: Any) -> records.SeedOutcome | None:
        """A seed's record with questions of its own; None: they are written and proven from the chains of operators."""
        del config, environment, tree
        return None

    @optional
    def spent_on(self, seed: str) -> records.Spent | None:
        """What chat models took for a seed that came to nothing; asked once. None: no model is asked."""
        del self, seed
        return None

    @optional
    async def close(self) -> None:
        """Let go of what it holds."""
        del self


class Plugin(Protocol):
    """What a module in this folder has."""

    def policy_of(self, config: Any, folder: Path | None, shard: str) -> Policy:
        """The policy for a `SynthesisConfig`; what it has to keep it keeps in `folder`, None: nowhere."""
        ...

    @optional
    def models_of(self, config: Any) -> list[ModelSettings]:
        """The chat models that it asks, for the check before a run."""
        del config
        return []


def signature(action: Action) -> bytes:
    """Equal for two actions exactly when they are the same call."""
    return canonical([action.tool_name, action.parameters])
