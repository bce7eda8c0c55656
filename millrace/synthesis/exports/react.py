"""Thought, action, observation as one text: for models without a chat template."""

from __future__ import annotations

from collections.abc import Iterator

from millrace.records.synthesis import QAItem
from millrace.records.synthesis_rows import ReactRow
from millrace.records.trajectories import Trajectory, Tree
from millrace.synthesis.exports.preference import action_text
from millrace.synthesis.lines import calls_of, status_in_row


def rows(item: QAItem, trajectory: Trajectory, tree: Tree) -> Iterator[ReactRow]:
    """One text per item."""
    lines = [f"Question: {item.question}"]
    for node, call in calls_of(trajectory):
        lines += [f"Thought: {node.intent}", f"Action: {action_text(call)}", f"Observation: {node.observation}"]
    lines.append(f"Final answer: {item.answer}")
    yield ReactRow(id=item.qa_id, text="\n".join(lines), status=status_in_row(item))
