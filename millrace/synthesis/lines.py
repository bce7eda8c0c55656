"""Makes the lines that a run writes: the original's fields under their names, and what proves them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from millrace.records import synthesis as records
from millrace.records import trajectories
from millrace.run.ids import content_id
from millrace.synthesis.environments import Environment, world_of
from millrace.synthesis.sampling import Tree
from millrace.synthesis.scoring.answers import aliases_of, type_of
from millrace.synthesis.selection import Candidate
from millrace.synthesis.settings import SynthesisConfig

SHOWN_CHARS = 500
"""How much of an observation a reasoning step shows; the trajectory has all of it."""

FAILURE_CHARS = 500
"""How much of a seed a failure shows."""


def trajectory_record(tree: Tree, candidate: Candidate) -> trajectories.Trajectory:
    """A selected path, self-contained: its own nodes, whole observations, no ids that point elsewhere except to the tree."""
    nodes = [node.record() for node in candidate.nodes]
    done = [[_plain(node.action), node.observation] for node in nodes]
    return trajectories.Trajectory(
        trajectory_id=content_id("traj", tree.source_id, done),
        source_id=tree.source_id,
        seed_data=tree.seed,
        total_depth=len(nodes),
        nodes=nodes,
        start=tree.start.record(),
        measures=candidate.measures,
    )


def _plain(call: trajectories.Call | None) -> dict[str, object] | None:
    return None if call is None else {"tool_name": call.tool_name, "parameters": call.parameters}


def calls_of(trajectory: trajectories.Trajectory) -> list[tuple[trajectories.Node, trajectories.Call]]:
    """The nodes of a trajectory with their calls; the root, which has none, is not part of it."""
    return [(node, node.action) for node in trajectory.nodes if node.action is not None]


def steps_of(trajectory: trajectories.Trajectory) -> list[trajectories.Step]:
    """The calls of a trajectory as the proof wants them."""
    return [
        trajectories.Step(tool_name=call.tool_name, parameters=call.parameters, observation=node.observation)
        for node, call in calls_of(trajectory)
    ]


def item_record(
    config: SynthesisConfig,
    environment: Environment,
    *,
    run_id: str,
    trajectory: trajectories.Trajectory,
    chain: trajectories.Chain,
    question: str,
    answer: str,
    language: str,
    checks: Sequence[records.Check],
    status: records.ItemStatus,
    policy: str,
    cost: records.Cost,
    seed_match: trajectories.SeedMatch,
) -> records.QAItem:
    """One line of `qa.jsonl`."""
    hops = [hop for hop in chain.hops if environment.operators[hop.op].evidence]
    necessary = next((check.detail for check in checks if check.name == "each_hop_necessary" and check.passed), "")
    last = chain.hops[-1]
    kind = environment.operators[last.op].answer_type or type_of(last.value)
    return records.QAItem(
        qa_id=content_id("qa", trajectory.trajectory_id, question),
        question=question,
        answer=answer,
        answer_type=kind,
        aliases=aliases_of(kind, answer),
        language=language,
        source_id=trajectory.source_id,
        trajectory_id=trajectory.trajectory_id,
        reasoning_steps=[
            reasoning_step(number, node, call, _description(environment, node))
            for number, (node, call) in enumerate(calls_of(trajectory), 1)
        ],
        verifier=records.Verifier(
            name=environment.verifier.name if environment.verifier else None,
            args=records.VerifierArgs(
                environment=config.environment_mode,
                environment_kwargs=config.environment_kwargs,
                world=world_of(environment),
                answer_type=kind,
                chain=chain,
            ),
        ),
        verification=records.Verification(status=status, checks=list(checks)),
        quality=records.Quality(
            hops=len(hops),
            necessary_hops=len(hops) if necessary else None,
            leak=False,
            dup_cluster=None,
            difficulty=_difficulty(environment, hops),
        ),
        provenance=records.Provenance(
            policy=policy,
            synthesizer=f"template/{environment.name}-{language}@1",
            template=f"{environment.name}/{'>'.join(hop.op for hop in hops)}",
            question_kind=hops[-1].op if hops else None,
            model=None,
            run_id=run_id,
            rng_seed=config.seed,
            seed_match=seed_match,
            versions=dict(environment.versions),
        ),
        metadata=metadata_of(config, trajectory),
        cost=cost,
    )


def status_in_row(item: records.QAItem) -> records.ItemStatus | UnsetType:
    """What an export's row says of how its answer was checked: nothing of a proven one."""
    return UNSET if item.verification.status == "verified" else item.verification.status


def _difficulty(environment: Environment, hops: Sequence[trajectories.Hop]) -> int:
    """The level that a hop was drawn at, where its operator has levels, else the number of hops."""
    levels = [int(hop.args["level"]) for hop in hops if environment.operators[hop.op].graded]
    return max(levels, default=len(hops))


def metadata_of(config: SynthesisConfig, trajectory: trajectories.Trajectory) -> records.ItemMetadata:
    """The original's fields about an item's origin."""
    return records.ItemMetadata(
        seed_data=trajectory.seed_data,
        seed_description=config.seed_description,
        trajectory_depth=trajectory.total_depth,
        synthesis_date=config.synthesis_date,
        environment_mode=config.environment_mode,
    )


def reasoning_step(number: int, node: trajectories.Node, call: trajectories.Call, description: str) -> records.ReasoningStep:
    """A call of a trajectory as a step of an item."""
    return records.ReasoningStep(
        step=number,
        description=description,
        intent=node.intent,
        action=call.tool_name,
        parameters=call.parameters,
        observation=node.observation[:SHOWN_CHARS],
        value=node.hop.value if node.hop else None,
    )


def _description(environment: Environment, node: trajectories.Node) -> str:
    return environment.operators[node.hop.op].en.replace("{", "").replace("}", "") if node.hop else node.intent


def failed(seed: trajectories.Seed, reason: str, detail: str, traceback: str | None = None) -> records.SeedOutcome:
    """The record of a seed of which nothing could be made."""
    failure = records.Failure(
        source_id=seed.source_id,
        seed_data=seed.content[:FAILURE_CHARS],
        stage="synthesis",
        reason=reason,
        detail=detail,
        traceback=traceback,
    )
    return records.SeedOutcome(id=seed.source_id, tree=None, items=[], rejected=[], trajectories=[], failure=failure)


def nothing(seed: trajectories.Seed, tree: trajectories.Tree) -> records.Rejected:
    """Why a seed has neither a question nor a rejected one: every seed leaves a record."""
    steps = [node for node in tree.nodes if node.action is not None]
    usable = [node for node in steps if node.status == "ok" and not node.note]
    if not steps:
        reason, detail = "no_call_proposed", "the policy proposed no call that was not made before"
    elif not usable:
        reason = "no_usable_step"
        detail = f"{len(steps)} calls, none usable; the last: {steps[-1].note or steps[-1].observation[:200]}"
    else:
        reason, detail = "no_question", f"no path of {len(usable)} usable steps was long enough and ended in an answer"
    return records.Rejected(reason=reason, detail=detail, source_id=seed.source_id, seed_data=seed.content[:FAILURE_CHARS])
