"""Pairs of next actions: the one on the proven path, and a sibling that was a wrong step.

A wrong step is a call that the tool refused, or whose observation led nowhere. A call that was ended for its time or memory, and
a step whose value only the verifier could not confirm, are no model's mistake and make no pair.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from millrace.records.synthesis import QAItem
from millrace.records.synthesis_rows import PreferenceRow
from millrace.records.trajectories import Call, Node, Trajectory, Tree
from millrace.synthesis.lines import calls_of, status_in_row
from millrace.synthesis.sampling import NOT_PROVABLE


def rows(item: QAItem, trajectory: Trajectory, tree: Tree) -> Iterator[PreferenceRow]:
    """One pair for each failed sibling along the path; none where all siblings were as good."""
    context = [f"Question: {item.question}"]
    for node, call in calls_of(trajectory):
        for other in wrong_steps_beside(node, tree):
            assert other.action is not None
            yield PreferenceRow(
                id=f"{item.qa_id}_{node.node_id}_{other.node_id}",
                prompt="\n".join(context),
                chosen=action_text(call),
                rejected=action_text(other.action),
                reason=other.note or other.observation[:300],
                status=status_in_row(item),
            )
        context += [f"Action: {action_text(call)}", f"Observation: {node.observation[:2000]}"]


def wrong_steps_beside(node: Node, tree: Tree) -> Iterator[Node]:
    """The siblings of a node that a tool refused, or that led nowhere."""
    for other in tree.nodes:
        led_nowhere = bool(other.note) and not other.note.startswith(NOT_PROVABLE)
        failed = other.cause == "refused" or led_nowhere
        beside = other.parent_id == node.parent_id and other.node_id != node.node_id
        if failed and beside and other.action is not None:
            yield other


def action_text(call: Call) -> str:
    """A call as ReAct writes it."""
    return f"{call.tool_name}[{json.dumps(call.parameters, ensure_ascii=False)}]"
