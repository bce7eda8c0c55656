"""What synthesis makes of trajectories: items, and what came of each seed. Trajectories, counts, export rows: the files beside.

Parts of a record (a hop, a check, a cost) are structs without a schema id of their own. Fields named as in the original's files
keep its names. Tool arguments, constants of operators and values are whatever JSON an environment makes of them.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.records.record import Record
from millrace.records.trajectories import Arguments, Chain, Number, Part, SeedMatch, Trajectory, Tree

ItemStatus = Literal["verified", "judged", "unverified", "rejected"]
"""How an answer was checked: by a program, by another model, not at all; or what the checks refused."""


class ReasoningStep(Part, frozen=True, kw_only=True):
    """A step towards the answer, for people and for training."""

    step: int
    """From 1."""
    description: str
    intent: str
    action: str
    """The tool's name."""
    parameters: Arguments
    observation: str
    """Its beginning; the trajectory has all of it."""
    value: Any
    """None without an operator."""


class VerifierArgs(Part, frozen=True, kw_only=True):
    """What scores a new answer: which world the question is about, and the chain that is computed again there."""

    environment: str
    environment_kwargs: Arguments
    """The environment's own settings, as in a config."""
    world: dict[str, str]
    """The versions that the answer depends on."""
    answer_type: str
    """A name in `millrace.synthesis.scoring`."""
    chain: Chain | UnsetType = UNSET
    answer: str | UnsetType = UNSET
    """In place of the chain: of a question that a model wrote, proven or judged when it was made."""


class Verifier(Part, frozen=True, kw_only=True):
    """Which program can check an answer; None: none can."""

    name: str | None
    args: VerifierArgs


class Check(Part, frozen=True):
    """One test and how it ended."""

    name: str
    passed: bool
    detail: str = ""


class Verification(Part, frozen=True, kw_only=True):
    """How the answer was checked, check by check."""

    status: ItemStatus
    checks: list[Check]


class Quality(Part, frozen=True, kw_only=True):
    """What was measured on an item; None: not measured."""

    hops: int
    necessary_hops: int | None
    leak: bool
    """Whether the answer stands in the question."""
    dup_cluster: str | None
    """The item that stands for all that ask the same; set when the run is assembled."""
    difficulty: int | None
    """In hops; of a problem of a family, its level."""


class Provenance(Part, frozen=True, kw_only=True):
    """Who made an item, from which settings and versions."""

    policy: str
    synthesizer: str
    template: str
    question_kind: str | None
    """The last hop's operator; `free` for a question that a model wrote."""
    model: str | None
    run_id: str
    rng_seed: int
    seed_match: SeedMatch
    versions: dict[str, str]


class ItemMetadata(Part, frozen=True, kw_only=True):
    """The original's fields about an item's origin."""

    seed_data: str
    seed_description: str
    trajectory_depth: int
    synthesis_date: str | None
    environment_mode: str
    seed_index: int | UnsetType = UNSET
    """The seed's line in its file, from 0; set when the run is assembled."""


class Spent(Part, frozen=True, kw_only=True):
    """What chat models took."""

    llm_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: Number = 0


class Cost(Spent, frozen=True, kw_only=True):
    """What an item took."""

    tool_calls: int = 0


class QAItem(Record, frozen=True, kw_only=True):
    """A line of `qa.jsonl`, `judged.jsonl` or `unverified.jsonl`: a question, its answer, and what proves it.

    Version 2: the world is in the verifier's arguments, answers have typed scorers, questions state how their world is read.
    """

    SCHEMA: ClassVar[str] = "millrace.qa/2"
    schema: Literal["millrace.qa/2"] = "millrace.qa/2"
    qa_id: str
    question: str
    answer: str
    answer_type: str
    aliases: list[str]
    """Other ways to write the answer."""
    language: str
    source_id: str
    trajectory_id: str
    reasoning_steps: list[ReasoningStep]
    verifier: Verifier
    verification: Verification
    quality: Quality
    provenance: Provenance
    metadata: ItemMetadata
    cost: Cost
    signature: list[int] | UnsetType | None = UNSET
    """In a shard only: the question's MinHash (`checks.signature_of`); None where near-duplicates are not looked for."""


class Rejected(Record, frozen=True, kw_only=True):
    """A line of `rejected.jsonl`: why a candidate is no item, and as much of the item as there was."""

    SCHEMA: ClassVar[str] = "millrace.synthesis.rejected/1"
    reason: str
    """The check that it failed, or what stopped its making."""
    detail: str
    item_schema: Literal["millrace.qa/2"] | UnsetType = msgspec.field(default=UNSET, name="schema")
    qa_id: str | UnsetType = UNSET
    question: str | UnsetType = UNSET
    answer: str | UnsetType = UNSET
    answer_type: str | UnsetType = UNSET
    aliases: list[str] | UnsetType = UNSET
    language: str | UnsetType = UNSET
    source_id: str
    seed_data: str | UnsetType = UNSET
    """The seed's beginning, where there was not even a trajectory."""
    trajectory_id: str | UnsetType = UNSET
    reasoning_steps: list[ReasoningStep] | UnsetType = UNSET
    verifier: Verifier | UnsetType = UNSET
    verification: Verification | UnsetType = UNSET
    quality: Quality | UnsetType = UNSET
    provenance: Provenance | UnsetType = UNSET
    metadata: ItemMetadata | UnsetType = UNSET
    cost: Cost | UnsetType = UNSET

    @classmethod
    def of_item(cls, item: QAItem, reason: str, detail: str) -> Rejected:
        """A whole item that is rejected."""
        kept = {name: getattr(item, name) for name in QAItem.__struct_fields__ if name not in ("schema", "signature")}
        return cls(reason=reason, detail=detail, item_schema=item.schema, **kept)


class Failure(Record, frozen=True, kw_only=True):
    """A line of `failures.jsonl`: why nothing could be made of a seed."""

    SCHEMA: ClassVar[str] = "millrace.synthesis.failure/1"
    source_id: str
    seed_data: str
    """The seed's beginning."""
    stage: str
    reason: str
    detail: str
    traceback: str | None
    """The end of it; None where nothing was raised."""
    seed_index: int | UnsetType = UNSET
    """The seed's line in its file, from 0; set when the run is assembled."""


class SeedOutcome(Record, frozen=True, kw_only=True):
    """A line of a shard's journal: everything that came of one seed."""

    SCHEMA: ClassVar[str] = "millrace.synthesis.seed_outcome/1"
    id: str
    """The seed's `source_id`."""
    tree: Tree | None
    """None of a seed that failed."""
    items: list[QAItem]
    rejected: list[Rejected]
    trajectories: list[Trajectory]
    """Of the items."""
    failure: Failure | None
    spent: Spent | UnsetType = UNSET
    """What a chat model took for the whole seed."""
    spans: dict[str, float] | UnsetType = UNSET
    """Seconds by kind of work."""
    seconds: float | UnsetType = UNSET
    """Wall clock for the seed."""
