"""The lines that a run writes: the original's fields under their names, and what proves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.errors import UsageError
from millrace.run.ids import content_id
from millrace.synthesis.environments import Environment, world_of
from millrace.synthesis.sampling import Tree
from millrace.synthesis.scoring.answers import aliases_of, type_of
from millrace.synthesis.selection import Candidate
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.verification import Check

SCHEMA = "millrace.qa/2"
"""2: the world is in the verifier's arguments, answers have typed scorers, questions state how their world is read."""

SHOWN_CHARS = 500
"""How much of an observation a reasoning step shows; the trajectory has all of it."""


def check_schema(item: Mapping[str, Any], where: str) -> None:
    """See that an item was written by this version.

    Raises:
        UsageError: it was not; the message names the two versions.
    """
    if item.get("schema") != SCHEMA:
        raise UsageError(
            f"{where} holds items of {item.get('schema', 'an unknown schema')}; this version writes {SCHEMA} and cannot mix or "
            "re-prove them: use the version that made them, or start anew in another folder"
        )


def trajectory_record(tree: Tree, candidate: Candidate) -> dict[str, Any]:
    """A selected path, self-contained: its own nodes, whole observations, no ids that point elsewhere except to the tree."""
    nodes = [node.record() for node in candidate.nodes]
    return {
        "trajectory_id": content_id("traj", tree.source_id, [[node["action"], node["observation"]] for node in nodes]),
        "source_id": tree.source_id,
        "seed_data": tree.seed,
        "total_depth": len(nodes),
        "nodes": nodes,
        "start": tree.start.record(),
        "measures": candidate.measures,
    }


def steps_of(trajectory: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls of a trajectory as the proof wants them."""
    return [
        {"tool_name": node["action"]["tool_name"], "parameters": node["action"]["parameters"], "observation": node["observation"]}
        for node in trajectory["nodes"]
    ]


def item_record(
    config: SynthesisConfig,
    environment: Environment,
    *,
    run_id: str,
    trajectory: Mapping[str, Any],
    chain: Mapping[str, Any],
    question: str,
    answer: str,
    language: str,
    checks: Sequence[Check],
    status: str,
    policy: str,
    cost: Mapping[str, Any],
    seed_match: str,
) -> dict[str, Any]:
    """One line of `qa.jsonl`."""
    hops = [hop for hop in chain["hops"] if environment.operators[hop["op"]].evidence]
    necessary = next((check.detail for check in checks if check.name == "each_hop_necessary" and check.passed), "")
    value = chain["hops"][-1]["value"]
    kind = environment.operators[chain["hops"][-1]["op"]].answer_type or type_of(value)
    template = f"{environment.name}/{'>'.join(hop['op'] for hop in hops)}"
    return {
        "schema": SCHEMA,
        "qa_id": content_id("qa", trajectory["trajectory_id"], question),
        "question": question,
        "answer": answer,
        "answer_type": kind,
        "aliases": aliases_of(kind, answer),
        "language": language,
        "source_id": trajectory["source_id"],
        "trajectory_id": trajectory["trajectory_id"],
        "reasoning_steps": _reasoning(environment, trajectory),
        "verifier": {
            "name": environment.verifier.name if environment.verifier else None,
            "args": {
                "environment": config.environment_mode,
                "environment_kwargs": config.environment_kwargs,
                "world": world_of(environment),
                "answer_type": kind,
                "chain": dict(chain),
            },
        },
        "verification": {"status": status, "checks": [check.record() for check in checks]},
        "quality": {
            "hops": len(hops),
            "necessary_hops": len(hops) if necessary else None,
            "leak": False,
            "dup_cluster": None,
            "difficulty": len(hops),
        },
        "provenance": {
            "policy": policy,
            "synthesizer": f"template/{environment.name}-{language}@1",
            "template": template,
            "question_kind": hops[-1]["op"] if hops else None,
            "model": None,
            "run_id": run_id,
            "rng_seed": config.seed,
            "seed_match": seed_match,
            "versions": dict(environment.versions),
        },
        "metadata": {
            "seed_data": trajectory["seed_data"],
            "seed_description": config.seed_description,
            "trajectory_depth": trajectory["total_depth"],
            "synthesis_date": config.synthesis_date,
            "environment_mode": config.environment_mode,
        },
        "cost": dict(cost),
    }


def _reasoning(environment: Environment, trajectory: Mapping[str, Any]) -> list[dict[str, Any]]:
    steps = []
    for number, node in enumerate(trajectory["nodes"], 1):
        hop = node["hop"]
        steps.append(
            {
                "step": number,
                "description": environment.operators[hop["op"]].en.replace("{", "").replace("}", "") if hop else node["intent"],
                "intent": node["intent"],
                "action": node["action"]["tool_name"],
                "parameters": node["action"]["parameters"],
                "observation": node["observation"][:SHOWN_CHARS],
                "value": hop["value"] if hop else None,
            }
        )
    return steps
