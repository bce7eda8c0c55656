"""From a seed to its trajectories: what was tried in an environment. The items made of them: synthesis.py.

Parts of a record (a hop, a node) are structs without a schema id of their own. Tool arguments, constants of operators and values
are whatever JSON an environment makes of them.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from millrace.records.record import Record

SeedMatch = Literal["keyword", "text", "fallback"]
"""How a seed led to its start: by a word in it, by its own text, or not at all (chosen by hash)."""

CallStatus = Literal["ok", "error"]
CallCause = Literal["", "refused", "ended", "unavailable"]
"""Of an error: the tool refused the call, the call was ended from outside (time, memory, a process that ended), or a server that
the tool asks was at fault. Only a refused call is a mistake of its caller."""

Number = int | float
"""Written as it is: a whole number stays one."""


Arguments = dict[str, Any]
"""Names and JSON values of an environment's own: what a tool is called with, an operator's constants, a seed's settings.

Which names there are is known to the environment alone, whose tools check them when they are called.
"""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a record."""


class Seed(Record, frozen=True, kw_only=True):
    """A line of `plan/shard-*.jsonl`: what one line or item of a seeds file is (`seeds.make_seed`)."""

    SCHEMA: ClassVar[str] = "millrace.synthesis.seed/1"
    source_id: str
    """`src_` and 12 hex digits of a hash of the content and its settings."""
    content: str
    kwargs: Arguments = {}
    """The seed's own settings, as its file gives them."""
    problem: str = ""
    """Why it cannot be used; empty for a good seed."""
    detail: str = ""


class Start(Part, frozen=True, kw_only=True):
    """What a seed became: the typed value from which a chain sets out (`Environment.start`)."""

    kind: str
    value: Any
    args: Arguments
    """What the verifier needs to make the value again."""


class Hop(Part, frozen=True, kw_only=True):
    """An operator with its constants, and the value that was read out of its observation."""

    op: str
    args: Arguments
    value: Any


class Chain(Part, frozen=True, kw_only=True):
    """The formal question: a start and its hops."""

    start: Start
    hops: list[Hop]


class Call(Part, frozen=True, kw_only=True):
    """A tool call."""

    tool_name: str
    parameters: Arguments


class Node(Part, frozen=True, kw_only=True):
    """A node of a tree: a call and what came of it (`policies.Node.record`); the root has no call."""

    node_id: str
    parent_id: str | None
    children_ids: list[str]
    depth: int
    intent: str
    action: Call | None
    observation: str
    status: CallStatus
    cause: CallCause
    note: str
    """Why an `ok` observation leads no further; empty otherwise."""
    hop: Hop | None
    """None for the root and for a chat model's call."""


class Step(Part, frozen=True, kw_only=True):
    """A call of a trajectory as a proof wants it."""

    tool_name: str
    parameters: Arguments
    observation: str


class Tree(Record, frozen=True, kw_only=True):
    """A line of `trees.jsonl`: all that was tried for a seed, the root first (`sampling.Tree.record`)."""

    SCHEMA: ClassVar[str] = "millrace.synthesis.tree/1"
    source_id: str
    seed_data: str
    seed_match: SeedMatch
    start: Start
    nodes: list[Node]


class Trajectory(Record, frozen=True, kw_only=True):
    """A line of `trajectories.jsonl`: a path through a tree, self-contained (`lines.trajectory_record`)."""

    SCHEMA: ClassVar[str] = "millrace.synthesis.trajectory/1"
    trajectory_id: str
    source_id: str
    seed_data: str
    total_depth: int
    """Calls on the path."""
    nodes: list[Node]
    start: Start
    measures: dict[str, Number]
    """What the selection measured on it (`selection._measure`); shares from 0 to 1, and counts of hops."""
